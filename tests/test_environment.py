"""Where the processes of a server count together: theirs as long as one of them lives, and nobody's afterwards."""

import os
import subprocess
from pathlib import Path

import pytest

from feedback_gateway.environment import METRICS_NAME, locked_directory, remove_abandoned


def test_directory_is_abandoned_when_the_last_process_that_had_it_ends(tmp_path: Path) -> None:
    """Whoever was given it has it as well."""
    directory, lock = locked_directory(tmp_path)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[lock]) as child:
        os.close(lock)
        remove_abandoned(tmp_path)
        was_kept = directory.exists()
        child.communicate()
    remove_abandoned(tmp_path)

    assert was_kept
    assert not directory.exists()


@pytest.mark.parametrize("name", ["something-else", METRICS_NAME, f"{METRICS_NAME}of-somebody"])
def test_what_has_another_name_stays(tmp_path: Path, name: str) -> None:
    """Whoever it belongs to."""
    (tmp_path / name).mkdir()

    remove_abandoned(tmp_path)

    assert (tmp_path / name).exists()


def test_link_leads_nowhere(tmp_path: Path) -> None:
    """Nobody can have a folder removed by giving another name to it."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / f"{METRICS_NAME}1-link").symlink_to(precious)

    remove_abandoned(tmp_path)

    assert precious.exists()
