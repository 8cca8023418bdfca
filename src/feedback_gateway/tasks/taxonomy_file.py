"""The configured taxonomy while the process runs: read again when its file was changed, the last good one kept."""

from pathlib import Path

from feedback_gateway.errors import ConfigurationError
from feedback_gateway.tasks.taxonomy import Taxonomy, load_taxonomy, source_of

Stamp = tuple[int, int, int]


class TaxonomyFile:
    """What `path` holds, the built-in taxonomy where that is None."""

    def __init__(self, path: Path | None = None) -> None:
        """Read it. Raises ConfigurationError with file and line."""
        self.path = path
        self._stamp = stamp_of(path)
        self._current = load_taxonomy(path)
        self._broken: str | None = None

    @property
    def current(self) -> Taxonomy:
        """What serves now; another object as soon as it says something else."""
        return self._current

    @property
    def broken(self) -> str | None:
        """What is wrong with the file as it is now, as `file:line: reason`; the last good version goes on serving."""
        return self._broken

    def refresh(self) -> bool:
        """Read the file if it was changed since the last look; says whether it was. Blocks."""
        stamp = stamp_of(self.path)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            found = load_taxonomy(self.path)
        except ConfigurationError as error:
            self._broken = error.detail
            return True
        self._broken = None
        if (found.version, found.label) != (self._current.version, self._current.label):
            self._current = found
        return True


def stamp_of(path: Path | None) -> Stamp | None:
    """What changes when the file is written, None where there is no file."""
    try:
        status = source_of(path).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
