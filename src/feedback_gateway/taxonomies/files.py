"""Writes the taxonomy file: as a whole or not at all, and only over what was read."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from feedback_gateway.errors import ConfigurationError, Conflict


def replace_file(path: Path, *, before: bytes, after: bytes) -> None:
    """Have `path` hold `after`, where it still holds `before`.

    Raises Conflict where somebody else wrote it meanwhile, ConfigurationError where it cannot be written.
    """
    target = path.resolve()
    temporary: Path | None = None
    try:
        mode = target.stat().st_mode
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode & 0o7777)
            file.write(after)
            file.flush()
            os.fsync(descriptor)
        if target.read_bytes() != before:
            raise Conflict(f"{path} was changed meanwhile; look at it, and try again")
        temporary.replace(target)
        temporary = None
        sync_folder(target.parent)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Let a new name outlive the machine's power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
