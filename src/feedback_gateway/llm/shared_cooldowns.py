"""The board of cooldowns in Redis: one hash, read in one round trip by all who ask at the same time.

Time is Redis's own, so that clocks need not agree. Redis that does not answer is no error: then nothing is known.
"""

import asyncio
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from feedback_gateway.llm.health import Cooldown
from feedback_gateway.llm.health_watch import Claim
from feedback_gateway.redis_link.models import RedisSilentError

if TYPE_CHECKING:
    from feedback_gateway.redis_link.link import RedisLink

KEY = "feedback-gateway:cooldowns"
PROBE = f"{KEY}:probe:"
KEPT_MS = 3_600_000
"""How long what is over is kept, for the probe that never came: nobody needs it of deployments that nobody asks."""
NOW = "local time = redis.call('TIME') local now = time[1] * 1000 + math.floor(time[2] / 1000)\n"
ENTRY = "'^(%d+) (%d+) (.*)$'"
READ = f"""{NOW}
local entries, found = redis.call('HGETALL', KEYS[1]), {{}}
for i = 1, #entries, 2 do
  local ends, level, error = string.match(entries[i + 1], {ENTRY})
  if ends + {KEPT_MS} < now then redis.call('HDEL', KEYS[1], entries[i])
  else table.insert(found, {{entries[i], ends - now, tonumber(level), error}}) end
end
return found
"""
WRITE = f"""{NOW}
local old, ends = redis.call('HGET', KEYS[1], ARGV[1]), now + tonumber(ARGV[2])
redis.call('DEL', KEYS[2])
if old and tonumber((string.match(old, {ENTRY}))) >= ends then return end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s %s', ends, ARGV[3], ARGV[4]))
local kept = tonumber(ARGV[2]) + {KEPT_MS}
if redis.call('PTTL', KEYS[1]) < kept then redis.call('PEXPIRE', KEYS[1], kept) end
"""
CLAIM = f"""{NOW}
local entry = redis.call('HGET', KEYS[1], ARGV[1])
if not entry then return 'closed' end
if tonumber((string.match(entry, {ENTRY}))) > now then return 'refused' end
if redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[2]) then return 'granted' end
return 'refused'
"""


class SharedCooldowns:
    """What all processes over one Redis know of the deployments that cool down."""

    def __init__(self, link: "RedisLink") -> None:
        self._link = link
        self._reading: asyncio.Task[Mapping[str, Cooldown] | None] | None = None
        self._waiting: asyncio.Task[Mapping[str, Cooldown] | None] | None = None

    async def read(self) -> Mapping[str, Cooldown] | None:
        """Every cooldown, as it is after this was called: a question under way may be too old, so the next one counts.

        `until` is in seconds from now; None where Redis does not answer.
        """
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._read_after(self._reading))
        return await asyncio.shield(self._waiting)

    async def write(self, name: str, cooldown: Cooldown, *, wait_s: float) -> bool:
        """Begin a cooldown of `wait_s` seconds; one that lasts longer stays. Whether Redis has taken it."""
        try:
            await self._ask(WRITE, name, name, math.ceil(wait_s * 1000), cooldown.level, cooldown.error)
        except RedisSilentError:
            return False
        return True

    async def claim(self, name: str, *, lease_s: float) -> Claim | None:
        """Ask for the one probe of all processes, for at most `lease_s` seconds; None where Redis does not answer."""
        try:
            said = await self._ask(CLAIM, name, name, round(lease_s * 1000))
        except RedisSilentError:
            return None
        claim: Claim = said.decode()
        return claim

    async def clear(self, name: str) -> None:
        """End a cooldown, where Redis answers."""
        await self._try("redis.call('HDEL', KEYS[1], ARGV[1]) redis.call('DEL', KEYS[2])", name, name)

    async def release(self, name: str) -> None:
        """Let somebody else probe, where Redis answers; elsewhere the lease ends by itself."""
        await self._try("redis.call('DEL', KEYS[2])", name)

    async def _read_after(
        self, before: "asyncio.Task[Mapping[str, Cooldown] | None] | None"
    ) -> Mapping[str, Cooldown] | None:
        if before is not None:
            await asyncio.wait({before})
        self._reading, self._waiting = self._waiting, None
        try:
            rows = await self._ask(READ, "")
        except RedisSilentError:
            return None
        return {
            name.decode(): Cooldown(until=ends / 1000, level=level, error=error.decode(), shared=True)
            for name, ends, level, error in rows
        }

    async def _try(self, script: str, name: str, *arguments: str) -> None:
        try:
            await self._ask(script, name, *arguments)
        except RedisSilentError:
            return

    async def _ask(self, script: str, name: str, *arguments: str | int) -> Any:
        return await self._link.command("EVAL", script, 2, KEY, PROBE + name, *arguments)
