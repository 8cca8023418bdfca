"""The windows in this process: the arithmetic that the library `limits` does in Redis, on a clock that is given."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat


@dataclass(slots=True)
class Count:
    """What was counted in the window that ends at `ends`, and in the one before."""

    ends: float
    previous: int = 0
    current: int = 0


class MemoryWindows:
    """Keeps windows in dictionaries, without a thread or a task; nothing awaits, so that each step is atomic.

    What is forgotten is dropped once in a window's time, so that memory holds who was seen in the last two.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._entries: dict[str, deque[float]] = {}
        self._counts: dict[str, Count] = {}
        self._swept = now()

    def __len__(self) -> int:
        """How many windows are kept."""
        return len(self._entries) + len(self._counts)

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Note `amount` entries, unless there would be more than `limit` in `expiry` seconds."""
        self._sweep(expiry)
        entries = self._recent(key, expiry)
        if len(entries) + amount > limit:
            return False
        entries.extend(repeat(self._now(), amount))
        self._entries[key] = entries
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest of the newest `limit` entries was made, and how many entries count."""
        entries = self._recent(key, expiry)
        counted = min(len(entries), limit)
        return (entries[-counted] if counted else self._now()), counted

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount`, unless more than `limit` would count; the window before counts by what is left of it."""
        self._sweep(expiry)
        count = self._count(key, expiry)
        faded = int(count.previous * (count.ends - self._now()) / expiry)
        if faded + count.current + amount > limit:
            return False
        count.current += amount
        self._counts[key] = count
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The count of the window before and of this one, each with the seconds until it is forgotten."""
        count = self._count(key, expiry)
        left = count.ends - self._now()
        return count.previous, left, count.current, left + expiry

    def _recent(self, key: str, expiry: int) -> deque[float]:
        entries = self._entries.get(key)
        if entries is None:
            return deque()
        horizon = self._now() - expiry
        while entries and entries[0] <= horizon:
            entries.popleft()
        return entries

    def _count(self, key: str, expiry: int) -> Count:
        now = self._now()
        count = self._counts.get(key)
        if count is None or now >= count.ends + expiry:
            return Count(now + expiry)
        if now >= count.ends:
            count.previous, count.current, count.ends = count.current, 0, count.ends + expiry
        return count

    def _sweep(self, expiry: int) -> None:
        now = self._now()
        if now < self._swept + expiry:
            return
        self._swept = now
        self._entries = {key: kept for key, kept in self._entries.items() if kept and kept[-1] > now - expiry}
        self._counts = {key: kept for key, kept in self._counts.items() if now < kept.ends + expiry}
