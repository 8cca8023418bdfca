"""A Redis of the test's own, and limiters whose minutes pass without waiting."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from feedback_gateway.clock import ManualClock
from feedback_gateway.ratelimits.models import RateLimiter
from feedback_gateway.ratelimits.opening import memory_limiter
from feedback_gateway.ratelimits.redis import SharedLimiter, open_shared_limiter
from tests.ratelimits.servers import LeapingClock, RedisServer


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that has just been started."""
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server on this machine")
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


LONG_S = 10.0
"""Patience with a Redis that is well, on a machine that may be busy."""


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
    local = memory_limiter(leaping)
    async with open_shared_limiter(server.url, local=local, clock=leaping, patience_s=LONG_S) as limiter:
        yield Bench(limiter, server.age)
        assert await limiter.check() is None  # or it was the process alone that counted


@pytest.fixture
def clock() -> LeapingClock:
    """Real time, but for leaps."""
    return LeapingClock()


@pytest.fixture
async def patient(redis_server: RedisServer, clock: LeapingClock) -> AsyncIterator[SharedLimiter]:
    """A limiter that counts in Redis, however busy the machine is."""
    local = memory_limiter(clock)
    async with open_shared_limiter(redis_server.url, local=local, clock=clock, patience_s=LONG_S) as limiter:
        yield limiter


@pytest.fixture
async def shared(redis_server: RedisServer, clock: LeapingClock) -> AsyncIterator[SharedLimiter]:
    """A limiter that counts in Redis, as patient as in operation."""
    async with open_shared_limiter(redis_server.url, local=memory_limiter(clock), clock=clock) as limiter:
        yield limiter
