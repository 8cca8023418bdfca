"""Reads YAML into plain JSON data and remembers the line of every value; knows nothing of what the data means.

Stricter than YAML: no aliases, tags or duplicate keys, one document, scalars as in YAML 1.2 (`no` is a string).
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_DEPTH = 48
INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}

Place = tuple[str | int, ...]


class MarkedError(Exception):
    """What is wrong with the text, and in which line of it (from 1)."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


@dataclass(frozen=True, slots=True)
class Marked:
    """The data of a text, and the line (from 1) where each place in it begins."""

    data: Any
    lines: dict[Place, int]

    def line(self, place: Place) -> int:
        """The line of `place`, or of the nearest thing around it that is written in the text."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_marked(text: str, *, first_line: int = 1) -> Marked:
    """Read one YAML document; `first_line` is the number of its first line. Raises MarkedError."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is ten times faster, and optional
    builder = Builder(yaml.parse(text, Loader=loader), first_line)
    try:
        return Marked(builder.document(), builder.lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "no valid YAML"
        raise MarkedError(f"no valid YAML: {reason}", first_line + (mark.line if mark else 0)) from None
    except yaml.YAMLError as error:
        raise MarkedError(f"no valid YAML: {str(error).splitlines()[0]}", first_line) from None


@dataclass(slots=True)
class Builder:
    """Builds the data of one document from the parser's events, so that nothing is constructed but JSON."""

    events: Iterator[yaml.Event]
    first_line: int
    lines: dict[Place, int] = field(default_factory=dict)

    def document(self) -> Any:
        """The whole document; an empty one is None."""
        next(self.events)
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        data = self.value(next(self.events), ())
        next(self.events)
        if not isinstance(event := next(self.events), yaml.StreamEndEvent):
            raise self.error("a second YAML document", event)
        return data

    def value(self, event: yaml.Event, place: Place) -> Any:
        """The value that begins with `event`."""
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise self.error("YAML anchors and aliases are not taken", event)
        if len(place) > MAX_DEPTH:
            raise self.error(f"nested more than {MAX_DEPTH} deep", event)
        self.lines.setdefault(place, self.line_of(event))
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event)
        if getattr(event, "tag", None):
            raise self.error("YAML tags are not taken", event)
        return self.mapping(place) if isinstance(event, yaml.MappingStartEvent) else self.sequence(place)

    def mapping(self, place: Place) -> dict[str, Any]:
        """The rest of a mapping; keys are strings as they are written, and each stands once."""
        data: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self.error("a key must be a string", event)
            key: str = event.value
            if key in data:
                raise self.error(f"the key {key!r} stands twice, first in line {self.lines[*place, key]}", event)
            self.lines[*place, key] = self.line_of(event)
            data[key] = self.value(next(self.events), (*place, key))
        return data

    def sequence(self, place: Place) -> list[Any]:
        """The rest of a sequence."""
        data: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            data.append(self.value(event, (*place, len(data))))
        return data

    def scalar(self, event: yaml.ScalarEvent) -> Any:
        """A string, or what a plain scalar means in YAML 1.2."""
        text: str = event.value
        if event.tag not in {None, "!"}:
            raise self.error("YAML tags are not taken", event)
        if event.style or not event.implicit[0]:
            return text
        if text in WORDS:
            return WORDS[text]
        if INTEGER.fullmatch(text):
            return int(text)
        if NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
            return number
        return text

    def line_of(self, event: yaml.Event) -> int:
        """The line where `event` begins."""
        return self.first_line + (event.start_mark.line if event.start_mark else 0)

    def error(self, reason: str, event: yaml.Event) -> MarkedError:
        """A refusal at `event`."""
        return MarkedError(reason, self.line_of(event))
