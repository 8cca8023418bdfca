"""Finished calls reach the store, whatever the store does."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from feedback_gateway.calls.models import Call
from feedback_gateway.calls.repository import CallFilters, CallRepository
from feedback_gateway.calls.writer import BatchWriter
from feedback_gateway.clock import ManualClock
from feedback_gateway.errors import ConfigurationError, Unavailable

pytestmark = pytest.mark.anyio
MakeCall = Callable[..., Call]


class Store:
    """Keeps batches in memory; raises what `failures` holds, one a batch, before it takes any."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.refused: set[str] = set()
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()
        self.open = threading.Event()
        self.open.set()

    def add(self, batch: Sequence[Call]) -> None:
        """Store a batch."""
        self.open.wait(5)
        self.threads.add(threading.current_thread().name)
        if self.failures:
            raise self.failures.pop(0)
        if bad := self.refused & {call.call_id for call in batch}:
            raise ValueError(bad)
        self.batches.append([call.call_id for call in batch])

    @property
    def ids(self) -> list[str]:
        """All that was stored, in order."""
        return [call_id for batch in self.batches for call_id in batch]


@asynccontextmanager
async def running(writer: BatchWriter) -> AsyncIterator[BatchWriter]:
    """Start and close `writer`."""
    writer.start()
    yield writer
    await writer.close()


def ids(several: Sequence[Call]) -> list[str]:
    """The ids of calls."""
    return [call.call_id for call in several]


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop run until `condition` holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  the condition is no event
            await asyncio.sleep(0)


async def test_flush_returns_when_everything_appended_is_stored(make_call: MakeCall) -> None:
    """In the order of appending."""
    store, several = Store(), [make_call() for _ in range(30)]
    async with running(BatchWriter(store.add, ManualClock())) as writer:
        for call in several:
            writer.append(call)
        await writer.flush()

        assert store.ids == ids(several)
        assert writer.state.written == 30
        assert writer.state.waiting == 0


async def test_rows_are_written_without_being_asked(make_call: MakeCall) -> None:
    """After the longest delay, here a hundredth of a second."""
    store, call = Store(), make_call()
    async with running(BatchWriter(store.add, ManualClock(), max_delay_s=0.01)) as writer:
        writer.append(call)
        await until(lambda: writer.state.written > 0)

    assert store.ids == [call.call_id]


async def test_rows_are_written_at_once_when_somebody_hurries(make_call: MakeCall) -> None:
    """Long before their time; with nothing to write, the next row has its time."""
    store, call = Store(), make_call()
    async with running(BatchWriter(store.add, ManualClock(), max_delay_s=600.0)) as writer:
        writer.hurry()
        writer.append(call)
        await asyncio.sleep(0)
        before = list(store.ids)
        writer.hurry()
        await until(lambda: writer.state.written > 0)

    assert (before, store.ids) == ([], [call.call_id])


async def test_what_comes_during_a_batch_gathers_for_the_next_one(make_call: MakeCall) -> None:
    """Or a busy log would write a row at a time, without end, and be in the way of whoever else writes."""
    store, loop, calls = Store(), asyncio.get_running_loop(), [make_call() for _ in range(3)]

    def add(batch: Sequence[Call]) -> None:
        if not store.batches:
            asyncio.run_coroutine_threadsafe(come(), loop).result()
        store.add(batch)

    async def come() -> None:
        writer.append(calls[1])

    async with running(BatchWriter(add, ManualClock(), max_delay_s=60)) as writer:
        writer.append(calls[0])
        await writer.flush()
        waiting = writer.state.waiting
        writer.append(calls[2])
        await writer.flush()

    assert waiting == 1
    assert [len(batch) for batch in store.batches] == [1, 2]


async def test_a_batch_never_exceeds_its_limit(make_call: MakeCall) -> None:
    """And is as full as it can be."""
    store = Store()
    async with running(BatchWriter(store.add, ManualClock(), batch_rows=10)) as writer:
        for _ in range(25):
            writer.append(make_call())
        await writer.flush()

    assert [len(batch) for batch in store.batches] == [10, 10, 5]


async def test_the_store_never_runs_in_the_event_loop(make_call: MakeCall) -> None:
    """While it is stuck, appending and everything else go on."""
    store = Store()
    async with running(BatchWriter(store.add, ManualClock())) as writer:
        store.open.clear()
        writer.append(make_call())
        flushing = asyncio.create_task(writer.flush())
        await asyncio.sleep(0)
        writer.append(make_call())
        waiting = writer.state.waiting
        store.open.set()
        await flushing

    assert waiting == 2
    assert store.threads == {"call-log_0"}


async def test_a_failing_store_keeps_the_rows_waiting_and_is_visible(make_call: MakeCall) -> None:
    """Calls go on meanwhile; the age of the oldest row tells how long it has been."""
    clock, store = ManualClock(), Store()
    async with running(BatchWriter(store.add, clock)) as writer:
        store.failures = [Unavailable("the disk is full; make room")] * 1000
        began = clock.now()
        writer.append(make_call())
        flushing = asyncio.create_task(writer.flush())
        await until(lambda: clock.slept)
        clock.advance(60)
        failing = writer.state
        store.failures.clear()
        await flushing
        mended = writer.state

    assert failing.waiting == 1
    assert failing.lag_s >= 60
    assert failing.error == "the disk is full; make room"
    assert failing.failing_since == began
    assert (mended.waiting, mended.failing_since, mended.error) == (0, None, None)
    assert len(store.ids) == 1


