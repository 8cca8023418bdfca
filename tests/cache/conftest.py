"""A Redis of the test's own, and the stores over it."""

from collections.abc import AsyncIterator

import pytest

from feedback_gateway.cache.memory import MemoryStore
from feedback_gateway.cache.models import CacheStore
from feedback_gateway.cache.redis import RedisStore
from feedback_gateway.clock import SystemClock
from feedback_gateway.redis_link.link import RedisLink, open_link
from tests.servers import RedisServer

PATIENCE_S = 10.0
"""With a Redis that is well, on a machine that may be busy."""


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[RedisLink]:
    """A patient link to it."""
    async with open_link(redis_server.url, clock=SystemClock(), patience_s=PATIENCE_S) as link:
        yield link


@pytest.fixture
async def shared(link: RedisLink) -> RedisStore:
    """The store over it."""
    return RedisStore(link)


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[CacheStore]:
    """Each implementation."""
    if request.param == "memory":
        yield MemoryStore(max_bytes=20_000_000, max_entries=1_000, now=SystemClock().monotonic)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    async with open_link(server.url, clock=SystemClock(), patience_s=PATIENCE_S) as link:
        yield RedisStore(link)
