"""Puts load on one server for some seconds, as `python -m` this, in a process of its own so that it takes no turns.

Reads what to do from standard input as JSON, and writes what came of it. Keeps every connection alive, and asks again
on each as soon as it is answered; every answer must have the status that is expected.
"""

import asyncio
import gc
import json
import subprocess
import sys
import time
from array import array
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import cast
from urllib.parse import urlsplit

import uvloop

from tests.benchmarks.processes import ROOT, environment

WAIT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to ask of whom: on `clients` connections for `seconds`, or until `calls` answers where that is given."""

    url: str
    path: str
    body: str
    clients: int
    seconds: float
    calls: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200

    @property
    def request(self) -> bytes:
        """The request's bytes."""
        body = self.body.encode()
        headers = {"host": "localhost", "content-type": "application/json", "content-length": str(len(body))}
        lines = [
            f"POST {self.path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in {**headers, **self.headers}.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Answers, the seconds that they took, and their median and 99th percentile in ms."""

    answers: int
    seconds: float
    p50: float
    p99: float

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


class Run:
    """What all connections share: until when, and how long every answer took."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.request = order.request
        self.status = str(order.status).encode()
        self.took = array("d")
        self.is_over = asyncio.Event()
        self.ends_at = time.perf_counter() + order.seconds
        self.fault: str | None = None

    def note(self, started: float, now: float) -> None:
        """One more answer."""
        self.took.append((now - started) * 1000)
        if len(self.took) >= self.order.calls > 0 or (not self.order.calls and now >= self.ends_at):
            self.is_over.set()

    def fail(self, fault: str) -> None:
        """End with what went wrong."""
        if not self.is_over.is_set():
            self.fault = fault
            self.is_over.set()


class Connection(asyncio.Protocol):
    """One connection; as little of HTTP as it takes, to leave the CPU to the server."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Take some bytes; ask again once the answer is whole."""
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0 or not self._is_whole(end):
            return
        if self._received[9:12] != self._run.status:
            self._run.fail(self._received.decode(errors="replace")[:800])
            return
        self._received.clear()
        self._run.note(self._started, time.perf_counter())
        if not self._run.is_over.is_set():
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server hung up, which it may do once all is over."""
        self._run.fail(f"the connection was lost: {exc}")

    def _is_whole(self, end: int) -> bool:
        head = bytes(self._received[:end]).lower()
        if b"content-length:" in head:
            length = int(head.split(b"content-length:")[1].split(b"\r\n", 1)[0])
            return len(self._received) >= end + 4 + length
        return self._received.endswith(b"\r\n0\r\n\r\n")

    def _ask(self) -> None:
        if self._transport is not None:
            self._started = time.perf_counter()
            self._transport.write(self._run.request)


async def carry_out(order: Order) -> Outcome:
    """Ask as ordered. Raises RuntimeError with the answer that was not expected."""
    loop = asyncio.get_running_loop()
    address = urlsplit(order.url)
    run = Run(order)
    started = time.perf_counter()
    made = [
        await loop.create_connection(lambda: Connection(run), address.hostname or "", address.port or 0)
        for _ in range(order.clients)
    ]
    with suppress(TimeoutError):
        await asyncio.wait_for(run.is_over.wait(), timeout=order.seconds + WAIT_S)
    seconds = time.perf_counter() - started
    for transport, _ in made:
        transport.abort()
    if run.fault is not None:
        raise RuntimeError(run.fault)
    took = sorted(run.took)
    return Outcome(answers=len(took), seconds=seconds, p50=took[len(took) // 2], p99=took[len(took) * 99 // 100])


def generate(order: Order) -> Outcome:
    """Ask as ordered, from a process of its own. Raises RuntimeError where that fails."""
    command = [sys.executable, "-m", "tests.benchmarks.generator"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        input=json.dumps(asdict(order)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rsplit("RuntimeError: ", 1)[-1][:800])
    return Outcome(**json.loads(done.stdout))


if __name__ == "__main__":
    gc.disable()
    sys.stdout.write(json.dumps(asdict(uvloop.run(carry_out(Order(**json.load(sys.stdin)))))))
