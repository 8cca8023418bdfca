"""A mapping that never grows over its bounds, in bytes and in entries: what was not used for longest goes first."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from feedback_gateway.cache.models import StoreState

V = TypeVar("V")

OVERHEAD_BYTES = 400
"""What an entry takes beside itself: its key, the node of the mapping, the tuple."""
SWEPT = 8
"""How many expired entries one `put` clears away at most, so that none takes long."""


class Shelf(Generic[V]):
    """Values with a size in bytes and a time to live in seconds; `now` gives monotonic seconds. One thread only."""

    def __init__(self, *, max_bytes: int, max_entries: int, now: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._now = now
        self._kept: OrderedDict[bytes, tuple[V, int, float]] = OrderedDict()
        self._bytes = 0
        self._evicted = 0

    @property
    def state(self) -> StoreState:
        """What it holds at this moment."""
        return StoreState(entries=len(self._kept), bytes=self._bytes, evicted=self._evicted)

    def get(self, key: bytes) -> V | None:
        """The value under `key`, None where it is gone or its time is over."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept[2] <= self._now():
            self.drop(key)
            return None
        self._kept.move_to_end(key)
        return kept[0]

    def put(self, key: bytes, value: V, *, size: int, ttl_s: float) -> None:
        """Keep `value`, which takes `size` bytes, in place of what was there; what is larger than all is not kept."""
        self.drop(key)
        self._sweep()
        size += OVERHEAD_BYTES
        if size > self._max_bytes or self._max_entries < 1:
            return
        while self._kept and (self._bytes + size > self._max_bytes or len(self._kept) >= self._max_entries):
            self.drop(next(iter(self._kept)))
            self._evicted += 1
        self._kept[key] = (value, size, self._now() + ttl_s)
        self._bytes += size

    def drop(self, key: bytes) -> None:
        """Forget what is under `key`, if anything is."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= kept[1]

    def _sweep(self) -> None:
        """Clear away what nobody asked for until its time was over; that ends up among the longest unused."""
        for _ in range(SWEPT):
            oldest = next(iter(self._kept), None)
            if oldest is None or self._kept[oldest][2] > self._now():
                return
            self.drop(oldest)
