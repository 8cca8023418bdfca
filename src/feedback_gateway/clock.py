"""Time and ids, passed in wherever they are needed so that tests own both."""

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PAIRS = [first + second for first in CROCKFORD for second in CROCKFORD]


class Clock(Protocol):
    """What the gateway needs to know of time."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only ever grow; for durations and deadlines."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def new_id(self) -> str:
        """A fresh ULID."""
        ...


def ulid(milliseconds: int, randomness: bytes) -> str:
    """Encode a ULID (github.com/ulid/spec): 48 bits of time and 80 of `randomness`, 26 characters, sorting by time."""
    number = (milliseconds << 80) | int.from_bytes(randomness, "big")
    return "".join([PAIRS[(number >> shift) & 1023] for shift in range(120, -10, -10)])


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only ever grow."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the event loop."""
        await asyncio.sleep(seconds)

    def new_id(self) -> str:
        """A ULID of this moment. Unique, but no secret: `random` seeds itself anew in forked children."""
        return ulid(time.time_ns() // 1_000_000, random.randbytes(10))  # noqa: S311 asking the kernel lets other threads in


class ManualClock:
    """A clock that stands still until it is moved or slept on; ids count up. For tests and rehearsals."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = 0.0
        self._ids = 0
        self.slept: list[float] = []

    def now(self) -> datetime:
        """The start plus what has passed."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Seconds that have passed."""
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._elapsed += seconds

    async def sleep(self, seconds: float) -> None:
        """Let time pass at once, and note how much was asked for."""
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)

    def new_id(self) -> str:
        """The next ULID."""
        self._ids += 1
        return ulid(int(self.now().timestamp() * 1000), self._ids.to_bytes(10, "big"))
