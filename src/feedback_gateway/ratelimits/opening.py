"""Builds the limiter that the settings ask for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from feedback_gateway.clock import Clock
from feedback_gateway.ratelimits.limiter import WindowLimiter
from feedback_gateway.ratelimits.memory import MemoryWindows
from feedback_gateway.ratelimits.models import RateLimiter


def memory_limiter(clock: Clock) -> WindowLimiter:
    """A limiter that counts in this process alone."""
    return WindowLimiter(MemoryWindows(clock.monotonic), now=clock.monotonic)


@asynccontextmanager
async def open_rate_limiter(redis_url: str | None, *, clock: Clock) -> AsyncIterator[RateLimiter]:
    """A limiter in Redis where there is a URL of one, else in this process. Raises ConfigurationError."""
    local = memory_limiter(clock)
    if redis_url is None:
        yield local
        return
    from feedback_gateway.ratelimits.redis import open_shared_limiter  # noqa: PLC0415 0.2 s that only its users wait

    async with open_shared_limiter(redis_url, local=local, clock=clock) as shared:
        yield shared
