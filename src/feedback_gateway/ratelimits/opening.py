"""Builds the limiter that the settings ask for."""

from typing import TYPE_CHECKING

from feedback_gateway.clock import Clock
from feedback_gateway.ratelimits.memory import MemoryLimiter
from feedback_gateway.ratelimits.models import RateLimiter

if TYPE_CHECKING:
    from feedback_gateway.redis_link.link import RedisLink


def memory_limiter(clock: Clock) -> MemoryLimiter:
    """A limiter that counts in this process alone."""
    return MemoryLimiter(clock.monotonic)


def rate_limiter_over(link: "RedisLink | None", *, clock: Clock) -> RateLimiter:
    """A limiter in Redis where there is a link to one, else in this process."""
    local = memory_limiter(clock)
    if link is None:
        return local
    from feedback_gateway.ratelimits.redis import SharedLimiter  # noqa: PLC0415 0.1 s that only its users wait

    return SharedLimiter(link, local=local, clock=clock)
