"""What the windows in this process keep, and for how long."""

import pytest

from feedback_gateway.clock import ManualClock
from feedback_gateway.ratelimits.limiter import Applicant
from feedback_gateway.ratelimits.memory import MemoryLimiter
from feedback_gateway.ratelimits.models import Allowance
from tests.ratelimits.applying import ask

pytestmark = pytest.mark.anyio

BOTH = Allowance(requests_per_minute=5, tokens_per_minute=1_000)


async def test_names_that_were_not_seen_for_two_windows_are_dropped() -> None:
    """A gateway that has had many consumers remembers those of the last minutes."""
    clock = ManualClock()
    limiter = MemoryLimiter(clock.monotonic)
    for number in range(1_000):
        await ask(limiter, BOTH, name=f"consumer {number}")
    many = len(limiter)

    clock.advance(121)
    await ask(limiter, BOTH)

    assert (many, len(limiter)) == (1_000, 1)


async def test_refused_names_are_not_kept() -> None:
    """Only what was admitted takes room."""
    clock = ManualClock()
    limiter = MemoryLimiter(clock.monotonic)

    for number in range(1_000):
        await ask(limiter, BOTH, name=f"consumer {number}", tokens=1_001)

    assert len(limiter) == 0


async def test_window_of_requests_holds_no_more_than_the_limit() -> None:
    """However long somebody keeps asking."""
    clock = ManualClock()
    limiter = MemoryLimiter(clock.monotonic)

    for _ in range(1_000):
        await ask(limiter, BOTH, name="somebody", tokens=0)
        clock.advance(1)

    assert limiter.entries(Applicant("consumer", "somebody")) <= 5
