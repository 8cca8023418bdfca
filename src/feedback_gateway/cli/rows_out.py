"""Writes answered rows as JSON Lines or as CSV that no spreadsheet executes, each row as it comes."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from feedback_gateway.calls.spreadsheets import guarded

ANSWER_COLUMNS = (
    "call_id",
    "task",
    "prompt_version",
    "taxonomy_version",
    "model",
    "deployment",
    "cached",
    "latency_ms",
)
USAGE_COLUMNS = ("input_tokens", "cached_input_tokens", "output_tokens", "cost_usd")
MORE = "more"
RESERVED = frozenset({*ANSWER_COLUMNS, "result", "usage", "error", "line", MORE})
MOVED = "input_"


class RowWriter(Protocol):
    """Anything that takes rows. `columns` are the input row's own, `answer` is what the task call returned for it."""

    def start(self) -> None:
        """Write what stands before the first row."""
        ...

    def write(self, columns: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Write one row, so that it is there even if the process dies right after."""
        ...


def passed_columns(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The input row's columns under names that the answer does not use: `model` becomes `input_model`.

    `input_model` becomes `input_input_model`, so that no two columns meet however often a file is answered.
    """
    return {(MOVED + name if is_reserved(name) else name): value for name, value in columns.items()}


def is_reserved(name: str) -> bool:
    """Whether a column of an answer, flattened with dots or moved aside before, may have that name."""
    while name.startswith(MOVED):
        name = name.removeprefix(MOVED)
    return name.partition(".")[0] in RESERVED


def merge(columns: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """One output row: the row's id, its other columns, and the answer."""
    return {"id": None, **passed_columns(columns), **{name: answer[name] for name in answer if name != "id"}}


def json_line(row: Mapping[str, Any]) -> bytes:
    """One line of JSON Lines; characters as they are, but halves of surrogate pairs as escapes."""
    try:
        return (json.dumps(row, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:
        return (json.dumps(row) + "\n").encode()


class JsonLinesWriter:
    """One JSON object a line."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def start(self) -> None:
        """Nothing stands before the first row."""

    def write(self, columns: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Write one line."""
        self._stream.write(json_line(merge(columns, answer)))
        self._stream.flush()


def schema_paths(schema: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths to every value of a result that is no object with known properties."""
    properties = schema.get("properties")
    if not properties:
        yield prefix
        return
    for name, inner in properties.items():
        yield from schema_paths(inner, (*prefix, name))


def value_at(value: Any, path: Sequence[str]) -> Any:
    """What lies at `path`, None where the path breaks off."""
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def safe_cell(value: Any) -> str:
    """A cell that a spreadsheet takes for text: a formula's first character gets an apostrophe before it.

    Numbers, negative ones too, stay numbers; lists and objects are JSON.
    """
    if value is None:
        return ""
    if isinstance(value, bool | list | Mapping):
        value = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, int | float):
        return str(value)
    return guarded(str(value).encode("utf-8", "replace").decode())


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """The columns of a CSV file: those of the input, then those of the answer as dotted paths.

    With `overflow`, columns that only later rows have go into one more as JSON.
    """

    passed: tuple[str, ...]
    paths: tuple[tuple[str, ...], ...]
    overflow: bool

    @property
    def header(self) -> list[str]:
        """The cells of the first row."""
        more = [MORE] if self.overflow else []
        return [safe_cell(name) for name in [*self.passed, *more, *(".".join(path) for path in self.paths)]]

    def passed_cells(self, columns: Mapping[str, Any]) -> list[str]:
        """The cells that come from the input row."""
        passed = passed_columns(columns)
        cells = [safe_cell(passed.get(name)) for name in self.passed]
        if self.overflow:
            rest = {name: value for name, value in passed.items() if name not in self.passed}
            cells.append(safe_cell(rest or None))
        return cells

    def cells(self, columns: Mapping[str, Any], answer: Mapping[str, Any]) -> list[str]:
        """The cells of one row."""
        return [*self.passed_cells(columns), *(safe_cell(value_at(answer, path)) for path in self.paths)]


def csv_layout(names: Sequence[str], result_schema: Mapping[str, Any], *, overflow: bool) -> CsvLayout:
    """The layout for input columns `names` and results of `result_schema`."""
    paths = [("result", *path) for path in schema_paths(result_schema)]
    paths += [("line",), ("error", "status"), ("error", "title"), ("error", "detail"), ("error", "errors")]
    paths += [(name,) for name in ANSWER_COLUMNS]
    paths += [("usage", name) for name in USAGE_COLUMNS]
    names = list(names) if "id" in names else ["id", *names]
    return CsvLayout(tuple(passed_columns(dict.fromkeys(names))), tuple(paths), overflow)


def csv_line(cells: Sequence[str]) -> bytes:
    """One CSV record, every cell quoted, so that no program splits a cell where it sees a separator of its own."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(cells)
    return buffer.getvalue().encode()


class CsvWriter:
    """UTF-8, commas, a header, results flattened with dots."""

    def __init__(self, stream: BinaryIO, layout: CsvLayout) -> None:
        self._stream = stream
        self.layout = layout

    def start(self) -> None:
        """Write the header."""
        self._stream.write(csv_line(self.layout.header))
        self._stream.flush()

    def write(self, columns: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Write one record."""
        self._stream.write(csv_line(self.layout.cells(columns, answer)))
        self._stream.flush()
