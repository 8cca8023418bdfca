"""Reads rows from a JSON Lines or CSV file or from standard input, one at a time, whatever their dialect and encoding.

A row that cannot be read is a row with an error and its line number; it never ends the file.
"""

import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from feedback_gateway.errors import ConfigurationError, InvalidRequest

InputFormat = Literal["jsonl", "csv"]

SAMPLE_BYTES = 1 << 18
LINE_CHARS = 10_000_000
SUFFIXES: Mapping[str, InputFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
}
MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
UNDECODED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row and the line it starts on, counted from 1; `error` says why `columns` could not be read."""

    line: int
    columns: Mapping[str, Any] = field(default_factory=dict)
    error: InvalidRequest | None = None


@dataclass(slots=True)
class Taken:
    """Bytes of a file whose lines were read."""

    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An open file: its text, how much of it was read, and its first characters to recognise it by.

    `size` is in bytes, None where it has no end that is known; `notice` tells of a guess that a person should know of.
    """

    name: str
    raw: io.FileIO
    taken: Taken = field(default_factory=Taken)
    text: io.TextIOWrapper
    sample: str
    encoding: str
    size: int | None
    notice: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.raw.seekable():  # a thread may wait for a pipe, and closing that would wait for the thread
            self.text.close()

    def position(self) -> int:
        """Bytes of the lines that were read so far, whatever lies in a buffer."""
        return self.taken.size


def open_source(path: Path | None, *, encoding: str | None = None) -> Source:
    """Open `path`, or standard input where it is None or `-`.

    Raises ConfigurationError where the file cannot be opened or the encoding does not exist.
    """
    standard_input = path is None or str(path) == "-"
    try:
        raw = io.FileIO(0, closefd=False) if standard_input else io.FileIO(str(path))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; name a file that can be read") from None
    size = file_size(raw)
    buffered = io.BufferedReader(raw, SAMPLE_BYTES)
    head = peek(buffered, path)
    notice = None
    if encoding is None:
        encoding, notice = recognise_encoding(head)
    lenient = "replace" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
    try:
        sample = head.decode(encoding, "replace")
    except LookupError:
        buffered.close()
        raise ConfigurationError(f"--encoding {encoding}: no such encoding; try utf-8 or windows-1252") from None
    line_end = "\r" if "\r" in sample and "\n" not in sample else "\n"
    text = io.TextIOWrapper(buffered, encoding=encoding, errors=lenient, newline=line_end)
    return Source(
        name="standard input" if standard_input else str(path),
        raw=raw,
        text=text,
        sample=sample,
        encoding=encoding,
        size=size,
        notice=notice,
    )


def peek(buffered: "io.BufferedReader[io.FileIO]", path: Path | None) -> bytes:
    """The first bytes, left in place. Raises ConfigurationError where nothing can be read."""
    try:
        return buffered.peek(SAMPLE_BYTES)
    except OSError as error:
        buffered.close()
        raise ConfigurationError(f"{path}: {error.strerror}; name a file that can be read") from None


def file_size(raw: io.FileIO) -> int | None:
    """Bytes that are left of a file that can be sought in, else None."""
    if not raw.seekable():
        return None
    here = raw.tell()
    size = raw.seek(0, io.SEEK_END) - here
    raw.seek(here)
    return size if size > 0 else None


def recognise_encoding(head: bytes) -> tuple[str, str | None]:
    """The encoding of a file that starts with `head`, and a notice where it was a guess.

    UTF-8 unless a byte order mark, zero bytes or broken sequences speak against it; a file with more whole than
    broken sequences is UTF-8 with a few bad rows.
    """
    for mark, name in MARKS:
        if head.startswith(mark):
            return name, None
    zeros = head[:200].count(0)
    if zeros * 3 > len(head[:200]):
        name = "utf-16-le" if head[1:200:2].count(0) > head[0:200:2].count(0) else "utf-16-be"
        return name, f"no byte order mark; read as {name}"
    decoded = head.decode("utf-8", "surrogateescape")
    broken = len(UNDECODED.findall(decoded[:-3]))
    whole = sum(character > "\x7f" for character in decoded) - broken
    if broken == 0 or whole >= broken:
        return "utf-8", None
    return "windows-1252", "this is no UTF-8; read as windows-1252 (name another with --encoding)"


def recognise_format(source: Source, path: Path | None) -> InputFormat:
    """JSON Lines or CSV, by the first character, then by the file's name.

    Raises ConfigurationError for a JSON array, which cannot be read row by row.
    """
    first = source.sample.lstrip("\ufeff \t\r\n")[:1]
    if first == "{":
        return "jsonl"
    named = SUFFIXES.get(path.suffix.lower()) if path is not None else None
    if first == "[" and named != "csv":
        raise ConfigurationError(
            f"{source.name}: a JSON array; give JSON Lines, one object a line, as `jq -c '.[]'` writes them"
        )
    return named or "csv"


def read_lines(source: Source) -> Iterator[tuple[int, str | None]]:
    """Number, from 1, and text of each line with its line end; None for a line that is too long to be a row."""
    number = 0
    while line := read_part(source):
        number += 1
        if len(line) < LINE_CHARS or line.endswith("\n"):
            yield number, line
            continue
        while (rest := read_part(source)) and not rest.endswith("\n"):
            pass
        yield number, None


def read_part(source: Source) -> str:
    """The next line, or LINE_CHARS of it, noted as taken; empty at the end."""
    part = source.text.readline(LINE_CHARS)
    codec = source.encoding.removesuffix("-sig")
    if codec in {"utf-16", "utf-32"}:
        codec += "-le"  # without a mark of its own in every line
    plain = part.isascii() and not codec.startswith(("utf-16", "utf-32"))
    source.taken.size += len(part) if plain else len(part.encode(codec, source.text.errors or "strict"))
    return part


def unreadable(line: int, reason: str) -> Row:
    """A row that stands for what could not be read."""
    return Row(line=line, error=InvalidRequest(f"line {line}: {reason}"))


def json_rows(source: Source) -> Iterator[Row]:
    """The rows of a JSON Lines file; blank lines are none."""
    for number, line in read_lines(source):
        if line is None:
            yield unreadable(number, f"longer than {LINE_CHARS:,} characters")
        elif bad := UNDECODED.search(line):
            yield unreadable(number, f"no valid {source.encoding} at column {bad.start() + 1}")
        elif line.strip():
            yield json_row(number, line)


def json_row(number: int, line: str) -> Row:
    """One line of JSON Lines."""
    try:
        value = json.loads(line, parse_constant=refuse_constant, parse_float=finite)
    except json.JSONDecodeError as error:
        return unreadable(number, f"no valid JSON: {error.msg} at column {error.colno}")
    except ValueError as error:
        return unreadable(number, f"no valid JSON: {error}")
    except RecursionError:
        return unreadable(number, "nested too deeply")
    if not isinstance(value, dict):
        return unreadable(number, 'a row must be an object such as {"text": "…"}')
    return Row(line=number, columns=value)


def refuse_constant(name: str) -> float:
    """NaN and the infinities are no JSON, though Python's reader takes them."""
    raise ValueError(f"{name} is no JSON number")


def finite(digits: str) -> float:
    """A float, unless it is too large to be one."""
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {digits[:20]} is out of range")
    return value
