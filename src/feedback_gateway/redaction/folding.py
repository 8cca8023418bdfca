"""A text as detectors read it: wide letters, foreign digits, odd dashes and quotes made plain, invisible signs gone.

Only for looking: what is found is cut from the text as it was written.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

PLAIN = dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-") | {
    **dict.fromkeys("\u2018\u2019\u201a\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"'),
}
"""Dashes and quotes that Unicode does not call compatible with the plain ones."""
INVISIBLE = ("Cf", "Mn")
"""Categories of signs that take no room: format characters (zero-width, bidirectional) and marks set on a letter."""


@dataclass(frozen=True, slots=True)
class Folded:
    """`text` is plain; its character i stands at `places[i]` of the original, or at i where `places` is None."""

    text: str
    places: Sequence[int] | None

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original that a span of the plain text was read from."""
        if self.places is None:
            return start, end
        return self.places[start], self.places[end - 1] + 1


def fold(text: str) -> Folded:
    """The plain form of a text, and where each character of it came from."""
    if text.isascii():
        return Folded(text, None)
    plain = {character: folded(character) for character in set(text)}
    if all(plain.values()):
        return Folded("".join([plain[character] for character in text]), None)
    places = [place for place, character in enumerate(text) if plain[character]]
    return Folded("".join([plain[character] for character in text]), places)


@lru_cache(maxsize=2_048)
def folded(character: str) -> str:
    """One plain character for one character, or nothing for one that is invisible."""
    if character.isascii():
        return character
    if character in PLAIN:
        return PLAIN[character]
    category = unicodedata.category(character)
    if category in INVISIBLE or category == "Zs":
        return " " if category == "Zs" else ""
    digit = unicodedata.decimal(character, None)
    compatible = unicodedata.normalize("NFKC", character) if digit is None else str(digit)
    return compatible if len(compatible) == 1 and compatible.isascii() else character
