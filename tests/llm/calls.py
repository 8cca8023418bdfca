"""Calls that have just begun, for what answers them."""

import asyncio
from collections.abc import Callable

import pytest

from feedback_gateway.calls.models import Call
from feedback_gateway.clock import Clock, SystemClock


def new_call(clock: Clock | None = None, *, task: str = "rate", deadline_s: float = 30.0, attempts: int = 3) -> Call:
    """A call that nothing has been tried for."""
    clock = clock or SystemClock()
    started = clock.monotonic()
    return Call(
        call_id=clock.new_id(),
        consumer="local",
        identity="name local",
        task=task,
        prompt_version=1,
        model="default",
        created_at=clock.now(),
        started=started,
        deadline=started + deadline_s,
        attempts_left=attempts,
    )


async def until(is_so: Callable[[], bool]) -> None:
    """Let others run until something is so."""
    for _ in range(10_000):
        if is_so():
            return
        await asyncio.sleep(0)
    pytest.fail("it never was so")
