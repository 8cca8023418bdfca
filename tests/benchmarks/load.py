"""Puts load on a server, or on any coroutine, and tells how it fared. Every answer must be a 200."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.benchmarks.processes import Server


@dataclass(frozen=True, slots=True)
class Target:
    """A server and what is asked of it."""

    name: str
    server: Server
    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Load:
    """How `len(latencies_ms)` calls fared: each one's time, the time of all, and the server's CPU time a call."""

    latencies_ms: Sequence[float]
    seconds: float
    cpu_ms: float

    @property
    def per_second(self) -> float:
        """Calls a second."""
        return len(self.latencies_ms) / self.seconds

    @property
    def p50(self) -> float:
        """The median time of a call, in ms."""
        return statistics.median(self.latencies_ms)

    @property
    def p99(self) -> float:
        """The time that one call in a hundred exceeds, in ms."""
        return statistics.quantiles(self.latencies_ms, n=100)[98]


def together(loads: Sequence[Load]) -> Load:
    """Several rounds as one: all latencies, and the median round's speed and CPU time."""
    latencies = [latency for load in loads for latency in load.latencies_ms]
    speed = statistics.median(load.per_second for load in loads)
    return Load(latencies, len(latencies) / speed, statistics.median(load.cpu_ms for load in loads))


class Connection:
    """One connection that is kept alive; as little of HTTP as it takes, to leave the CPU to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Target) -> None:
        self._reader = reader
        self._writer = writer
        head = f"POST {target.path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        self._request = f"{head}content-length: {len(target.body)}\r\n\r\n".encode() + target.body

    @classmethod
    async def open(cls, target: Target) -> "Connection":
        """Connect."""
        address = urlsplit(target.server.url)
        return cls(*await asyncio.open_connection(address.hostname, address.port), target)

    async def ask(self) -> bytes:
        """Send the request; gives the body of the answer. Raises RuntimeError for anything but a 200."""
        self._writer.write(self._request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(body.decode(errors="replace")[:500])
        return body

    async def aclose(self) -> None:
        """Hang up."""
        self._writer.close()
        await self._writer.wait_closed()


async def put_load_on(target: Target, *, calls: int, clients: int) -> Load:
    """`clients` connections that each ask again as soon as they are answered, until there were `calls` answers."""
    async with AsyncExitStack() as stack:
        connections = []
        for _ in range(clients):
            connections.append(await Connection.open(target))
            stack.push_async_callback(connections[-1].aclose)

        async def ask(client: int) -> None:
            await connections[client].ask()

        before, started = target.server.cpu_ms, time.perf_counter()
        latencies = await drive(ask, calls=calls, clients=clients)
        seconds = time.perf_counter() - started
        return Load(latencies, seconds, (target.server.cpu_ms - before) / calls)


async def drive(call: Callable[[int], Awaitable[None]], *, calls: int, clients: int) -> list[float]:
    """Run `call(client)` `calls` times, `clients` at the same time; gives the milliseconds of each."""
    latencies: list[float] = []
    turns = iter(range(calls))

    async def work(client: int) -> None:
        for _ in turns:
            started = time.perf_counter()
            await call(client)
            latencies.append((time.perf_counter() - started) * 1000)

    await asyncio.gather(*(work(client) for client in range(clients)))
    return latencies
