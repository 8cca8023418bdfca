"""Entries in this process alone, bounded in bytes; they are gone with it."""

from collections.abc import Callable

from feedback_gateway.cache.models import StoreState
from feedback_gateway.cache.shelf import Shelf


class MemoryStore:
    """A CacheStore whose hits cost a look into a mapping."""

    def __init__(self, *, max_bytes: int, max_entries: int, now: Callable[[], float]) -> None:
        self._shelf: Shelf[bytes] = Shelf(max_bytes=max_bytes, max_entries=max_entries, now=now)

    @property
    def state(self) -> StoreState:
        """What it holds at this moment."""
        return self._shelf.state

    async def get(self, key: bytes) -> bytes | None:
        """What was put under `key`."""
        return self._shelf.get(key)

    async def put(self, key: bytes, entry: bytes, *, ttl_s: float) -> None:
        """Keep `entry`."""
        self._shelf.put(key, entry, size=len(entry), ttl_s=ttl_s)
