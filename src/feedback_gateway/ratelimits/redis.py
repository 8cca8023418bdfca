"""The windows in Redis, shared by every process that counts there, and what happens while Redis does not answer."""

from contextlib import suppress

from feedback_gateway.clock import Clock
from feedback_gateway.errors import RateLimited
from feedback_gateway.ratelimits.limiter import Applicant, TokenUse, tightest
from feedback_gateway.ratelimits.models import WINDOW_S, Allowance, RateLimiter, Scope, Standing
from feedback_gateway.redis_link.link import RedisLink, Script
from feedback_gateway.redis_link.models import RedisSilentError

PREFIX = "feedback-gateway:limits"
NO_LIMIT = -1
ADMIT = Script("""
local now, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local most_requests, most_tokens, cost = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local requests, earlier, current = KEYS[1], KEYS[2], KEYS[3]

local function use()
  local ttl = redis.call('PTTL', current)
  if ttl > 0 and ttl < window then
    redis.call('RENAME', current, earlier)
    redis.call('SET', current, 0, 'PX', ttl + window)
  end
  local before, before_ttl = tonumber(redis.call('GET', earlier)) or 0, math.max(redis.call('PTTL', earlier), 0)
  local count, count_ttl = tonumber(redis.call('GET', current)) or 0, math.max(redis.call('PTTL', current), 0)
  return {before, before_ttl, count, count_ttl}
end

local function told(unit, place, tokens)
  return {unit, redis.call('LLEN', requests), redis.call('LINDEX', requests, place) or tostring(now), tokens}
end

local tokens = {0, 0, 0, 0}
if most_tokens >= 0 then
  tokens = use()
  local counted = math.floor(tokens[1] * tokens[2] / window) + tokens[3]
  if counted + cost > most_tokens then return told('tokens', -1, tokens) end
end
if most_requests >= 0 then
  local oldest = redis.call('LINDEX', requests, -1)
  while oldest and tonumber(oldest) <= now - window do
    redis.call('RPOP', requests)
    oldest = redis.call('LINDEX', requests, -1)
  end
  if redis.call('LLEN', requests) >= most_requests then return told('requests', most_requests - 1, tokens) end
  redis.call('LPUSH', requests, ARGV[1])
  redis.call('PEXPIRE', requests, window)
end
if most_tokens >= 0 then
  if redis.call('EXISTS', current) == 1 then redis.call('INCRBY', current, cost)
  else redis.call('SET', current, cost, 'PX', 2 * window) end
  tokens = use()
end
return told('', -1, tokens)
""")
"""Counts a request and its tokens, or neither: the sliding windows of `MemoryWindows`, in one step for all processes.

Milliseconds throughout. Gives the unit that was used up, or nothing; how many requests count, and when the oldest was
made that has to be forgotten first; and the tokens of the window before and of this one, each with the time left to it.
"""


class SharedLimiter:
    """Counts in Redis, and in this process alone while Redis does not answer.

    What Redis admitted is counted here as well, so that a process which loses Redis goes on from its own use.
    What is admitted while Redis is silent it never learns of.
    """

    def __init__(self, link: RedisLink, *, local: RateLimiter, clock: Clock) -> None:
        self._link = link
        self._local = local
        self._clock = clock

    async def admit(self, scope: Scope, name: str, allowance: Allowance, *, tokens: int) -> Standing | None:
        """Count one request of `tokens` tokens. Raises RateLimited, and never because of Redis."""
        if not allowance.is_limited:
            return None
        try:
            standing = await self._admit(Applicant(scope, name), allowance, cost=tokens)
        except RedisSilentError:
            return await self._local.admit(scope, name, allowance, tokens=tokens)
        with suppress(RateLimited):
            await self._local.admit(scope, name, allowance, tokens=tokens)
        return standing

    async def _admit(self, applicant: Applicant, allowance: Allowance, *, cost: int) -> Standing | None:
        """The same in Redis. Raises RedisSilentError."""
        applicant.refuse_the_impossible(allowance, cost=cost)
        most_requests, most_tokens = allowance.requests_per_minute, allowance.tokens_per_minute
        now = self._clock.now().timestamp()
        unit, count, oldest, uses = await self._link.script(
            ADMIT,
            keys_of(applicant),
            round(now * 1000),
            WINDOW_S * 1000,
            NO_LIMIT if most_requests is None else most_requests,
            NO_LIMIT if most_tokens is None else most_tokens,
            cost,
        )
        reset_s = max(float(oldest) / 1000 + WINDOW_S - now, 0.0)
        use = TokenUse(uses[0], uses[1] / 1000, uses[2], uses[3] / 1000)
        if unit == b"tokens" and most_tokens is not None:
            raise applicant.refusal(most_tokens, "tokens", cost=cost, wait=use.wait(cost, limit=most_tokens))
        if unit == b"requests" and most_requests is not None:
            raise applicant.refusal(most_requests, "requests", cost=1, wait=reset_s)
        return tightest(allowance, requests=count, reset_s=reset_s, use=use)


def keys_of(applicant: Applicant) -> list[str]:
    """Where its requests are noted, and its tokens are counted; the braces keep all on one node of a cluster."""
    stem = f"{PREFIX}:{{{applicant.key}}}"
    return [f"{stem}:requests", f"{stem}:tokens:before", f"{stem}:tokens"]
