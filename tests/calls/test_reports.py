"""Usage by consumer, task, model and day."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from feedback_gateway.calls.models import Call
from feedback_gateway.calls.reports import UsageReport, as_csv, parse_groupings, parse_moment
from feedback_gateway.calls.repository import CallRepository
from feedback_gateway.errors import InvalidRequest
from tests.databases import OpenDatabase

MakeCall = Callable[..., Call]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
COSTS = st.integers(1, 18).flatmap(lambda places: st.decimals(0, 1000, allow_nan=False, places=places))


def test_calls_are_counted_by_group(engine: Engine, make_call: MakeCall) -> None:
    """Each combination that occurs has a row, in order."""
    CallRepository(engine).add(
        [
            make_call(consumer="support", task="classify"),
            make_call(consumer="support", task="classify", cached=True, costs=()),
            make_call(consumer="support", task="sentiment", status="failed", error="provider-failed"),
            make_call(consumer="product", task="classify", status="cancelled"),
        ]
    )

    rows = UsageReport(engine).usage(["consumer", "task"])

    assert [(dict(row.group), row.calls, row.cached_calls, row.failed_calls) for row in rows] == [
        ({"consumer": "product", "task": "classify"}, 1, 0, 0),
        ({"consumer": "support", "task": "classify"}, 2, 1, 0),
        ({"consumer": "support", "task": "sentiment"}, 1, 0, 1),
    ]


def test_a_row_has_the_names_that_callers_rely_on(engine: Engine, make_call: MakeCall) -> None:
    """The grouping fields first."""
    CallRepository(engine).add([make_call(created_at=NOW)])

    (row,) = UsageReport(engine).usage(["day", "model"])

    assert row.fields() == {
        "day": "2026-03-01",
        "model": "default",
        "calls": 1,
        "cached_calls": 0,
        "failed_calls": 0,
        "input_tokens": 310,
        "cached_input_tokens": 10,
        "output_tokens": 58,
        "cost_usd": Decimal("0.0001935"),
        "saved_usd": Decimal(0),
        "unknown_cost_calls": 0,
    }


def test_no_calls_make_no_rows(engine: Engine) -> None:
    """With and without grouping."""
    assert UsageReport(engine).usage() == []
    assert UsageReport(engine).usage(["day"]) == []


def test_unknown_costs_are_counted_and_never_taken_for_zero(engine: Engine, make_call: MakeCall) -> None:
    """A sum of nothing known is unknown itself."""
    CallRepository(engine).add(
        [make_call(task="a", costs=(None,)), make_call(task="b", costs=(None,)), make_call(task="b")]
    )

    unknown, partly = UsageReport(engine).usage(["task"])

    assert (unknown.cost_usd, unknown.unknown_cost_calls) == (None, 1)
    assert (partly.cost_usd, partly.unknown_cost_calls) == (Decimal("0.0001935"), 1)


def test_days_are_utc_days_and_periods_exclude_their_end(engine: Engine, make_call: MakeCall) -> None:
    """A call at midnight belongs to the day that begins."""
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    moments = [midnight - timedelta(microseconds=1), midnight, midnight + timedelta(days=1)]
    CallRepository(engine).add([make_call(created_at=moment) for moment in moments])
    report = UsageReport(engine)

    days = [row.group["day"] for row in report.usage(["day"])]
    within = report.usage(["day"], since=midnight, until=midnight + timedelta(days=1))

    assert days == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert [row.group["day"] for row in within] == ["2026-03-02"]


def test_one_consumers_report_holds_nobody_elses(engine: Engine, make_call: MakeCall) -> None:
    """What a key without admin rights may see."""
    CallRepository(engine).add([make_call(consumer="support"), make_call(consumer="product")])

    rows = UsageReport(engine).usage(["consumer"], consumer="support")

    assert [row.group["consumer"] for row in rows] == ["support"]


@settings(max_examples=40, deadline=None)
@given(
    booked=st.lists(st.tuples(st.sampled_from("abc"), st.lists(COSTS | st.none(), max_size=3)), min_size=1, max_size=20)
)
def test_the_report_equals_the_sum_of_fractions(
    open_database: OpenDatabase, make_call: MakeCall, booked: list[tuple[str, list[Decimal | None]]]
) -> None:
    """For costs of 1 to 18 places, by group and over all."""
    known = [(task, sum(map(Fraction, costs))) for task, costs in booked if None not in costs]  # type: ignore[arg-type]

    with open_database() as engine:
        CallRepository(engine).add([make_call(task=task, costs=costs) for task, costs in booked])
        rows = UsageReport(engine).usage(["task"])

    for row in rows:
        expected = [cost for task, cost in known if task == row.group["task"]]
        assert (None if row.cost_usd is None else Fraction(row.cost_usd)) == (sum(expected) if expected else None)
        assert row.calls - row.unknown_cost_calls == len(expected)
    assert sum(row.calls for row in rows) == len(booked)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("24h", NOW - timedelta(hours=24)),
        ("7d", NOW - timedelta(days=7)),
        (" 2w ", NOW - timedelta(weeks=2)),
        ("90m", NOW - timedelta(minutes=90)),
        ("30s", NOW - timedelta(seconds=30)),
        ("2026-02-28", datetime(2026, 2, 28, tzinfo=UTC)),
        ("2026-02-28T10:30:00", datetime(2026, 2, 28, 10, 30, tzinfo=UTC)),
        ("2026-02-28T10:30:00Z", datetime(2026, 2, 28, 10, 30, tzinfo=UTC)),
        ("2026-02-28T10:30:00+02:00", datetime(2026, 2, 28, 8, 30, tzinfo=UTC)),
        ("2026-02-28T10:30:00 02:00", datetime(2026, 2, 28, 8, 30, tzinfo=UTC)),
        ("2026-02-28 10:30", datetime(2026, 2, 28, 10, 30, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read(text: str, moment: datetime) -> None:
    """Ago, as a date, or as a time; in UTC where no zone is named."""
    assert parse_moment(text, now=NOW) == moment


@pytest.mark.parametrize(
    "text", ["", "soon", "24", "h", "-24h", "1.5h", "999999999w", "2026-02-30", "0001-01-01T00:00:00+02:00"]
)
def test_a_moment_that_cannot_be_is_refused_by_name(text: str) -> None:
    """With what could be written instead."""
    with pytest.raises(InvalidRequest, match="24h") as caught:
        parse_moment(text, now=NOW, name="until")

    assert caught.value.problems[0].loc == ("until",)


@given(text=st.text())
def test_no_text_breaks_the_reading_of_moments(text: str) -> None:
    """A moment with a zone, or InvalidRequest."""
    try:
        moment = parse_moment(text, now=NOW)
    except InvalidRequest:
        return
    assert moment.tzinfo is UTC


def test_groupings_are_read_in_their_order() -> None:
    """Blanks and empty parts do no harm."""
    assert parse_groupings("day, consumer,") == ("day", "consumer")
    assert parse_groupings("") == ()


@pytest.mark.parametrize("value", ["colour", "day,day", "day,colour"])
def test_groupings_that_cannot_be_are_refused(value: str) -> None:
    """The detail lists those there are."""
    with pytest.raises(InvalidRequest, match="consumer, task, model, day"):
        parse_groupings(value)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_spreadsheet_runs_a_cell(text: str) -> None:
    """In a value or in a heading."""
    header, row = csv.reader(io.StringIO(as_csv([{text: text}]), newline=""))

    assert header == [f"'{text}"]
    assert row == [f"'{text}"]


def test_csv_holds_exact_numbers_and_empty_cells_for_what_is_unknown() -> None:
    """No exponent, no `None`, and quotes where a comma stands."""
    rows: list[dict[str, Any]] = [
        {"task": "a,b", "calls": 2, "cost_usd": Decimal("2.5E-7")},
        {"task": "c", "calls": 0, "cost_usd": None},
    ]

    assert as_csv(rows) == 'task,calls,cost_usd\r\n"a,b",2,0.00000025\r\nc,0,\r\n'
    assert as_csv([]) == ""
