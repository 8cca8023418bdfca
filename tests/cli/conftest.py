"""Runs the command line as its users do: as a process of its own."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Start = Callable[..., "subprocess.Popen[bytes]"]
COMMAND = (sys.executable, "-m", "feedback_gateway")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `feedback-gateway` in an empty folder; what still runs at the end of the test is ended."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str, stdin: int | None = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [*COMMAND, *arguments], cwd=tmp_path, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.terminate()  # not killed at once: its workers would live on and hold its output open
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run `feedback-gateway` in an empty folder to its end."""

    def complete(*arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*COMMAND, *arguments], cwd=tmp_path, input=given, capture_output=True, text=True, timeout=120, check=False
        )

    return complete
