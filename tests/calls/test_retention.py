"""What has been kept for its time is deleted, everywhere, and nobody waits long for it."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import Engine, Table, event, func, insert, select, text

from feedback_gateway.calls.models import Call, Payload
from feedback_gateway.calls.reports import UsageReport
from feedback_gateway.calls.repository import CallFilters, CallRepository
from feedback_gateway.calls.retention import (
    BATCH_ROWS,
    EVERY_S,
    FIRST_S,
    PAUSE_S,
    Expired,
    Retention,
    expired,
    to_its_end,
    watch_retention,
)
from feedback_gateway.calls.tables import attempts, calls, payloads, usage_rollups
from feedback_gateway.clock import ManualClock
from feedback_gateway.consumers.tables import budgets, consumers, keys
from feedback_gateway.errors import Unavailable
from feedback_gateway.feedback import tables as feedback
from feedback_gateway.ledger.tables import ledger, reservations, spend
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings
from feedback_gateway.storage.columns import UtcDateTime, metadata
from feedback_gateway.storage.locks import lock_name
from feedback_gateway.taxonomies.tables import taxonomy_decisions, taxonomy_versions

MakeCall = Callable[..., Call]
NOW = datetime(2026, 3, 18, 12, tzinfo=UTC)
LOG, ROLLUPS = timedelta(days=30), timedelta(days=400)

# They hold what somebody set up, or what is under way; traffic does not make them grow.
LASTING = {consumers, budgets, keys, reservations, taxonomy_versions, taxonomy_decisions}
# What is stored stays until somebody takes it away.
LASTING |= {feedback.feedback_items, feedback.runs, feedback.analyses, feedback.corrections, feedback.jobs}


def retention(engine: Engine, clock: ManualClock | None = None) -> Retention:
    """With the periods that a test reckons with."""
    return Retention(engine, clock or ManualClock(NOW), log=LOG, rollups=ROLLUPS)


def count(engine: Engine, table: Table) -> int:
    """How many rows there are."""
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def made_at(engine: Engine) -> list[datetime]:
    """When the calls that are left were made, newest first."""
    return [call.created_at for call in CallRepository(engine).page(CallFilters(), limit=200).data]


def add_of_all_ages(engine: Engine, make_call: MakeCall) -> None:
    """Calls of every tenth day of two years, with everything that comes with a call."""
    repository = CallRepository(engine, payload=lambda _: Payload('{"text": "x"}', None))
    repository.add([make_call(created_at=NOW - timedelta(days=age)) for age in range(0, 730, 10)])


@pytest.mark.anyio
async def test_after_a_pass_no_table_holds_rows_older_than_they_are_kept(engine: Engine, make_call: MakeCall) -> None:
    """Every table that has a time, and whatever hangs on one that has; sums go when all of their period is too old."""
    add_of_all_ages(engine, make_call)

    await retention(engine).prune()

    logged, counted = NOW - LOG, NOW - ROLLUPS - timedelta(days=31)
    oldest = {calls: logged, attempts: logged, ledger: logged, usage_rollups: counted, spend: counted}
    timed = {table for table in metadata.sorted_tables if any(isinstance(c.type, UtcDateTime) for c in table.columns)}
    assert timed - LASTING == set(oldest)
    with engine.connect() as connection:
        for table, edge in oldest.items():
            moment = next(c for c in table.columns if c.name in ("created_at", "started_at", "starts_at"))
            query = select(func.min(moment))
            if table is spend:
                query = query.where(spend.c.period != "total")
            found = connection.scalar(query)
            assert found is not None
            assert found >= edge, table.name
    assert count(engine, payloads) == count(engine, attempts) == count(engine, calls) == 4


@pytest.mark.anyio
async def test_what_is_deleted_is_reported_all_the_same(engine: Engine, make_call: MakeCall) -> None:
    """For as long as the sums are kept, by whole days."""
    add_of_all_ages(engine, make_call)

    await retention(engine).prune()

    (row,) = UsageReport(engine).usage()
    assert row.calls == 41
    assert row.cost_usd == 41 * Decimal("0.0001935")


@pytest.mark.anyio
async def test_present_periods_and_the_total_of_a_budget_stay(engine: Engine) -> None:
    """However short sums are kept, a budget is held against all that was spent in its period."""
    starts = {"day": NOW.replace(hour=0), "week": NOW.replace(day=16, hour=0), "month": NOW.replace(day=1, hour=0)}
    rows = [("total", datetime(1970, 1, 1, tzinfo=UTC))]
    rows += [(period, start - ago) for period, start in starts.items() for ago in (timedelta(0), timedelta(days=31))]
    with engine.begin() as connection:
        connection.execute(
            insert(spend),
            [
                {"consumer": "a", "task": "x", "period": period, "starts_at": start, "spent_usd": Decimal(1)}
                for period, start in rows
            ],
        )

    await Retention(engine, ManualClock(NOW), log=timedelta(seconds=1), rollups=timedelta(seconds=1)).prune()

    with engine.connect() as connection:
        left = set(connection.scalars(select(spend.c.period)))
        assert count(engine, spend) == len(left) == len(starts) + 1


@pytest.mark.anyio
async def test_rows_go_in_small_transactions_with_pauses_between(engine: Engine, make_call: MakeCall) -> None:
    """Never more than a batch at once, however many there are."""
    old = NOW - LOG - timedelta(days=1)
    CallRepository(engine).add([make_call(created_at=old, costs=()) for _ in range(2 * BATCH_ROWS + 7)])
    sizes: list[int] = []
    commits: list[object] = []
    clock = ManualClock(NOW)

    def deleted(*seen: object) -> None:
        if str(seen[2]).startswith("DELETE"):
            sizes.append(len(seen[3]))  # type: ignore[arg-type]

    event.listen(engine, "before_cursor_execute", deleted)
    event.listen(engine, "commit", commits.append)
    await retention(engine, clock).prune()

    assert sizes == [BATCH_ROWS, BATCH_ROWS, 7]
    assert len(commits) >= len(sizes)
    assert clock.slept == [PAUSE_S] * len(sizes)


class Busy(ManualClock):
    """A clock during whose pauses somebody writes."""

    def __init__(self, write: Callable[[], None]) -> None:
        super().__init__(NOW)
        self._write = write

    async def sleep(self, seconds: float) -> None:
        """Write meanwhile."""
        self._write()
        await super().sleep(seconds)


@pytest.mark.anyio
async def test_others_write_between_two_batches(engine: Engine, make_call: MakeCall) -> None:
    """Nothing is locked during a pause, and what is new stays."""
    repository = CallRepository(engine)
    repository.add([make_call(created_at=NOW - LOG - timedelta(days=1)) for _ in range(BATCH_ROWS + 1)])
    clock = Busy(lambda: repository.add([make_call(created_at=NOW)]))

    await retention(engine, clock).prune()

    assert made_at(engine) == [NOW] * len(clock.slept)
    assert len(clock.slept) > 2


class Ending(ManualClock):
    """A clock whose first pause is the end."""

    async def sleep(self, _seconds: float) -> None:
        """Be cancelled."""
        raise asyncio.CancelledError


@pytest.mark.anyio
async def test_the_oldest_go_first(engine: Engine, make_call: MakeCall) -> None:
    """A pass that was cut off leaves the newest of what is too old."""
    edge = NOW - LOG
    CallRepository(engine).add([make_call(created_at=edge - timedelta(hours=n), costs=()) for n in range(1_050)])

    with pytest.raises(asyncio.CancelledError):
        await retention(engine, Ending(NOW)).prune()

    assert made_at(engine) == [edge - timedelta(hours=age) for age in range(50)]


@pytest.mark.anyio
async def test_one_process_is_enough(postgresql_engine: Engine, make_call: MakeCall) -> None:
    """Another that comes while one is at it leaves the work to it, without waiting."""
    CallRepository(postgresql_engine).add([make_call(created_at=NOW - 2 * LOG)])

    with postgresql_engine.begin() as connection:
        lock_name(connection, "retention")
        meanwhile = await retention(postgresql_engine).prune()
    later = await retention(postgresql_engine).prune()

    assert meanwhile == 0
    assert later > 0
    assert made_at(postgresql_engine) == []


@pytest.mark.anyio
async def test_a_period_longer_than_time_keeps_everything(engine: Engine, make_call: MakeCall) -> None:
    """As somebody may set who wants to delete nothing."""
    CallRepository(engine).add([make_call(created_at=datetime(1, 1, 1, tzinfo=UTC))])

    deleted = await Retention(engine, ManualClock(NOW), log=timedelta.max, rollups=timedelta.max).prune()

    assert deleted == 0


def test_every_deletion_finds_its_rows_by_an_index(sqlite_engine: Engine) -> None:
    """Except those of `spend`, which has a row a consumer, task and period."""
    with sqlite_engine.connect() as connection:
        for rows in expired(NOW, log=LOG, rollups=ROLLUPS):
            query = str(rows.oldest(10).compile(sqlite_engine, compile_kwargs={"literal_binds": True}))
            plan = [
                str(step[-1]) for step in connection.execute(text(f"EXPLAIN QUERY PLAN {query}".replace(":", "\\:")))
            ]
            assert rows.table is spend or [step.split()[0] for step in plan] == ["SEARCH"]


@pytest.mark.anyio
async def test_the_watch_goes_on_where_the_database_fails() -> None:
    """Soon after the start, then every hour, not at the same second in every process."""
    clock = ManualClock(NOW)
    failures: list[BaseException | None] = [Unavailable("the disk is full"), None, asyncio.CancelledError()]

    async def prune() -> int:
        if (failure := failures.pop(0)) is not None:
            raise failure
        return 7

    with pytest.raises(asyncio.CancelledError):
        await watch_retention(prune, clock, Random(1))

    first, *later = clock.slept
    assert FIRST_S / 2 <= first <= FIRST_S * 1.5
    assert [round(one / EVERY_S) for one in later] == [1, 1]
    assert len(set(later)) == 2


@pytest.mark.anyio
async def test_a_batch_under_way_is_ended_before_the_database_is_closed() -> None:
    """A cancelled pass waits for its thread."""
    rows, started, may_end, ended = expired(NOW, log=LOG, rollups=ROLLUPS)[0], asyncio.Event(), threading.Event(), []
    loop = asyncio.get_running_loop()

    def work(_: Expired) -> int:
        loop.call_soon_threadsafe(started.set)
        may_end.wait(10)
        ended.append(True)
        return 1

    running = asyncio.create_task(to_its_end(work, rows))
    await started.wait()
    running.cancel()
    await asyncio.sleep(0)
    assert not running.done()
    may_end.set()
    await asyncio.wait({running})

    assert ended == [True]
    assert running.cancelled()


@pytest.mark.anyio
async def test_the_services_prune_as_long_as_they_are_open(tmp_path: Path) -> None:
    """And leave nothing running."""

    def names() -> set[str]:
        return {task.get_name() for task in asyncio.all_tasks()}

    async with open_services(Settings(database_url=f"sqlite:///{tmp_path / 'calls.db'}")):
        during = names()

    assert "retention" in during
    assert "retention" not in names()
