"""The sums by hour and day are those of the calls, at every moment and to the last digit."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, event, func, insert, select

from feedback_gateway.calls.booking import call_row
from feedback_gateway.calls.corrections import Corrections
from feedback_gateway.calls.models import Call
from feedback_gateway.calls.reports import GROUPINGS, Grouping, UsageReport, UsageRow
from feedback_gateway.calls.repository import CallRepository
from feedback_gateway.calls.tables import calls, usage_rollups
from feedback_gateway.clock import ManualClock
from feedback_gateway.ledger.models import Hold
from feedback_gateway.ledger.repository import LedgerRepository
from feedback_gateway.ledger.tables import ledger, spend
from feedback_gateway.storage.engine import upgrade
from tests.databases import OpenDatabase

MakeCall = Callable[..., Call]
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
COSTS = st.integers(1, 18).flatmap(lambda places: st.decimals(0, 1000, allow_nan=False, places=places))
minutes = st.integers(-40 * 60, 40 * 60).map(lambda count: NOON + timedelta(minutes=count))
moments = minutes | st.timedeltas(timedelta(days=-2), timedelta(days=2)).map(lambda offset: NOON + offset)
booked = st.fixed_dictionaries(
    {
        "created_at": moments,
        "consumer": st.sampled_from(["a", "b"]),
        "task": st.sampled_from(["x", "y"]),
        "model": st.sampled_from(["m", "n"]),
        "purpose": st.sampled_from(["answer", "shadow"]),
        "status": st.sampled_from(["ok", "failed", "cancelled"]),
        "cached": st.booleans(),
        "costs": st.lists(COSTS | st.none(), max_size=2),
    }
)


def by_hand(
    made: Sequence[Call], costs: dict[str, Decimal], group_by: Sequence[Grouping]
) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """The figures of each group, in fractions; `costs` has those that were corrected."""
    groups: dict[tuple[str, ...], list[Call]] = {}
    for call in made:
        values = {"consumer": call.consumer, "task": call.task, "model": call.model, "day": f"{call.created_at:%F}"}
        values["purpose"] = call.purpose
        groups.setdefault(tuple(values[name] for name in group_by), []).append(call)
    found = {}
    for key, group in groups.items():
        receipts = [call.receipt() for call in group]
        known = [costs.get(call.call_id, receipt.cost_usd) for call, receipt in zip(group, receipts, strict=True)]
        found[key] = (
            len(group),
            sum(call.cached for call in group),
            sum(call.status == "failed" for call in group),
            sum(receipt.input_tokens for receipt in receipts),
            sum(receipt.output_tokens for receipt in receipts),
            sum((Fraction(cost) for cost in known if cost is not None), Fraction()) if any_known(known) else None,
            known.count(None),
        )
    return found


def any_known(costs: Sequence[Decimal | None]) -> bool:
    """Whether there is one."""
    return any(cost is not None for cost in costs)


def figures(row: UsageRow) -> tuple[Any, ...]:
    """What `by_hand` has of a row."""
    cost = None if row.cost_usd is None else Fraction(row.cost_usd)
    counts = (row.calls, row.cached_calls, row.failed_calls, row.input_tokens, row.output_tokens)
    return (*counts, cost, row.unknown_cost_calls)


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.lists(booked, max_size=6), max_size=4),
    corrections=st.lists(st.tuples(st.integers(0, 30), COSTS), max_size=4),
    period=st.tuples(st.none() | moments, st.none() | moments),
    group_by=st.lists(st.sampled_from(GROUPINGS), unique=True),
    consumer=st.none() | st.just("a"),
)
def test_the_report_of_any_period_equals_the_sum_over_its_calls(  # noqa: PLR0917
    open_database: OpenDatabase,
    make_call: MakeCall,
    batches: list[list[dict[str, Any]]],
    corrections: list[tuple[int, Decimal]],
    period: tuple[datetime | None, datetime | None],
    group_by: list[Grouping],
    consumer: str | None,
) -> None:
    """Whatever it cuts through, in whatever order calls arrived, and whatever was corrected, even twice."""
    since, until = period
    made = [[make_call(**fields) for fields in batch] for batch in batches]
    everything = [call for batch in made for call in batch]
    costs: dict[str, Decimal] = {}
    clock = ManualClock(NOON)

    with open_database() as engine:
        for batch in made:
            CallRepository(engine).add(batch)
        for index, cost in corrections if everything else ():
            call = everything[index % len(everything)]
            Corrections(engine, clock).correct(call.call_id, cost, by="somebody", reason="a wrong price")
            costs[call.call_id] = cost
        rows = UsageReport(engine).usage(group_by, since=since, until=until, consumer=consumer)

    wanted = [
        call
        for call in everything
        if (since is None or call.created_at >= since)
        and (until is None or call.created_at < until)
        and consumer in (None, call.consumer)
    ]
    assert [tuple(row.group.values()) for row in rows] == sorted(by_hand(wanted, costs, group_by))
    assert {tuple(row.group.values()): figures(row) for row in rows} == by_hand(wanted, costs, group_by)


@pytest.mark.parametrize(
    ("since", "until"),
    [(None, None), (NOON, None), (None, NOON), (NOON - timedelta(hours=30), NOON)],
)
def test_whole_hours_are_reported_without_a_look_at_the_calls(
    engine: Engine, make_call: MakeCall, since: datetime | None, until: datetime | None
) -> None:
    """Their number does not matter then."""
    CallRepository(engine).add([make_call(created_at=NOON - timedelta(minutes=1)), make_call(created_at=NOON)])
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *seen: asked.append(seen[2]))

    UsageReport(engine).usage(["consumer"], since=since, until=until)

    assert not [statement for statement in asked if re.search(r"FROM calls\b", statement)]
    assert any("usage_rollups" in statement for statement in asked)


def test_a_call_that_is_added_again_counts_once(engine: Engine, make_call: MakeCall) -> None:
    """A commit whose confirmation was lost is tried again."""
    first, second = make_call(), make_call()
    CallRepository(engine).add([first])

    CallRepository(engine).add([first, second])
    CallRepository(engine).add([first, second])

    assert [row.calls for row in UsageReport(engine).usage()] == [2]


def test_a_batch_that_was_refused_counts_nothing(engine: Engine, make_call: MakeCall) -> None:
    """Calls and sums stand or fall together."""
    CallRepository(engine).add([make_call()])

    with pytest.raises(Exception, match="amount of money"):
        CallRepository(engine).add([make_call(), make_call(costs=(Decimal("NaN"),))])

    assert [row.calls for row in UsageReport(engine).usage()] == [1]


def test_writers_at_the_same_time_lose_nothing(engine: Engine, make_call: MakeCall) -> None:
    """Though they add to the same sums in any order, and wait for each other."""
    names = [("a", "b"), ("b", "a"), ("c", "a"), ("b", "c")]
    batches = [[make_call(consumer=name, created_at=NOON) for name in names[index % 4]] for index in range(40)]

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(CallRepository(engine).add, batches))

    assert [(row.group["consumer"], row.calls) for row in UsageReport(engine).usage(["consumer"])] == [
        ("a", 30),
        ("b", 30),
        ("c", 20),
    ]


def test_a_corrected_cost_is_known(engine: Engine, make_call: MakeCall) -> None:
    """It counts in the hour of its call, not in that of the correction."""
    priced, unpriced = make_call(created_at=NOON, costs=(Decimal("0.5"),)), make_call(created_at=NOON, costs=(None,))
    CallRepository(engine).add([priced, unpriced])
    corrections = Corrections(engine, ManualClock(NOON + timedelta(days=3)))

    for call in (priced, unpriced):
        corrections.correct(call.call_id, Decimal("0.01"), by="somebody", reason="a wrong price")
    (whole,) = UsageReport(engine).usage(["day"])
    (cut,) = UsageReport(engine).usage(["day"], since=NOON, until=NOON + timedelta(minutes=1))

    assert (whole.cost_usd, whole.unknown_cost_calls) == (Decimal("0.02"), 0)
    assert cut == whole


def test_a_call_taken_for_an_orphan_counts_once_in_the_end(engine: Engine, make_call: MakeCall) -> None:
    """Its process was thought dead, and lived."""
    call = make_call(created_at=NOON, costs=(Decimal("0.25"),), is_held=True)
    hold = Hold(
        call_id=call.call_id,
        consumer=call.consumer,
        task=call.task,
        prompt_version=1,
        model=call.model,
        created_at=NOON,
        owner="asleep",
        amount_usd=Decimal(1),
    )
    LedgerRepository(engine).hold([hold])
    repository, report = CallRepository(engine), UsageReport(engine)

    repository.settle_orphans(lambda _: False)
    (orphan,) = report.usage()
    repository.add([call])
    (whole,) = report.usage()
    (cut,) = report.usage(until=NOON + timedelta(minutes=1))

    assert (orphan.calls, orphan.failed_calls, orphan.cost_usd, orphan.unknown_cost_calls) == (1, 1, None, 1)
    assert (whole.calls, whole.failed_calls, whole.cost_usd) == (1, 0, Decimal("0.25"))
    assert cut == whole


def test_an_hour_that_left_the_log_counts_whole(engine: Engine, make_call: MakeCall) -> None:
    """Also where a period begins within it; the hours beside it are cut as ever."""
    offsets = [0, 30, 60, 90]
    CallRepository(engine).add([make_call(created_at=NOON + timedelta(minutes=offset)) for offset in offsets])
    with engine.begin() as connection:
        connection.execute(delete(calls).where(calls.c.created_at < NOON + timedelta(minutes=45)))
    report = UsageReport(engine)

    gone = report.usage(since=NOON + timedelta(minutes=15))
    logged = report.usage(since=NOON + timedelta(minutes=75))
    up_to = report.usage(until=NOON + timedelta(minutes=15))

    assert [row.calls for row in (*gone, *logged, *up_to)] == [4, 1, 2]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_calls_from_before_there_were_sums_are_added_up(
    kind: str, request: pytest.FixtureRequest, make_call: MakeCall
) -> None:
    """Once, by the migration, exactly as if they had been counted when they were made; no money is booked for them."""
    engine: Engine = request.getfixturevalue(f"{kind}_engine")
    config = Config()
    config.set_main_option("script_location", "feedback_gateway.storage:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    tiny, large = Decimal("0.000000000000000001"), Decimal(999_999_999_999)
    old = [
        make_call(created_at=NOON + timedelta(minutes=17 * index, microseconds=index), task=task, costs=(cost,))
        for index, (task, cost) in enumerate((task, cost) for task in "xyz" for cost in (tiny, None, large) * 60)
    ]
    younger = ("client_call_id", "purpose", "beside", "taxonomy_version")
    rows = [{name: value for name, value in call_row(call).items() if name not in younger} for call in old]
    with engine.begin() as connection:
        connection.execute(insert(calls), rows)

    upgrade(engine)

    with engine.connect() as connection:
        migrated = connection.execute(select(usage_rollups)).all()
        lines = [connection.scalar(select(func.count()).select_from(table)) for table in (ledger, spend)]
    with engine.begin() as connection:
        connection.execute(delete(calls))
        connection.execute(delete(usage_rollups))
    CallRepository(engine).add(old)
    with engine.connect() as connection:
        counted = connection.execute(select(usage_rollups)).all()
    assert sorted(migrated) == sorted(counted)
    assert {row.grain for row in migrated} == {"hour", "day"}
    assert lines == [0, 0]
