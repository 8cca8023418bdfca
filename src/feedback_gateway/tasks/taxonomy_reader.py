"""Takes apart what somebody wrote as a taxonomy and collects every flaw with its place; builds nothing itself."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from feedback_gateway.errors import Problem

MAX_PROBLEMS = 50
MAX_NAME = 100
MAX_TEXT = 2_000

Loc = tuple[str | int, ...]
Names = Mapping[str, str]


@dataclass(slots=True)
class Reader:
    """The problems found so far, at most 50."""

    problems: list[Problem] = field(default_factory=list)

    def refuse(self, loc: Loc, msg: str) -> None:
        """Note one flaw."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(loc, msg))

    def mapping(self, value: object, loc: Loc, *, known: Iterable[str]) -> Mapping[str, Any]:
        """An object with no other keys than `known`; an empty one where it is none."""
        if not isinstance(value, Mapping):
            self.refuse(loc, "must be an object")
            return {}
        known = tuple(known)
        for key in value:
            if key not in known:
                self.refuse((*loc, str(key)[:MAX_NAME]), f"unknown key; there are: {', '.join(known)}")
        return value

    def text(self, value: object, loc: Loc, *, most: int = MAX_TEXT) -> str:
        """A trimmed string, empty where there is none."""
        if value is None:
            return ""
        if not isinstance(value, str):
            self.refuse(loc, "must be a string")
            return ""
        if len(value) > most:
            self.refuse(loc, f"has {len(value)} characters; at most {most} are taken")
        elif any("\ud800" <= char <= "\udfff" for char in value):
            self.refuse(loc, "holds half of a surrogate pair, which is no Unicode text")
        return value.strip()

    def name(self, value: object, loc: Loc) -> str:
        """A string of one line that is not empty."""
        name = self.text(value, loc, most=MAX_NAME)
        if not name and (value is None or isinstance(value, str)):
            self.refuse(loc, "must not be empty")
        elif not name.isprintable():
            self.refuse(loc, "must be one line without control characters")
        return name

    def texts(self, value: object, loc: Loc, *, most: int) -> tuple[str, ...]:
        """A list of strings that are not empty."""
        found = [(place, self.text(item, place)) for place, item in self.items(value, loc, most=most)]
        for place, text in found:
            if not text:
                self.refuse(place, "must be a string that is not empty")
        return tuple(text for _, text in found if text)

    def items(self, value: object, loc: Loc, *, most: int) -> Iterator[tuple[Loc, Any]]:
        """The items of a list with their places; none where there is no list."""
        if value is None:
            return
        if not isinstance(value, list):
            self.refuse(loc, "must be a list")
            return
        if len(value) > most:
            self.refuse(loc, f"has {len(value)} entries; at most {most} are taken")
        for index, item in enumerate(value[:most]):
            yield (*loc, index), item

    def rows(
        self, value: object, loc: Loc, *, known: Iterable[str], most: int
    ) -> Iterator[tuple[Loc, Mapping[str, Any]]]:
        """Named things: a list of objects or bare names, or an object of descriptions; names are unique."""
        taken: dict[str, str] = {}
        for place, item in self.entries(value, loc, most=most):
            row = {"name": item} if isinstance(item, str) else item
            if not isinstance(row, Mapping):
                self.refuse(place, "must be an object or a name")
                continue
            name = self.name(row.get("name"), (*place, "name") if row is item else place)
            if name and plain(name) in taken:
                self.refuse(place, f"the name {taken[plain(name)]!r} stands twice (case makes no difference)")
            taken.setdefault(plain(name), name)
            yield place, {**self.mapping(row, place, known=("name", *known)), "name": name}

    def entries(self, value: object, loc: Loc, *, most: int) -> Iterator[tuple[Loc, Any]]:
        """The items of a list, or those of an object as if each had its key as `name`."""
        if not isinstance(value, Mapping):
            yield from self.items(value, loc, most=most)
            return
        for (_, item), name in zip(self.items(list(value.values()), loc, most=most), value, strict=False):
            yield (
                (*loc, str(name)[:MAX_NAME]),
                {"name": name, **(item if isinstance(item, Mapping) else {"description": item})},
            )

    def choice(self, value: object, loc: Loc, names: Names) -> str | None:
        """One of `names`, whatever its case, as it is written there."""
        text = self.text(value, loc, most=MAX_NAME)
        if not text:
            return None
        if plain(text) not in names:
            known = ", ".join(list(names.values())[:20]) or "none"
            self.refuse(loc, f"{text!r} is not known; there are: {known}")
        return names.get(plain(text))


def folded(names: Iterable[str]) -> Names:
    """Names by their case-folded form."""
    return {plain(name): name for name in names}


def plain(name: str) -> str:
    """A name without what makes no other name of it: case, and the form in which Unicode writes its letters."""
    return unicodedata.normalize("NFKC", name).casefold()
