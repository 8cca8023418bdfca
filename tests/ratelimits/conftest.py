"""A Redis of the test's own, and limiters whose minutes pass without waiting."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

import pytest

from feedback_gateway.clock import Clock, ManualClock
from feedback_gateway.ratelimits.models import RateLimiter
from feedback_gateway.ratelimits.opening import memory_limiter
from feedback_gateway.ratelimits.redis import SharedLimiter
from feedback_gateway.redis_link.link import RedisLink, open_link
from tests.ratelimits.servers import LeapingClock, age
from tests.servers import RedisServer

LONG_S = 10.0
"""Patience with a Redis that is well, on a machine that may be busy."""


def limiter_over(link: RedisLink, clock: Clock) -> SharedLimiter:
    """A limiter that asks through a link."""
    return SharedLimiter(link, local=memory_limiter(clock), clock=clock)


@dataclass(frozen=True)
class Bench:
    """A limiter, and what lets time pass for it."""

    limiter: RateLimiter
    pass_time: Callable[[float], None]


@pytest.fixture(params=["memory", "redis"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Each implementation."""
    if request.param == "memory":
        clock = ManualClock()
        yield Bench(memory_limiter(clock), clock.advance)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    leaping = LeapingClock()
    async with open_link(server.url, clock=leaping, patience_s=LONG_S) as link:
        yield Bench(limiter_over(link, leaping), partial(age, server))
        assert await link.check() is None  # or it was the process alone that counted


@pytest.fixture
def clock() -> LeapingClock:
    """Real time, but for leaps."""
    return LeapingClock()


@pytest.fixture
async def patient_link(redis_server: RedisServer, clock: LeapingClock) -> AsyncIterator[RedisLink]:
    """A link that waits, however busy the machine is."""
    async with open_link(redis_server.url, clock=clock, patience_s=LONG_S) as link:
        yield link


@pytest.fixture
async def link(redis_server: RedisServer, clock: LeapingClock) -> AsyncIterator[RedisLink]:
    """A link as patient as in operation."""
    async with open_link(redis_server.url, clock=clock) as link:
        yield link


@pytest.fixture
async def patient(patient_link: RedisLink, clock: LeapingClock) -> SharedLimiter:
    """A limiter that counts in Redis, however busy the machine is."""
    return limiter_over(patient_link, clock)


@pytest.fixture
async def shared(link: RedisLink, clock: LeapingClock) -> SharedLimiter:
    """A limiter that counts in Redis, as patient as in operation."""
    return limiter_over(link, clock)
