"""What the student needs of a taxonomy: labels with descriptions and examples, and a fingerprint to cache by."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from feedback_gateway.embedded.fewshot import Example


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Labels to choose from, their descriptions (empty where there is none) and the examples given for them."""

    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    examples: tuple[Example, ...]

    @classmethod
    def read(cls, entries: Sequence[Mapping[str, Any]]) -> "LabelSet":
        """From entries with `name`, `description`, `examples`; a name given twice counts once.

        Raises `ValueError` when no entry has a name.
        """
        described: dict[str, str] = {}
        examples = []
        for entry in entries:
            name = str(entry.get("name") or "").strip()
            if not name:
                continue
            described.setdefault(name, str(entry.get("description") or "").strip())
            texts = [text for text in entry.get("examples") or () if isinstance(text, str) and text.strip()]
            examples += [Example(text, name) for text in texts]
        if not described:
            raise ValueError("the taxonomy has no category with a name")
        return cls(tuple(described), tuple(described.values()), tuple(examples))

    @property
    def fingerprint(self) -> str:
        """The same for the same labels, descriptions and examples; different otherwise."""
        content = [self.names, self.descriptions, [(example.text, example.label) for example in self.examples]]
        return hashlib.sha256(json.dumps(content).encode("utf-8")).hexdigest()
