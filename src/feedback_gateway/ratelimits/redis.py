"""The windows in Redis, shared by every process that counts there, and what happens while Redis does not answer."""

from contextlib import suppress
from typing import Any

from limits.aio.storage import RedisStorage

from feedback_gateway.clock import Clock
from feedback_gateway.errors import RateLimited
from feedback_gateway.ratelimits.limiter import WindowLimiter
from feedback_gateway.ratelimits.models import Allowance, RateLimiter, Scope, Standing
from feedback_gateway.redis_link.link import RedisLink
from feedback_gateway.redis_link.models import RedisSilentError

PREFIX = "feedback-gateway:limits"


class SharedLimiter:
    """Counts in Redis, and in this process alone while Redis does not answer.

    What Redis admitted is counted here as well, so that a process which loses Redis goes on from its own use.
    What is admitted while Redis is silent it never learns of.
    """

    def __init__(self, link: RedisLink, *, local: RateLimiter, clock: Clock) -> None:
        pool: Any = link.pool
        storage = RedisStorage("async+redis://", implementation="redispy", key_prefix=PREFIX, connection_pool=pool)
        self._link = link
        self._shared = WindowLimiter(storage, now=lambda: clock.now().timestamp())
        self._local = local

    async def admit(self, scope: Scope, name: str, allowance: Allowance, *, tokens: int) -> Standing | None:
        """Count one request of `tokens` tokens. Raises RateLimited, and never because of Redis."""
        if not allowance.is_limited:
            return None
        try:
            standing = await self._link.ask(lambda _: self._shared.admit(scope, name, allowance, tokens=tokens))
        except RedisSilentError:
            return await self._local.admit(scope, name, allowance, tokens=tokens)
        with suppress(RateLimited):
            await self._local.admit(scope, name, allowance, tokens=tokens)
        return standing