async def test_waits_between_tries_double_up_to_a_bound(make_call: MakeCall) -> None:
    """So that a sick database is not beaten."""
    clock, store = ManualClock(), Store(*[ConfigurationError("cannot be written")] * 5)
    async with running(BatchWriter(store.add, clock, backoff_s=1, max_backoff_s=5)) as writer:
        writer.append(make_call())
        await writer.flush()

    assert clock.slept == [1, 2, 4, 5, 5]


async def test_a_row_that_no_store_takes_holds_nobody_up(make_call: MakeCall, caplog: pytest.LogCaptureFixture) -> None:
    """It goes to the process's log with all it says."""
    store, several = Store(), [make_call() for _ in range(5)]
    store.refused = {several[2].call_id}
    async with running(BatchWriter(store.add, ManualClock())) as writer:
        for call in several:
            writer.append(call)
        await writer.flush()
        state = writer.state

    assert store.ids == ids([*several[:2], *several[3:]])
    assert (state.written, state.rejected) == (4, 1)
    assert several[2].call_id in caplog.text


async def test_admission_waits_while_the_log_is_full(make_call: MakeCall) -> None:
    """And goes on as soon as a batch is stored; a call already admitted is still taken."""
    store = Store()
    async with running(BatchWriter(store.add, ManualClock(), capacity=2)) as writer:
        store.open.clear()
        for _ in range(3):
            writer.append(make_call())
        admission = asyncio.create_task(writer.admit())
        await asyncio.sleep(0)
        waited = not admission.done()
        store.open.set()
        async with asyncio.timeout(5):
            await admission
            await writer.flush()

    assert waited
    assert len(store.ids) == 3


async def test_closing_writes_what_is_left(make_call: MakeCall) -> None:
    """Even what was appended just before, and after failures."""
    store, several = Store(Unavailable("locked"), Unavailable("locked")), [make_call() for _ in range(7)]
    writer = BatchWriter(store.add, ManualClock(), batch_rows=3)
    writer.start()
    for call in several:
        writer.append(call)

    await writer.close()

    assert store.ids == ids(several)


async def test_closing_gives_up_on_a_dead_store_in_time_and_logs_what_is_lost(
    make_call: MakeCall, caplog: pytest.LogCaptureFixture
) -> None:
    """A process must be able to stop; its rows can be booked from the log."""
    store, call = Store(*[Unavailable("gone")] * 100_000), make_call()
    writer = BatchWriter(store.add, ManualClock(), close_timeout_s=0.05)
    writer.start()
    writer.append(call)

    with caplog.at_level(logging.ERROR), pytest.raises(Unavailable, match="1 calls could not be stored: gone"):
        await writer.close()

    assert store.ids == []
    assert f"call_id='{call.call_id}'" in caplog.text


async def test_a_locked_database_delays_the_log_and_loses_nothing(
    sqlite_engine: Engine, database_file: Path, make_call: MakeCall
) -> None:
    """The real store, held by another process's transaction."""
    event.listen(sqlite_engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout = 1"))
    repository, clock, call = CallRepository(sqlite_engine), ManualClock(), make_call()
    holder = sqlite3.connect(database_file, isolation_level=None)
    async with running(BatchWriter(repository.add, clock)) as writer:
        holder.execute("BEGIN IMMEDIATE")
        writer.append(call)
        flushing = asyncio.create_task(writer.flush())
        await until(lambda: clock.slept)
        error = writer.state.error
        holder.close()
        await flushing

    assert error is not None
    assert "locked" in error
    assert ids_of(repository) == [call.call_id]


def ids_of(repository: CallRepository) -> list[str]:
    """The ids of stored calls, newest first."""
    return [record.call_id for record in repository.page(CallFilters(), limit=200).data]


@settings(max_examples=50, deadline=timedelta(seconds=5))
@given(
    steps=st.lists(st.sampled_from(["append", "flush", "fail", "refuse", "yield"]), max_size=40),
    batch_rows=st.integers(1, 5),
)
async def test_every_call_is_stored_or_refused_exactly_once(
    make_call: MakeCall, steps: list[str], batch_rows: int
) -> None:
    """For any order of appending, flushing, failing and refusing."""
    store, several = Store(), [make_call() for _ in steps]
    async with running(BatchWriter(store.add, ManualClock(), batch_rows=batch_rows)) as writer:
        appended: list[Call] = []
        for step in steps:
            match step:
                case "append":
                    appended.append(several[len(appended)])
                    writer.append(appended[-1])
                case "flush":
                    await writer.flush()
                case "fail":
                    store.failures.append(Unavailable("for a moment"))
                case "refuse":
                    store.refused.add(several[len(appended)].call_id)
                case _:
                    await asyncio.sleep(0)

    assert store.ids == [call_id for call_id in ids(appended) if call_id not in store.refused]
    assert writer.state.rejected == len(store.refused & set(ids(appended)))
