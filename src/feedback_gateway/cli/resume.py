"""Opens the output file, and on `--resume` finds what an interrupted run left in it.

Rows already written are matched with the input one by one; a last line that was torn by a kill is cut off.
"""

import asyncio
import csv
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from feedback_gateway.cli.rows_in import Row
from feedback_gateway.cli.rows_out import RESERVED, CsvLayout, passed_columns
from feedback_gateway.errors import ConfigurationError

OnExisting = Literal["refuse", "overwrite", "resume"]
PAUSE_EVERY = 500
REASON = ("status", "title", "detail")


@dataclass(frozen=True, slots=True)
class Lost:
    """A row whose answer in the output, from byte `start` to `end`, is the error that `reason` tells."""

    row: Row
    reason: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Written:
    """What is in the output already: how many rows, and those of them that failed."""

    rows: int = 0
    lost: tuple[Lost, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One complete row of the output and the offset in bytes at which it ends."""

    row: Any
    end: int


def open_output(path: Path, *, on_existing: OnExisting) -> BinaryIO:
    """Open `path` for reading and writing, empty unless resumed, and lock it as long as it is open.

    Raises ConfigurationError where it holds something that nobody asked to overwrite, where another run writes to it,
    or where it cannot be opened.
    """
    try:
        if path.exists() and not path.is_file():
            return path.open("wb")
        if path.is_file() and path.stat().st_size and on_existing == "refuse":
            raise ConfigurationError(f"{path} exists: add --resume to go on with it or --force to overwrite it")
        stream = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.close()
            raise
    except BlockingIOError:
        raise ConfigurationError(f"--output {path}: another run writes to it; wait for its end") from None
    except OSError as error:
        raise ConfigurationError(f"--output {path}: {error.strerror}; name a file that can be written") from None
    if on_existing != "resume":
        stream.truncate()
    return stream


def json_records(stream: BinaryIO) -> Iterator[Record]:
    """The complete lines of a JSON Lines output."""
    end = 0
    for line in stream:
        if not line.endswith(b"\n"):
            return
        end += len(line)
        try:
            yield Record(json.loads(line), end)
        except ValueError:
            yield Record(None, end)


def csv_records(stream: BinaryIO) -> Iterator[Record]:
    """The complete records of a CSV output, header included: those whose quotes are all closed."""
    end, pending = 0, b""
    for line in stream:
        pending += line
        if pending.count(b'"') % 2:
            continue
        if not pending.endswith(b"\n"):
            return
        end += len(pending)
        yield Record(next(csv.reader(pending.decode("utf-8", "replace").splitlines(keepends=True)), []), end)
        pending = b""


def same_json(record: Any, row: Row, *, task: str) -> bool:
    """Whether a line of JSON Lines is `task`'s answer to `row`."""
    if not isinstance(record, Mapping) or record.get("task", task) != task:
        return False
    if row.error is not None:
        return "error" in record and record.get("line") == row.line
    passed = {"id": None, **passed_columns(row.columns)}
    return {name: record[name] for name in record if name not in RESERVED} == passed


def same_csv(record: list[str], row: Row, *, layout: CsvLayout, task: str) -> bool:
    """Whether a CSV record is `task`'s answer to `row`."""
    if len(record) != len(layout.header):
        return False
    expected = layout.passed_cells(row.columns)
    named = dict(zip(layout.header, record, strict=True))
    return record[: len(expected)] == expected and named["task"] in {"", task}


async def skip_written(stream: BinaryIO, rows: Iterator[Row], *, task: str, layout: CsvLayout | None) -> Written:
    """Read the answered rows from both files, cut off what is torn, and leave both where the work goes on.

    Raises ConfigurationError as soon as a written row is not the answer to the row in its place.
    """
    csv.field_size_limit(2**31 - 1)
    records = json_records(stream) if layout is None else csv_records(stream)
    end = count = 0
    lost: list[Lost] = []
    if layout is not None:
        header = next(records, None)
        if header is not None and header.row != layout.header:
            raise ConfigurationError("--resume: the output has other columns than this run would write; use --force")
        end = header.end if header else 0
    for count, record in enumerate(records, 1):
        row = next(rows, None)
        if row is None or not is_answer(record.row, row, task=task, layout=layout):
            raise ConfigurationError(
                f"--resume: row {count} of the output is no answer of {task!r} to row {count} of the input; "
                "the input, the task or the options changed: restore them, or use --force to start again"
            )
        if (reason := reason_in(record.row, layout)) is not None:
            lost.append(Lost(row, reason, start=end, end=record.end))
        end = record.end
        if count % PAUSE_EVERY == 0:
            await asyncio.sleep(0)
    stream.seek(end)
    stream.truncate()
    return Written(count, tuple(lost))


def is_answer(record: Any, row: Row, *, task: str, layout: CsvLayout | None) -> bool:
    """Whether an output row belongs to `row`."""
    if layout is None:
        return same_json(record, row, task=task)
    return same_csv(record, row, layout=layout, task=task)


def reason_in(record: Any, layout: CsvLayout | None) -> str | None:
    """Why an output row has no answer, None where it has one."""
    if layout is None:
        return reason_of(record["error"]) if "error" in record else None
    named = dict(zip(layout.header, record, strict=True))
    return reason_of({name: named[f"error.{name}"] for name in REASON}) if named["error.title"] else None


def reason_of(error: Mapping[str, Any]) -> str:
    """A problem document in one line."""
    status, title, detail = (error.get(name, "") for name in REASON)
    return f"{status} {title}: {detail}"
