"""Prompts of several folders, versions side by side, reloaded while they are in use."""

import os
import shutil
from pathlib import Path

import pytest

from feedback_gateway.errors import ConfigurationError, InvalidRequest, UnknownTask
from feedback_gateway.prompts.library import PromptLibrary

FILE = """---
description: {description}
input: {{schema: {{type: object, properties: {{text: {{type: string}}}}}}}}
output: {{schema: {{type: object, properties: {{a: {{type: string}}}}}}}}
---
User: {{{{ text }}}}
"""


def write(folder: Path, name: str, *, description: str = "A test.", content: str | None = None) -> Path:
    """Write a prompt file the way editors do: beside the old one, then in its place."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    beside = folder / f"{name}.new"
    beside.write_text(FILE.format(description=description) if content is None else content, encoding="utf-8")
    os.replace(beside, path)  # noqa: PTH105 the point of this function
    return path


def test_the_highest_version_is_the_default(tmp_path: Path) -> None:
    """Versions are numbers: 10 is above 9."""
    for version in (1, 10, 9):
        write(tmp_path, f"topic.v{version}.prompt")
    write(tmp_path, "mood.v1.prompt")

    library = PromptLibrary.load([tmp_path])

    assert library.names() == ("mood", "topic")
    assert library.versions("topic") == (1, 9, 10)
    assert library.get("topic").version == 10
    assert library.get("topic", 1).version == 1


def test_what_there_is_not_is_told_with_what_there_is(tmp_path: Path) -> None:
    """An unknown task lists the tasks, an unknown version the versions."""
    write(tmp_path, "topic.v2.prompt")
    library = PromptLibrary.load([tmp_path, tmp_path / "missing"])

    with pytest.raises(UnknownTask, match=r"'mood'; there are: topic"):
        library.get("mood")
    with pytest.raises(UnknownTask):
        library.versions("mood")
    with pytest.raises(InvalidRequest) as error:
        library.get("topic", 7)
    assert error.value.problems[0].loc == ("options", "prompt_version")
    assert "there are: 2" in error.value.problems[0].msg


def test_a_later_folder_adds_and_redefines_nothing(tmp_path: Path) -> None:
    """The same version with other content is refused; the same content twice is no matter."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    first = write(ours, "topic.v1.prompt")
    write(theirs, "topic.v2.prompt")
    copy = Path(shutil.copy(first, theirs))

    assert PromptLibrary.load([ours, theirs, ours]).versions("topic") == (1, 2)

    write(theirs, "topic.v1.prompt", description="Another.")
    with pytest.raises(ConfigurationError, match="choose a new number") as error:
        PromptLibrary.load([ours, theirs])
    assert error.value.detail.startswith(f"{copy}:1: ")
    assert PromptLibrary([ours, theirs]).get("topic", 1).path == first


def test_load_stops_at_a_broken_file_and_the_constructor_lists_all(tmp_path: Path) -> None:
    """Start-up is strict; `prompts check` wants every file."""
    write(tmp_path, "topic.v1.prompt")
    broken = [write(tmp_path, name, content="nothing") for name in ("a.v1.prompt", "b.v1.prompt", "c.prompt")]

    with pytest.raises(ConfigurationError, match=r"a\.v1\.prompt:1: "):
        PromptLibrary.load([tmp_path])

    library = PromptLibrary([tmp_path])
    assert list(library.broken) == broken
    assert library.names() == ("topic",)


def test_refresh_adds_changes_and_removes(tmp_path: Path) -> None:
    """A new file is a new task, a changed one serves its new text, a deleted one is gone."""
    write(tmp_path, "topic.v1.prompt")
    library = PromptLibrary.load([tmp_path])
    before = library.get("topic")

    assert not library.refresh()
    assert library.get("topic") is before

    write(tmp_path, "topic.v1.prompt", description="Changed.")
    added = write(tmp_path, "mood.v1.prompt")
    assert library.refresh()
    assert library.get("topic").description == "Changed."
    assert library.names() == ("mood", "topic")

    added.unlink()
    assert library.refresh()
    assert library.names() == ("topic",)


def test_refresh_keeps_the_last_good_version(tmp_path: Path) -> None:
    """A file that breaks goes on serving as it was, is reported, and recovers."""
    path = write(tmp_path, "topic.v1.prompt")
    library = PromptLibrary.load([tmp_path])
    good = library.get("topic")

    write(tmp_path, "topic.v1.prompt", content="---\na: b: c\n---\n")
    write(tmp_path, "mood.v1.prompt", content="broken from the start")
    assert library.refresh()
    assert library.get("topic") is good
    assert library.names() == ("topic",)
    assert library.broken[path].startswith(f"{path}:2: ")
    assert len(library.broken) == 2

    write(tmp_path, "topic.v1.prompt", description="Mended.")
    assert library.refresh()
    assert library.get("topic").description == "Mended."
    assert path not in library.broken


def test_files_of_editors_are_no_prompts(tmp_path: Path) -> None:
    """Hidden files and dangling links are passed over."""
    write(tmp_path, "topic.v1.prompt")
    write(tmp_path, ".#topic.v1.prompt", content="lock")
    (tmp_path / "gone.v1.prompt").symlink_to(tmp_path / "nowhere")

    assert PromptLibrary.load([tmp_path]).names() == ("topic",)


def test_pipe_in_the_folder_is_named_and_stops_nothing(tmp_path: Path) -> None:
    """Opening it would wait for ever."""
    os.mkfifo(tmp_path / "pipe.v1.prompt")

    library = PromptLibrary([tmp_path])

    assert "is no regular file" in library.broken[tmp_path / "pipe.v1.prompt"]
