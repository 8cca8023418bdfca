"""Opens the link where the settings name a Redis, and loads its library only then."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from feedback_gateway.clock import Clock

if TYPE_CHECKING:
    from feedback_gateway.redis_link.link import RedisLink


@asynccontextmanager
async def open_redis_link(url: str | None, *, clock: Clock) -> "AsyncIterator[RedisLink | None]":
    """The process's link to Redis, None where there is no URL of one. Raises ConfigurationError."""
    if url is None:
        yield None
        return
    from feedback_gateway.redis_link.link import open_link  # noqa: PLC0415 0.2 s that only its users wait

    async with open_link(url, clock=clock) as link:
        yield link
