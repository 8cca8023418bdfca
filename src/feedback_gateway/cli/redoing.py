"""Writes an output anew, with other rows in the place of those that failed; the old one stays until that is done."""

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from feedback_gateway.cli.resume import Lost
from feedback_gateway.errors import ConfigurationError

SUFFIX = ".retrying"


class Redone:
    """A stream for the rows that take the place of the `lost` ones of `old`, in their order; the others are copied."""

    def __init__(self, old: BinaryIO, new: BinaryIO, lost: Sequence[Lost]) -> None:
        self._old = old
        self._new = new
        self._lost = iter(lost)
        self._old.seek(0)

    def make_room(self) -> None:
        """Copy what stands before the next lost row, and leave that out."""
        lost = next(self._lost)
        self._copy(lost.start - self._old.tell())
        self._old.seek(lost.end)

    def copy_rest(self) -> None:
        """Copy what stands after the last lost row."""
        shutil.copyfileobj(self._old, self._new)
        self._new.flush()

    def _copy(self, count: int) -> None:
        while count and (part := self._old.read(min(count, 1 << 20))):
            self._new.write(part)
            count -= len(part)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A locked file that takes the place of `path` at the end; on an error it is gone and `path` as it was.

    Raises ConfigurationError where it cannot be opened. It is left open.
    """
    path = path.resolve()  # a link goes on pointing there
    beside = path.with_name(path.name + SUFFIX)
    try:
        stream = os.fdopen(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC, path.stat().st_mode & 0o777), "r+b")
    except OSError as error:
        raise ConfigurationError(f"--retry-failed: {beside}: {error.strerror}; it is needed beside --output") from None
    with ExitStack() as undoing:
        undoing.callback(beside.unlink)
        undoing.callback(stream.close)
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield stream
        os.fsync(stream.fileno())
        beside.replace(path)
        undoing.pop_all()
