"""Asks somebody else as well where an answer takes longer than most: whoever answers well first is heard."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from feedback_gateway.llm.health import Health
from feedback_gateway.llm.health_watch import HIGH, quantile

FEWEST_SAMPLES = 20

T = TypeVar("T")


def patience_with(health: Health) -> float | None:
    """The seconds that 95 % of the latest answers took at most, None where too few are known to tell."""
    latencies = health.latencies()
    slow = quantile(latencies, HIGH)
    return None if slow is None or len(latencies) < FEWEST_SAMPLES else slow / 1000


async def first_good(
    first: Coroutine[Any, Any, T],
    company: Callable[[], Coroutine[Any, Any, T | None]],
    *,
    patience: Coroutine[Any, Any, None],
) -> T:
    """What `first` gives, or `company`, which begins when `patience` is over before the first has come.

    Whoever is slower is cancelled. Where nobody gives anything, raises what `first` raised.
    """
    main = asyncio.create_task(first)
    waiting = asyncio.create_task(patience)
    tasks: list[asyncio.Task[Any]] = [main, waiting]
    try:
        await asyncio.wait({main, waiting}, return_when=asyncio.FIRST_COMPLETED)
        running = {main}
        if not main.done():
            other: asyncio.Task[Any] = asyncio.create_task(company())
            tasks.append(other)
            running.add(other)
        while running:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled() and task.exception() is None and task.result() is not None:
                    return task.result()
        return main.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
