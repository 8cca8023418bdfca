"""The categorize task: a category of the team's taxonomy, alternatives to it, and the sentence that shows it."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from feedback_gateway.embedded.labelling import Choice, ChooserCache
from feedback_gateway.embedded.reading import Reading
from feedback_gateway.embedded.taxonomy import LabelSet
from feedback_gateway.embedded.text import Span, clean, words

REVIEW_UNDER = 0.5
SUBCATEGORY_FROM = 0.35
"""Share under which no subcategory is named."""
SUGGEST_UNDER = 0.3
ALTERNATIVES = 3
_STOP = re.compile(r"^(?:\d+|.{1,4})$")


@dataclass(frozen=True, slots=True)
class Categorizer:
    """Applies the choosers of a taxonomy and of its subcategories."""

    choosers: ChooserCache

    def read(self, reading: Reading, taxonomy: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """The task's answer, and whether it wants a person; raises `ValueError` for a taxonomy without categories."""
        entries = taxonomy.get("categories") or ()
        labels = LabelSet.read(entries)
        choice = self.choosers.get(labels).choose(reading)
        chosen = [entry for entry in entries if str(entry.get("name") or "").strip() == choice.label]
        unsure = choice.learned and choice.probability < min(SUGGEST_UNDER, 2 / len(labels.names))
        subcategories = [sub for entry in chosen for sub in entry.get("subcategories") or ()]
        value = {
            "category": choice.label,
            "subcategory": self._subcategory(reading, subcategories),
            "confidence": round(choice.probability, 3),
            "alternatives": [
                {"category": name, "confidence": round(share, 3)}
                for name, share in choice.ranking[1 : 1 + ALTERNATIVES]
            ],
            "suggested_category": _topic(reading) if unsure else None,
            "evidence": reading.evidence(_telling_sentence(reading, choice, labels)),
        }
        unlikely = choice.probability < REVIEW_UNDER
        return value, not choice.learned or unlikely or reading.is_foreign or reading.is_wordless

    def _subcategory(self, reading: Reading, entries: list[Mapping[str, Any]]) -> str | None:
        if not any(str(entry.get("name") or "").strip() for entry in entries):
            return None
        choice = self.choosers.get(LabelSet.read(entries)).choose(reading)
        return choice.label if choice.probability >= SUBCATEGORY_FROM else None


def _telling_sentence(reading: Reading, choice: Choice, labels: LabelSet) -> Span | None:
    """The sentence whose words speak most for the label, or share most with its name and description."""
    spans = reading.sentences[:60]
    if len(spans) < 2:  # noqa: PLR2004 nothing to choose between
        return spans[0] if spans else None
    if choice.head is not None:
        head = choice.head
        return max(spans, key=lambda span: head.support(clean(span.text), choice.label))
    described = set(words(choice.label + " " + labels.descriptions[labels.names.index(choice.label)]))
    return max(spans, key=lambda span: len(described.intersection(span.words)))


def _topic(reading: Reading) -> str | None:
    """The most frequent longer word of the text, as the name of a category that may be missing."""
    found = Counter(word for word in words(reading.cleaned) if not _STOP.match(word) and word.isalpha())
    return found.most_common(1)[0][0] if found else None
