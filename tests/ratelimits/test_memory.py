"""What the windows in this process keep, and for how long."""

import pytest

from feedback_gateway.clock import ManualClock
from feedback_gateway.ratelimits.limiter import WindowLimiter
from feedback_gateway.ratelimits.memory import MemoryWindows
from feedback_gateway.ratelimits.models import Allowance
from tests.ratelimits.applying import ask

pytestmark = pytest.mark.anyio

BOTH = Allowance(requests_per_minute=5, tokens_per_minute=1_000)


async def test_names_that_were_not_seen_for_two_windows_are_dropped() -> None:
    """A gateway that has had many consumers remembers those of the last minutes."""
    clock = ManualClock()
    windows = MemoryWindows(clock.monotonic)
    limiter = WindowLimiter(windows, now=clock.monotonic)
    for number in range(1_000):
        await ask(limiter, BOTH, name=f"consumer {number}")
    many = len(windows)

    clock.advance(121)
    await ask(limiter, BOTH)

    assert (many, len(windows)) == (2_000, 2)


async def test_refused_names_are_not_kept() -> None:
    """Only what was admitted takes room."""
    clock = ManualClock()
    windows = MemoryWindows(clock.monotonic)
    limiter = WindowLimiter(windows, now=clock.monotonic)

    for number in range(1_000):
        await ask(limiter, BOTH, name=f"consumer {number}", tokens=1_001)

    assert len(windows) == 0


async def test_window_of_requests_holds_no_more_than_the_limit() -> None:
    """However long somebody keeps asking."""
    clock = ManualClock()
    windows = MemoryWindows(clock.monotonic)

    for _ in range(1_000):
        await windows.acquire_entry("key", 5, 60)
        clock.advance(1)

    _, count = await windows.get_moving_window("key", 5, 60)
    assert count <= 5
