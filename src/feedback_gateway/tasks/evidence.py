"""Finds the quotes of an answer in the texts they claim to come from; what is not there goes."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

QUOTATION_MARKS = frozenset("\"'`´“”„‟‘’‚‛«»‹›〝〞「」『』＂＇")  # noqa: RUF001 every one of them on purpose
SPACE = re.compile(r"\s")


@dataclass(frozen=True, slots=True)
class Span:
    """Where a quote stands: `text[start:end]` in Unicode code points."""

    start: int
    end: int


class Source:
    """A text that quotes are looked up in."""

    def __init__(self, text: str) -> None:
        self.text = text

    def find(self, quote: str) -> Span | None:
        """The quote's first exact span, else the first but for white space, case, quotation marks and Unicode form."""
        if not quote.strip():
            return None
        start = self.text.find(quote)
        if start >= 0:
            return Span(start, start + len(quote))
        wanted = "".join(char for char, _ in fold(quote)).strip()
        start = self._folded.find(wanted) if wanted else -1
        while start >= 0:
            end = start + len(wanted)
            if not self._is_within(start) and not self._is_within(end):
                return Span(self._origins[start], self._origins[end - 1] + 1)
            start = self._folded.find(wanted, start + 1)
        return None

    def _is_within(self, place: int) -> bool:
        """Whether a place in the folded text lies within what one character became: a y is no part of a ý."""
        return 0 < place < len(self._origins) and self._origins[place - 1] == self._origins[place]

    @cached_property
    def _pairs(self) -> list[tuple[str, int]]:
        return list(fold(self.text))

    @cached_property
    def _folded(self) -> str:
        return "".join(char for char, _ in self._pairs)

    @cached_property
    def _origins(self) -> list[int]:
        return [origin for _, origin in self._pairs]


def fold(text: str) -> Iterator[tuple[str, int]]:
    """Each character that counts, taken apart (NFD) and case-folded, with its index: one space a run, no quotes."""
    spaced = False
    for index, char in enumerate(text):
        if char in QUOTATION_MARKS:
            continue
        if SPACE.match(char):
            if not spaced:
                yield " ", index
            spaced = True
            continue
        spaced = False
        for folded in char.casefold() if char.isascii() else unicodedata.normalize("NFD", char).casefold():
            yield folded, index


@dataclass(frozen=True, slots=True)
class Verified:
    """An answer whose every quote is a verbatim span, and how many quotes had to go."""

    value: Any
    dropped: int


def verify(value: Any, sources: Mapping[str, Source]) -> Verified:
    """Check every list named `evidence` in `value`, at any depth.

    An entry is `{"quote": …}` with an optional `source`, a key of `sources` ("text" by default); it comes back
    with `start` and `end`, and with the source's own words as its `quote`.
    """
    if isinstance(value, list):
        parts = [verify(item, sources) for item in value]
        return Verified([part.value for part in parts], sum(part.dropped for part in parts))
    if not isinstance(value, dict):
        return Verified(value, 0)
    result: dict[str, Any] = {}
    dropped = 0
    for name, item in value.items():
        if name == "evidence" and isinstance(item, list):
            result[name] = [found for entry in item if (found := locate(entry, sources)) is not None]
            dropped += len(item) - len(result[name])
            continue
        part = verify(item, sources)
        result[name] = part.value
        dropped += part.dropped
    return Verified(result, dropped)


def locate(entry: Any, sources: Mapping[str, Source]) -> dict[str, Any] | None:
    """One entry of evidence with its span, or None where its source does not say that."""
    if not isinstance(entry, dict) or not isinstance(entry.get("quote"), str):
        return None
    source = sources.get(entry.get("source", "text"))
    span = source.find(entry["quote"]) if source else None
    if source is None or span is None:
        return None
    return {**entry, "quote": source.text[span.start : span.end], "start": span.start, "end": span.end}
