"""What makes a Redis older, a server that never answers, and a clock that leaps."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime

from feedback_gateway.ratelimits.redis import PREFIX
from tests.servers import RedisServer

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


def age(server: RedisServer, seconds: float) -> None:
    """Make what was counted in it older."""
    with server.client() as client:
        client.eval(AGE, 0, f"{PREFIX}:*", str(seconds))


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
