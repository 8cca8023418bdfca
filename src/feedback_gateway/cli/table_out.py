"""Writes answered rows as a table that fits the terminal, one line a row; what a table cannot show it leaves out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from feedback_gateway.cli.rows_out import schema_paths, value_at
from feedback_gateway.cli.terminal import GAP, Column, fit, format_line, header_lines, narrow, printable

Path = tuple[str, ...]

SHORT = {"needs_review": "?", "language": "lang", "source_language": "from", "suggested_category": "suggested"}
NAMED = frozenset({"label", "category", "subcategory", "language", "source_language", "team", "severity"})
UNSHOWN = frozenset({"confidence_source", "suggested_category"})
DISPENSABLE = ("subcategory", "confidence", "score", "language")
"""Left out in this order where the terminal is narrow."""
MOST_LABELS = 8
NUMBER_WIDTH = 5
WORD_WIDTH = 16
SENTENCE_WIDTH = 40
TEXT_SHARE = 4
LEAST_LABEL = 10
MOST_ID = 24
ERROR = "failed: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One value of a result, how wide its column is, and whether that may be cut to less than its widest value."""

    path: Path
    name: str
    width: int
    firm: bool


class TableWriter:
    """A table for people: id, the text's beginning, and the labels of the result.

    `choices` are the values that a label is known to have; `id_width` 0 leaves the ids out.
    """

    def __init__(
        self,
        stream: BinaryIO,
        result_schema: Mapping[str, Any],
        *,
        choices: Mapping[Path, Sequence[str]],
        text_column: str,
        id_width: int,
        width: int,
    ) -> None:
        self._stream = stream
        self._text_column = text_column
        self._ids = [Column("id", min(max(id_width, 2), MOST_ID))] if id_width else []
        room = width - sum(column.width + 2 for column in self._ids)
        self._labels = fit_labels(list(labels_of(result_schema, choices)), room=room)
        used = taken(self._labels)
        self._text = Column("text", max(room - used, 1))
        self._error = max(used - 2, 1)
        self._whole = room

    def start(self) -> None:
        """Write the header."""
        columns = [*self._ids, self._text, *(Column(label.name, label.width) for label in self._labels)]
        self._line(header_lines(columns))

    def write(self, columns: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Write one line."""
        row_id = columns.get("id")
        cells = [fit("" if row_id is None else str(row_id), column.width) for column in self._ids]
        text = printable(str(columns.get(self._text_column) or ""))
        if "error" in answer:
            told = ERROR + describe_error(answer["error"])
            cells += [fit(text, self._text.width), fit(told, self._error)] if text else [fit(told, self._whole)]
        else:
            shown = [Column(label.name, label.width) for label in self._labels]
            values = [cell(value_at(answer.get("result"), label.path), label) for label in self._labels]
            cells.append(format_line([self._text, *shown], [text, *values]))
        self._line("  ".join(cells).rstrip())

    def _line(self, line: str) -> None:
        self._stream.write(line.encode("utf-8", "replace") + b"\n")
        self._stream.flush()


def labels_of(schema: Mapping[str, Any], choices: Mapping[Path, Sequence[str]]) -> Iterator[Label]:
    """The short values of a result; where it has none but codes, its first sentence as well."""
    paths = [path for path in schema_paths(schema) if path and path[-1] not in UNSHOWN]
    chosen = [path for path in paths if is_label(schema_at(schema, path), path)]
    if all(path[-1] in SHORT for path in chosen):
        chosen += [path for path in paths if path not in chosen and "string" in kinds_of(schema_at(schema, path))][:1]
    for path in chosen[:MOST_LABELS]:
        inner = schema_at(schema, path)
        name = SHORT.get(path[-1], path[-1])
        least = len(name)
        if labels := choices.get(path) or [value for value in inner.get("enum", ()) if value is not None]:
            widest = max(len(str(label)) for label in labels)
            yield Label(path=path, name=name, width=max(least, widest), firm="enum" in inner)
        elif "boolean" in kinds_of(inner):
            yield Label(path=path, name=name, width=least if name == "?" else max(least, len("yes")), firm=True)
        elif {"number", "integer"} & kinds_of(inner):
            yield Label(path=path, name=name, width=max(least, NUMBER_WIDTH), firm=True)
        elif path[-1] in SHORT:
            yield Label(path=path, name=name, width=least, firm=True)
        else:
            wide = WORD_WIDTH if path[-1] in NAMED else SENTENCE_WIDTH
            yield Label(path=path, name=name, width=max(least, wide), firm=False)


def fit_labels(labels: list[Label], *, room: int) -> list[Label]:
    """The labels beside which a text has room, made narrower and fewer where they are too wide."""
    most = room - room // TEXT_SHARE
    for name in DISPENSABLE[:-1]:
        if taken(labels) > most:
            labels = [label for label in labels if label.path[-1] != name]
    labels = narrowed(labels, most=most, least=LEAST_LABEL)
    if taken(labels) > most:
        labels = [label for label in labels if label.path[-1] != DISPENSABLE[-1]]
    labels = narrowed([replace(label, firm=False) for label in labels], most=most, least=3)
    while taken(labels) > most:
        labels.pop()
    return labels


def narrowed(labels: list[Label], *, most: int, least: int) -> list[Label]:
    """The labels with the widest that are not firm cut until they take `most` or all have `least`."""
    widths = narrow([-label.width if label.firm else label.width for label in labels], most=most, least=least)
    return [replace(label, width=abs(width)) for label, width in zip(labels, widths, strict=True)]


def taken(labels: Sequence[Label]) -> int:
    """Cells that the labels' columns take, with the gap before each."""
    return sum(label.width + GAP for label in labels)


def cell(value: Any, label: Label) -> str:
    """A value as a person reads it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        if label.name == "?":
            return "?" if value else ""
        return "yes" if value else "no"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def describe_error(error: Mapping[str, Any]) -> str:
    """A problem document in a few words: the first place that it names, or else its detail."""
    for place in error.get("errors") or ():
        where = ".".join(map(str, place["loc"]))
        return f"{where}: {place['msg']}" if where else str(place["msg"])
    return str(error["detail"])


def schema_at(schema: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """The schema of the value at `path`."""
    for name in path:
        schema = schema["properties"][name]
    return schema


def kinds_of(schema: Mapping[str, Any]) -> frozenset[str]:
    """The JSON types that a value may have."""
    kinds = schema.get("type", () if "enum" in schema else "string")
    return frozenset([kinds] if isinstance(kinds, str) else kinds)


def is_label(schema: Mapping[str, Any], path: Path) -> bool:
    """Whether a value is short: a number, a truth value, a word of an enumeration or a name."""
    return bool({"number", "integer", "boolean"} & kinds_of(schema)) or "enum" in schema or path[-1] in NAMED
