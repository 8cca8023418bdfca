"""Takes the rows of finished calls off the request path: a bounded queue, written in batches by one thread.

After a kill at most the rows that had not been flushed, those of the last tenth of a second, are missing.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from feedback_gateway.calls.models import Call
from feedback_gateway.clock import Clock
from feedback_gateway.errors import GatewayError, Unavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterState:
    """How the call log is doing. `lag_s` is the age of the oldest waiting row, in seconds.

    `failing_since` and `error` are set while the store refuses; `rejected` counts the rows that it will never take.
    """

    waiting: int
    lag_s: float
    failing_since: datetime | None
    error: str | None
    written: int
    rejected: int


class LogWriter(Protocol):
    """Where finished calls go."""

    @property
    def state(self) -> WriterState:
        """How it is doing."""
        ...

    @property
    def is_full(self) -> bool:
        """Whether another call has to wait. Asked before the call, so that nothing is spent unrecorded."""
        ...

    async def admit(self) -> None:
        """Wait until there is room for another call."""
        ...

    def append(self, call: Call) -> None:
        """Take a finished call, which nobody changes any more. Never waits and never fails."""
        ...

    def hurry(self) -> None:
        """Store what waits now rather than in a moment: somebody waits for what it lets go of."""
        ...

    async def flush(self) -> None:
        """Return once everything appended so far is stored."""
        ...

    async def close(self) -> None:
        """Store what is left and stop. Raises Unavailable where that failed."""
        ...


class BatchWriter:
    """The LogWriter of the gateway: up to `batch_rows` calls or `max_delay_s` a batch, a transaction each.

    `store` writes a batch or raises; it runs in a thread of its own. After a GatewayError the batch stays and is
    tried again, with waits from `backoff_s` doubling to `max_backoff_s`. After any other error the calls of the
    batch are tried one by one, and those refused alone go to the process's log instead: one bad row never holds
    up the rest. From `capacity` waiting calls on, `admit` waits; calls already admitted are still taken.
    """

    def __init__(
        self,
        store: Callable[[Sequence[Call]], None],
        clock: Clock,
        *,
        batch_rows: int = 500,
        max_delay_s: float = 0.1,
        capacity: int = 20_000,
        backoff_s: float = 0.1,
        max_backoff_s: float = 5.0,
        close_timeout_s: float = 10.0,
    ) -> None:
        self._store = store
        self._clock = clock
        self._batch_rows = batch_rows
        self._max_delay = max_delay_s
        self._capacity = capacity
        self._backoff = backoff_s
        self._max_backoff = max_backoff_s
        self._close_timeout = close_timeout_s
        self._queue: deque[tuple[float, Call]] = deque()
        self._appended = self._written = self._rejected = 0
        self._failing_since: datetime | None = None
        self._error: str | None = None
        self._filled = asyncio.Event()
        self._urgent = asyncio.Event()
        self._progress = asyncio.Condition()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="call-log")
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False

    @property
    def state(self) -> WriterState:
        """How the writing goes, at this moment."""
        return WriterState(
            waiting=len(self._queue),
            lag_s=self._clock.monotonic() - self._queue[0][0] if self._queue else 0.0,
            failing_since=self._failing_since,
            error=self._error,
            written=self._written,
            rejected=self._rejected,
        )

    @property
    def is_full(self) -> bool:
        """Whether `capacity` calls wait."""
        return len(self._queue) >= self._capacity

    def start(self) -> None:
        """Begin to write; within the event loop."""
        self._task = asyncio.create_task(self._run(), name="call-log")

    async def admit(self) -> None:
        """Return at once while there is room; wait for some where the store has fallen far behind."""
        async with self._progress:
            await self._progress.wait_for(lambda: not self.is_full)

    def append(self, call: Call) -> None:
        """Queue `call` for the next batch."""
        self._queue.append((self._clock.monotonic(), call))
        self._appended += 1
        self._filled.set()
        if len(self._queue) >= self._batch_rows:
            self._urgent.set()

    def hurry(self) -> None:
        """Write now; within the event loop."""
        if self._queue:
            self._urgent.set()

    async def flush(self) -> None:
        """Write now, and return once everything appended so far is written; while the store fails, that is never."""
        target = self._appended
        self._urgent.set()
        async with self._progress:
            await self._progress.wait_for(lambda: self._written + self._rejected >= target)

    async def close(self) -> None:
        """Write what is left and stop, after `close_timeout_s` at the latest.

        Raises Unavailable for calls that could not be stored; they go to the process's log.
        """
        self._is_closing = True
        self._filled.set()
        self._urgent.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=self._close_timeout)
            self._task.cancel()
            await asyncio.wait({self._task})
        for _, call in self._queue:
            logger.error("not confirmed as stored: %r", call)
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._queue:
            raise Unavailable(f"{len(self._queue)} calls could not be stored: {self._error or 'the store hangs'}")

    async def _run(self) -> None:
        while self._queue or not self._is_closing:
            await self._filled.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._max_delay):
                    await self._urgent.wait()
            self._urgent.clear()
            await self._write_all(len(self._queue))
            if not self._queue and not self._is_closing:
                self._filled.clear()

    async def _write_all(self, left: int) -> None:
        """Store that many calls; those who come meanwhile gather for the next time, which is a large batch again."""
        while left > 0:
            count = min(self._batch_rows, left)
            await self._write(count)
            left -= count

    async def _write(self, count: int) -> None:
        """Store the first `count` calls of the queue, which they leave only then."""
        batch = [self._queue[index][1] for index in range(count)]
        try:
            await self._store_all(batch)
        except Exception as error:
            if count > 1:
                for _ in range(count):
                    await self._write(1)
                return
            self._rejected += 1
            logger.exception("the store refused %r", batch[0], exc_info=error)
        else:
            self._written += count
        for _ in range(count):
            self._queue.popleft()
        async with self._progress:
            self._progress.notify_all()

    async def _store_all(self, batch: Sequence[Call]) -> None:
        """Store `batch`, however often that takes. Raises what is the batch's own fault."""
        wait = self._backoff
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._store, batch)
            except GatewayError as error:
                if self._failing_since is None:
                    self._failing_since = self._clock.now()
                    logger.warning("the call log cannot be written, its rows wait: %s", error)
                self._error = str(error)
                await self._clock.sleep(wait)
                wait = min(2 * wait, self._max_backoff)
            else:
                if self._failing_since is not None:
                    logger.warning("the call log is written again")
                self._failing_since = self._error = None
                return
