"""Child processes and what the kernel knows of them: CPU time and memory. Linux only, as it reads /proc."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GATEWAY = ("-m", "feedback_gateway")
WITHOUT_MODEL_FILE = "import sys; sys.prefix = '/nowhere'; from feedback_gateway.__main__ import main; main()"
"""The gateway as it is where set-up could not get the larger embedder's file."""
STOP_S = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers at `url`; `started` is when its process was, on the clock of `time.perf_counter`."""

    url: str
    pid: int
    started: float

    @property
    def cpu_ms(self) -> float:
        """CPU time of all its threads so far, in ms; the kernel counts in steps of 10."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")

    @property
    def memory_mib(self) -> float:
        """Resident memory now."""
        return self._status("VmRSS") / 1024

    @property
    def peak_mib(self) -> float:
        """The most resident memory so far."""
        return self._status("VmHWM") / 1024

    @property
    def threads(self) -> int:
        """How many threads it runs."""
        return self._status("Threads")

    @property
    def open_files(self) -> int:
        """How many file descriptors it holds."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def _status(self, name: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
        found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
        return int(found[1]) if found else 0


@contextmanager
def on_cpu(index: int) -> Iterator[None]:
    """Whatever is started in the block runs on one CPU: the first for what is measured, the next for what measures."""
    every = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {every[index % len(every)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


@contextmanager
def listening(*command: str, url: str, folder: Path, extra: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run any `command` that will answer at `url`, until the block ends; does not wait for it."""
    started = time.perf_counter()
    with (folder / "output.log").open("ab") as output:
        child = subprocess.Popen(command, cwd=folder, env=environment(extra), stdout=output, stderr=output)
    with child:
        try:
            yield Server(url, child.pid, started)
        finally:
            child.terminate()
            child.wait(STOP_S)


@contextmanager
def running(*command: str, folder: Path, extra: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run `python *command` in `folder` until the block ends; waits for the line that holds its URL."""
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *command], cwd=folder, env=environment(extra), stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            line = child.stdout.readline() if child.stdout else ""
            found = re.search(r"http://\S+", line)
            if not found:
                message = f"{' '.join(command)} did not start: {line!r}"
                raise RuntimeError(message)
            yield Server(found[0], child.pid, started)
        finally:
            child.terminate()
            child.wait(STOP_S)


def seconds_of(*command: str, folder: Path, expected: Sequence[int] = (0,)) -> float:
    """How long `python *command` takes from start to end."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode not in expected:
        message = f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-500:]}"
        raise RuntimeError(message)
    return seconds


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without its settings of the gateway, and with this checkout on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FEEDBACK_GATEWAY_")}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), **(extra or {})}
