"""Forks that work side by side: announced together, replaced when they die, ended together."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DEADLINE_S = 30.0
SCRIPT = """
import os, select, signal, sys
from feedback_gateway.cli.workforce import Workforce

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def work(post):
    if os.path.exists("broken") or "broken" in sys.argv:
        say("cannot")
        return 2
    if "killed" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    say("begun", os.getpid())
    post.report_ready()
    while not asked:
        if select.select([post.alive], [], [], 0.05)[0]:
            say("orphan", os.getpid())
            return 0
    say("ended", os.getpid())
    return 0

force = Workforce(work, count=2, announce=lambda: say("all"), refuse_new=lambda: say("closed"))
sys.exit(force.run())
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start two workers in an empty folder; what still runs at the end is ended."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", SCRIPT, *arguments]
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def lines(process: "subprocess.Popen[str]", count: int) -> list[str]:
    """The next lines that the workers and their parent say."""
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def begun(said: list[str]) -> list[int]:
    """The numbers of the workers that have begun, as they said."""
    return [int(line.split()[1]) for line in said if line.startswith("begun ")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_workers_are_announced_once_and_end_together(start: Start, number: signal.Signals) -> None:
    """All began before the announcement; all finished before the exit, which is a good one."""
    process = start()
    said = lines(process, 3)

    process.send_signal(number)
    output, errors = process.communicate(timeout=DEADLINE_S)

    pids = begun(said)
    after = output.splitlines()
    assert (len(pids), said[-1], process.returncode, errors) == (2, "all", 0, "")
    assert after[0] == "closed"
    assert sorted(after[1:]) == sorted(f"ended {pid}" for pid in pids)


def test_worker_that_was_killed_is_replaced(start: Start) -> None:
    """By one more, and nothing is announced again."""
    process = start()
    first, second = begun(lines(process, 3))

    os.kill(first, signal.SIGKILL)
    (third,) = begun(lines(process, 1))
    process.terminate()
    output, _ = process.communicate(timeout=DEADLINE_S)

    assert {f"ended {second}", f"ended {third}"} <= set(output.splitlines())
    assert process.returncode == 0


def test_worker_that_cannot_start_is_told_by_itself_and_ends_all(start: Start) -> None:
    """Once, by the first: its exit code is that of the whole."""
    process = start("broken")

    output, errors = process.communicate(timeout=DEADLINE_S)

    assert output.splitlines()[0] == "cannot"
    assert output.count("cannot") == 1
    assert (process.returncode, errors) == (2, "")


def test_worker_that_is_killed_before_it_is_ready_is_told_by_its_parent(start: Start) -> None:
    """One line, and the exit code of a failure."""
    process = start("killed")

    _, errors = process.communicate(timeout=DEADLINE_S)

    assert errors == "feedback-gateway: a worker was ended by signal 9 before it was ready\n"
    assert process.returncode == 1


def test_as_long_as_one_works_others_are_tried_again(start: Start, tmp_path: Path) -> None:
    """A replacement that cannot start is tried again after a rest, for as long as somebody is there."""
    process = start()
    first, second = begun(lines(process, 3))
    flaw = tmp_path / "broken"
    flaw.touch()

    os.kill(first, signal.SIGKILL)
    assert lines(process, 1) == ["cannot"]
    flaw.unlink()
    said = lines(process, 1)
    process.terminate()
    output, errors = process.communicate(timeout=DEADLINE_S)

    (third,) = begun(said)
    assert {f"ended {second}", f"ended {third}"} <= set(output.splitlines())
    assert "before it was ready; another is tried soon" in errors
    assert process.returncode == 0


def test_where_nobody_works_and_nobody_can_start_all_is_given_up(start: Start, tmp_path: Path) -> None:
    """With the exit code of the one that could not."""
    process = start()
    pids = begun(lines(process, 3))
    (tmp_path / "broken").touch()

    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=DEADLINE_S)

    assert "cannot" in output
    assert process.returncode == 2


def test_workers_end_when_their_parent_is_killed(start: Start) -> None:
    """Nobody would restart or end them; a port would be held for ever."""
    process = start()
    pids = begun(lines(process, 3))

    process.kill()
    process.wait()

    assert sorted(lines(process, 2)) == sorted(f"orphan {pid}" for pid in pids)
