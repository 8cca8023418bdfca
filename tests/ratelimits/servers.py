"""A Redis that can be frozen and killed, a server that never answers, and a clock that leaps."""

import asyncio
import signal
import socket
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from feedback_gateway.ratelimits.redis import PREFIX

START_S = 20.0
AGE = """
for _, key in ipairs(redis.call('keys', ARGV[1])) do
  if redis.call('type', key).ok == 'list' then
    for index, made in ipairs(redis.call('lrange', key, 0, -1)) do
      redis.call('lset', key, index - 1, string.format('%.0f', tonumber(made) - 1000 * tonumber(ARGV[2])))
    end
  end
  local left = redis.call('pttl', key) - math.floor(tonumber(ARGV[2]) * 1000)
  if left > 0 then redis.call('pexpire', key, left) else redis.call('del', key) end
end
"""
"""Makes everything under a prefix older by so many seconds."""


class RedisServer:
    """A real redis-server on a free port of this machine."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it, and wait until it answers."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir"]
        self._process = subprocess.Popen([*command, str(self._folder), *options], stdout=subprocess.DEVNULL)
        self.await_answer()

    def await_answer(self) -> None:
        """Wait until it answers, also where only to ask for a password."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=START_S) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(1):
                    return
        pytest.fail("redis-server does not answer")

    def client(self) -> "redis.Redis":
        """A client of the test's own."""
        return redis.Redis(port=self.port, decode_responses=True)

    def freeze(self) -> None:
        """Stop it as it stands: its port still takes connections, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)
        self.await_answer()

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def age(self, seconds: float) -> None:
        """Make what it counted older."""
        with self.client() as client:
            client.eval(AGE, 0, f"{PREFIX}:*", str(seconds))

    def calls(self, command: str) -> int:
        """How often it has executed a command."""
        with self.client() as client:
            stats: dict[str, Any] = client.info("commandstats")
        return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])

    @property
    def reads(self) -> int:
        """How often it has read from a connection."""
        with self.client() as client:
            stats: dict[str, Any] = client.info("stats")
        return int(stats["total_reads_processed"])

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


class SilentServer:
    """Takes every connection, reads what comes, and never answers; counts the connections."""

    def __init__(self) -> None:
        self.connections = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """Listen, and tell the URL."""
        self._server = await asyncio.start_server(self._listen, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def stop(self) -> None:
        """Close."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(ConnectionError):
            await reader.read()
        writer.close()


class LeapingClock:
    """The machine's clock, whose monotonic seconds can be moved on."""

    def __init__(self) -> None:
        self._leapt = 0.0

    def now(self) -> datetime:
        """The time of day, which Redis and its other clients share."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """The machine's, and all leaps."""
        return time.monotonic() + self._leapt

    def leap(self, seconds: float) -> None:
        """Let time pass at once."""
        self._leapt += seconds

    async def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self.leap(seconds)

    def new_id(self) -> str:
        """Nobody asks for one here."""
        raise NotImplementedError
