"""One text read once for all tasks that ask about it: cleaned words, vector, language; no labels."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from feedback_gateway.embedded.embedders import Embedder, unit_rows
from feedback_gateway.embedded.language import UNDETERMINED, LanguageDetector
from feedback_gateway.embedded.text import Span, any_quote, clean, quote, sentences

OPENING_CHARACTERS = 150


@dataclass(frozen=True)
class Reading:
    """A text and what is worked out from it on demand."""

    text: str
    embedder: Embedder
    detector: LanguageDetector

    @cached_property
    def cleaned(self) -> str:
        """Prose without markup, links and handles; may be empty."""
        return clean(self.text)

    @cached_property
    def vector(self) -> npt.NDArray[Any]:
        """Unit sentence vector, shape (dimensions,); zeros for a text without words."""
        return np.asarray(self.embedder.embed([self.cleaned])[0])

    @cached_property
    def subject(self) -> npt.NDArray[Any]:
        """Unit vector of the text and of its beginning in equal parts: a title says best what a text is about."""
        if len(self.cleaned) <= OPENING_CHARACTERS:
            return self.vector
        opening = self.embedder.embed([self.cleaned[:OPENING_CHARACTERS]])
        return np.asarray(unit_rows(self.vector + opening)[0])

    @cached_property
    def language(self) -> str:
        """ISO 639-1 code or `und`."""
        return self.detector.detect(self.text)

    @cached_property
    def sentences(self) -> list[Span]:
        """Its sentences as verbatim spans."""
        return sentences(self.text)

    @property
    def is_wordless(self) -> bool:
        """Whether nothing but links, handles, digits or signs is left."""
        return not any(character.isalpha() for character in self.cleaned)

    @property
    def is_foreign(self) -> bool:
        """Whether its language is none that the vectors mean something in."""
        return self.language != UNDETERMINED and self.language not in self.embedder.languages

    def evidence(self, span: Span | None) -> list[dict[str, str]]:
        """A one-quote evidence list; from anywhere in the text where `span` is None."""
        found = quote(span) if span else any_quote(self.text)
        return [{"quote": found}] if found else []
