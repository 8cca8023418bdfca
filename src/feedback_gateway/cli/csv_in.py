"""Reads CSV of the usual dialects: recognises the delimiter, and keeps a broken row from swallowing its neighbours."""

import csv
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from feedback_gateway.cli.rows_in import UNDECODED, Row, Source, read_lines, unreadable

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_ROWS = 20
ROW_CHARS = 1_000_000
ROW_LINES = 5_000
NEVER_CLOSED = "a quoted cell that starts here is never closed"
SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)


class RowTooLong(Exception):
    """A quoted cell goes on for so long that its closing quote must be missing."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How cells are told apart; `announced` is true where a first line `sep=;` says so."""

    delimiter: str
    skip_spaces: bool
    announced: bool = False

    def reader(self, lines: Iterator[str]) -> "Iterator[list[str]]":
        """A reader of the standard library for `lines`."""
        return csv.reader(lines, delimiter=self.delimiter, skipinitialspace=self.skip_spaces)


def recognise_dialect(sample: str, wanted: str) -> Dialect:
    """The delimiter under which the header names `wanted` and most rows are as long as it.

    The standard library's sniffer guesses letters as delimiters in short files, so it is not used.
    """
    if announced := SEPARATOR_LINE.match(sample):
        return Dialect(announced[1], skip_spaces=False, announced=True)

    def score(delimiter: str) -> tuple[bool, float, int]:
        dialect = Dialect(delimiter, skip_spaces=f'{delimiter} "' in sample)
        rows = [row for row in islice(dialect.reader(iter(sample.splitlines(keepends=True))), SAMPLE_ROWS) if row]
        if not rows:
            return False, 0.0, 0
        body = rows[1:] or rows
        same = sum(len(row) == len(rows[0]) for row in body) / len(body)
        return find_column(rows[0], wanted) is not None, same, len(rows[0])

    csv.field_size_limit(max(len(sample), ROW_CHARS) + 1)
    best = max(DELIMITERS, key=score)
    return Dialect(best, skip_spaces=f'{best} "' in sample)


def find_column(header: Sequence[str], wanted: str) -> str | None:
    """The column of that name; where there is none, the only one that differs in case or spaces."""
    if wanted in header:
        return wanted
    near = [name for name in header if name.strip().casefold() == wanted.strip().casefold()]
    return near[0] if len(near) == 1 else None


def name_columns(cells: Sequence[str]) -> list[str]:
    """Column names without spaces around them, each of them once and none of them empty."""
    names = [cell.strip() or f"column {number}" for number, cell in enumerate(cells, 1)]
    seen: Counter[str] = Counter()
    for index, name in enumerate(names):
        seen[name] += 1
        if seen[name] > 1:
            names[index] = f"{name} ({seen[name]})"
    return names


class LineFeed(Iterator[str]):
    """Physical lines that can be handed back, so that a row which swallowed too much can be read again."""

    def __init__(self, source: Source) -> None:
        self._lines = read_lines(source)
        self._returned: deque[tuple[int, str]] = deque()
        self.taken: list[tuple[int, str]] = []
        self.dry = False

    def __next__(self) -> str:
        """The next line of the row that is being read. Raises RowTooLong where that has no end."""
        if len(self.taken) > ROW_LINES:
            raise RowTooLong
        if self._returned:
            number, line = self._returned.popleft()
        else:
            number, text = next(self._lines, (0, ""))
            if number == 0:
                self.dry = True
                raise StopIteration
            line = text if text is not None else "\0" * (ROW_CHARS + 2)
        self.taken.append((number, line))
        return line

    def start_row(self) -> None:
        """Forget the lines of the row before."""
        self.taken = []
        self.dry = False

    def keep_first(self) -> int:
        """Hand back all lines of this row but its first; the number of that."""
        self._returned.extendleft(reversed(self.taken[1:]))
        return self.taken[0][0]


class CsvRows:
    """The rows below the header; `columns` are the header's names, none in an empty file."""

    def __init__(self, source: Source, dialect: Dialect) -> None:
        csv.field_size_limit(ROW_CHARS)
        self._dialect = dialect
        self._encoding = source.encoding
        self._feed = LineFeed(source)
        if dialect.announced:
            next(self._feed, None)
        self.columns = name_columns(self._read_header())

    def _read_header(self) -> list[str]:
        while True:
            self._feed.start_row()
            cells = next(self._dialect.reader(self._feed), None)
            if cells is None or any(cell.strip() for cell in cells):
                return cells or []

    def __iter__(self) -> Iterator[Row]:
        while True:
            self._feed.start_row()
            row = self._read_row()
            if row is not None:
                yield row
            elif not self._feed.taken:
                return

    def _read_row(self) -> Row | None:
        """The next row; None for a blank line and, with nothing taken, for the end."""
        try:
            cells = next(self._dialect.reader(self._feed), None)
        except RowTooLong:
            return unreadable(self._feed.keep_first(), NEVER_CLOSED)
        except csv.Error as error:
            return unreadable(self._feed.keep_first(), f"no valid CSV: {error}")
        if not cells:
            return None
        while len(cells) > len(self.columns) and not cells[-1]:
            cells.pop()
        if reason := self._refusal(cells):
            return unreadable(self._feed.keep_first(), reason)
        if any(UNDECODED.search(cell) for cell in cells if not cell.isascii()):
            return unreadable(self._feed.taken[0][0], f"no valid {self._encoding}")
        return Row(line=self._feed.taken[0][0], columns=dict(zip(self.columns, cells, strict=True)))

    def _refusal(self, cells: Sequence[str]) -> str | None:
        """Why the cells make no row, None where they do."""
        if self._feed.dry:
            return NEVER_CLOSED
        if len(cells) != len(self.columns):
            return f"{len(cells)} cells where the header has {len(self.columns)}"
        return None
