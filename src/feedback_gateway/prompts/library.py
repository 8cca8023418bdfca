"""All prompts of some folders, versions side by side, and their reload while the process runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from feedback_gateway.errors import ConfigurationError, InvalidRequest, Problem, UnknownTask
from feedback_gateway.prompts.models import Prompt
from feedback_gateway.prompts.parser import parse_prompt

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """One file as it was last seen: its last good version, and what is wrong with it now."""

    stamp: Stamp
    prompt: Prompt | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the folders held at one moment; replaced as a whole."""

    entries: Mapping[Path, Entry]
    prompts: Mapping[str, Mapping[int, Prompt]]
    broken: Mapping[Path, str]


class PromptLibrary:
    """The prompts of `folders`; a later folder adds to the earlier ones and redefines nothing."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Read the folders, whatever state their files are in: `broken` says which cannot be used."""
        self._folders = tuple(folders)
        self._snapshot = take_snapshot(self._folders, {})

    @classmethod
    def load(cls, folders: Sequence[Path]) -> "PromptLibrary":
        """Read folders that must be in order. Raises ConfigurationError with the first `path:line: reason`."""
        library = cls(folders)
        for error in library.broken.values():
            raise ConfigurationError(error)
        return library

    @property
    def broken(self) -> Mapping[Path, str]:
        """Every file that cannot be used as it is, with `path:line: reason`; its last good version goes on serving."""
        return self._snapshot.broken

    def names(self) -> tuple[str, ...]:
        """The tasks there are, sorted."""
        return tuple(self._snapshot.prompts)

    def versions(self, name: str) -> tuple[int, ...]:
        """The versions of one task, ascending. Raises UnknownTask."""
        return tuple(self._of(name))

    def get(self, name: str, version: int | None = None) -> Prompt:
        """One version of a prompt, the highest by default. Raises UnknownTask or InvalidRequest."""
        versions = self._of(name)
        if version is None:
            return versions[max(versions)]
        if version not in versions:
            known = ", ".join(str(number) for number in versions)
            problem = Problem(("options", "prompt_version"), f"no such version; there are: {known}")
            raise InvalidRequest(f"the task {name!r} has no prompt version {version}", problems=[problem])
        return versions[version]

    def refresh(self) -> bool:
        """Read what changed since the last look, by size and time of modification; says whether anything did."""
        stamps = {path: entry.stamp for path, entry in self._snapshot.entries.items()}
        if find_files(self._folders) == stamps:
            return False
        self._snapshot = take_snapshot(self._folders, self._snapshot.entries)
        return True

    def _of(self, name: str) -> Mapping[int, Prompt]:
        prompts = self._snapshot.prompts
        if name not in prompts:
            raise UnknownTask(f"no task {name[:80]!r}; there are: {', '.join(prompts)}")
        return prompts[name]


def find_files(folders: Sequence[Path]) -> dict[Path, Stamp]:
    """The prompt files of `folders` with what changes when they are written; a folder that is missing is empty."""
    stamps: dict[Path, Stamp] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.prompt")):
            try:
                status = path.stat()
            except OSError:  # deleted meanwhile, or a dangling link
                continue
            if not path.name.startswith("."):
                stamps[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return stamps


def take_snapshot(folders: Sequence[Path], before: Mapping[Path, Entry]) -> Snapshot:
    """Read the files that are new or were changed since `before`."""
    entries = {}
    for path, stamp in find_files(folders).items():
        last = before.get(path)
        entries[path] = last if last and last.stamp == stamp else read_entry(path, stamp, last)
    broken = {path: entry.error for path, entry in entries.items() if entry.error is not None}
    prompts: dict[str, dict[int, Prompt]] = {}
    for path, entry in entries.items():
        if (prompt := entry.prompt) is None:
            continue
        first = prompts.setdefault(prompt.name, {}).setdefault(prompt.version, prompt)
        if first.digest != prompt.digest:
            broken[path] = f"{path}:1: version {prompt.version} of {prompt.name!r} is {first.path}; choose a new number"
    by_name = {name: dict(sorted(versions.items())) for name, versions in sorted(prompts.items())}
    return Snapshot(entries, by_name, broken)


def read_entry(path: Path, stamp: Stamp, last: Entry | None) -> Entry:
    """The file as it is now, or its last good version where it is broken now."""
    if not path.is_file():  # opening a pipe would wait for its writer
        return Entry(stamp, last.prompt if last else None, f"{path}:1: is no regular file")
    try:
        return Entry(stamp, parse_prompt(path), None)
    except ConfigurationError as error:
        return Entry(stamp, last.prompt if last else None, error.detail)
