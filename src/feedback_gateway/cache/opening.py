"""Builds the store that the settings ask for."""

from typing import TYPE_CHECKING

from feedback_gateway.cache.memory import MemoryStore
from feedback_gateway.cache.models import CacheStore, Leases
from feedback_gateway.clock import Clock

if TYPE_CHECKING:
    from feedback_gateway.redis_link.link import RedisLink


def store_over(
    link: "RedisLink | None", *, max_bytes: int, max_entries: int, clock: Clock
) -> tuple[CacheStore, Leases | None]:
    """A store in Redis where there is a link to one, with its leases; else one in this process, which needs none."""
    if link is None:
        return MemoryStore(max_bytes=max_bytes, max_entries=max_entries, now=clock.monotonic), None
    from feedback_gateway.cache.redis import RedisStore  # noqa: PLC0415 its library, that only its users wait for

    store = RedisStore(link)
    return store, store
