"""What runs after an answer, for nobody: bounded in number, waited for by no caller, and over before the log closes."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from feedback_gateway.errors import GatewayError

logger = logging.getLogger(__name__)

DRAIN_S = 5.0
MOST_WAITING = 1_000
"""What waits holds its text in memory, so that beyond this an answer goes without its shadow."""


class Disputes:
    """The calls whose shadow says otherwise, MOST_WAITING of them; whoever listens is told of each."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self.listener: Callable[[str], Awaitable[None]] | None = None

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._known

    def __len__(self) -> int:
        return len(self._known)

    async def add(self, call_id: str) -> None:
        """Note one, and tell of it."""
        if len(self._known) >= MOST_WAITING:
            del self._known[next(iter(self._known))]
        self._known[call_id] = None
        if self.listener is not None:
            await self.listener(call_id)


class Shadows:
    """Runs up to `at_once` pieces of work at the same time; what finds MOST_WAITING before it is left out."""

    def __init__(self, *, at_once: int) -> None:
        self._gate = asyncio.Semaphore(at_once)
        self._most = at_once + MOST_WAITING
        self._live: set[asyncio.Task[None]] = set()
        self._is_closing = False
        self.skipped = 0
        self.disputes = Disputes()

    def begin(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Run `work` when there is room for it, whatever comes of it."""
        if self._is_closing or len(self._live) >= self._most:
            self._skip(f"{len(self._live)} wait already; see limits.shadows")
            return
        task = asyncio.create_task(self._run(work), name="shadow")
        self._live.add(task)
        task.add_done_callback(self._end)

    async def close(self) -> None:
        """Wait for what runs and waits, DRAIN_S at most, and cancel the rest, which is booked as it stands."""
        self._is_closing = True
        if self._live:
            _, late = await asyncio.wait(set(self._live), timeout=DRAIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _run(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        async with self._gate:
            await work()

    def _skip(self, why: str) -> None:
        if not self.skipped:
            logger.warning("an answer goes without its shadow, and maybe others do: %s", why)
        self.skipped += 1

    def _end(self, task: asyncio.Task[None]) -> None:
        self._live.discard(task)
        fault = None if task.cancelled() else task.exception()
        if isinstance(fault, GatewayError):  # its version is gone, or is not for this consumer
            self._skip(fault.detail)
        elif fault is not None:
            frames = "".join(traceback.format_tb(fault.__traceback__))  # not its message: it may quote the text
            logger.error("a shadow failed with %s\n%s", type(fault).__name__, frames)
