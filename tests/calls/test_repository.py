"""Storing calls and walking through them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from feedback_gateway.calls.models import Call
from feedback_gateway.calls.repository import (
    CallFilters,
    CallRepository,
    decode_cursor,
    encode_cursor,
    parse_filters,
)
from feedback_gateway.calls.tables import calls
from feedback_gateway.errors import InvalidRequest, NotFound
from feedback_gateway.llm.models import Usage
from tests.databases import OpenDatabase

MakeCall = Callable[..., Call]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def walk(repository: CallRepository, filters: CallFilters, *, limit: int) -> list[str]:
    """The ids on all pages."""
    page = repository.page(filters, limit=limit)
    ids = [record.call_id for record in page.data]
    while page.next_cursor:
        page = repository.page(filters, limit=limit, cursor=page.next_cursor)
        ids += [record.call_id for record in page.data]
    return ids


def test_a_call_comes_back_with_its_sums(engine: Engine, make_call: MakeCall) -> None:
    """Tokens and cost of all its attempts, to the last digit."""
    usage = Usage(
        uncached_input_tokens=100, cache_read_tokens=20, cache_write_tokens=3, output_tokens=50, reasoning_tokens=7
    )
    call = make_call(costs=(Decimal("0.1"), Decimal("0.000000000000000002")), usage=usage, latency_ms=412.6789)

    CallRepository(engine).add([call])
    record, attempts = CallRepository(engine).get(call.call_id)

    assert record.created_at == call.created_at
    assert record.latency_ms == 412.679
    assert record.attempt_count == len(attempts) == 2
    assert (record.input_tokens, record.cached_input_tokens, record.cache_write_tokens) == (246, 40, 6)
    assert (record.output_tokens, record.reasoning_tokens) == (100, 14)
    assert record.cost_usd == Decimal("0.100000000000000002")
    assert [attempt.cost_usd for attempt in attempts] == [Decimal("0.1"), Decimal("0.000000000000000002")]
    assert attempts[0].uncached_input_tokens == 100


def test_one_unpriced_attempt_makes_the_cost_of_its_call_unknown(engine: Engine, make_call: MakeCall) -> None:
    """A part of the price is not the price."""
    call = make_call(costs=(Decimal("0.1"), None))

    CallRepository(engine).add([call])

    assert CallRepository(engine).get(call.call_id)[0].cost_usd is None


def test_an_attempt_cut_off_before_its_usage_was_known_makes_the_cost_unknown(
    engine: Engine, make_call: MakeCall
) -> None:
    """The provider may have billed it."""
    call = make_call(costs=(None,), usage=None)
    call.attempts[0].status = "abandoned"

    CallRepository(engine).add([call])
    record, (attempt,) = CallRepository(engine).get(call.call_id)

    assert record.cost_usd is None
    assert attempt.output_tokens is None
    assert attempt.cost_usd is None


def test_an_attempt_that_the_provider_refused_costs_nothing(engine: Engine, make_call: MakeCall) -> None:
    """An error with no usage is known to be free."""
    call = make_call(costs=(None,), usage=None, status="failed", error="provider-failed")
    call.attempts[0].status, call.attempts[0].error = "failed", "provider-unavailable"

    CallRepository(engine).add([call])

    assert CallRepository(engine).get(call.call_id)[0].cost_usd == 0


def test_estimated_usage_is_marked(engine: Engine, make_call: MakeCall) -> None:
    """On the attempt and on its call."""
    call = make_call(usage=Usage(output_tokens=3, estimated=True))

    CallRepository(engine).add([call])
    record, (attempt,) = CallRepository(engine).get(call.call_id)

    assert record.usage_estimated
    assert attempt.usage_estimated


def test_adding_again_changes_nothing(engine: Engine, make_call: MakeCall) -> None:
    """A commit whose confirmation was lost is tried again."""
    first, second = make_call(), make_call()
    repository = CallRepository(engine)
    repository.add([first])

    repository.add([first, second])
    repository.add([first, second])

    assert walk(repository, CallFilters(), limit=10) == [second.call_id, first.call_id]
    assert repository.get(first.call_id)[0].attempt_count == 1


def test_a_batch_is_stored_whole_or_not_at_all(engine: Engine, make_call: MakeCall) -> None:
    """One row that cannot be keeps its batch out."""
    good, bad = make_call(), make_call(costs=(Decimal("NaN"),))
    repository = CallRepository(engine)

    with pytest.raises(SQLAlchemyError):
        repository.add([good, bad])

    assert repository.page(CallFilters()).data == ()


def test_an_unknown_call_is_not_found(engine: Engine, make_call: MakeCall) -> None:
    """Nor is somebody else's, nor an id that could be none."""
    call = make_call(consumer="support")
    repository = CallRepository(engine)
    repository.add([call])

    with pytest.raises(NotFound):
        repository.get("01J00000000000000000000000")
    with pytest.raises(NotFound):
        repository.get(call.call_id, consumer="product")
    with pytest.raises(NotFound):
        repository.get("\ud800\0")
    assert repository.get(call.call_id, consumer="support")[0].consumer == "support"


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [
        ("consumer", "support", "product"),
        ("task", "classify", "sentiment"),
        ("model", "default", "cheap"),
        ("deployment", "openai/a", None),
        ("status", "failed", "ok"),
        ("cached", True, False),
        ("prompt_version", 2, 1),
    ],
)
def test_each_filter_keeps_what_it_names(
    engine: Engine, make_call: MakeCall, name: str, value: object, other: object
) -> None:
    """And nothing else."""
    wanted, unwanted = make_call(**{name: value}), make_call(**{name: other})
    repository = CallRepository(engine)
    repository.add([wanted, unwanted])

    filters = parse_filters({name: str(value)}, now=NOW)

    assert walk(repository, filters, limit=1) == [wanted.call_id]


def test_since_is_included_and_until_is_not(engine: Engine, make_call: MakeCall) -> None:
    """So that periods side by side count every call once."""
    early, late = make_call(created_at=NOW), make_call(created_at=NOW + timedelta(hours=1))
    repository = CallRepository(engine)
    repository.add([early, late])

    period = parse_filters({"since": "2026-03-01T12:00:00Z", "until": "2026-03-01T13:00:00Z"}, now=NOW)

    assert walk(repository, period, limit=10) == [early.call_id]


def test_every_wrong_filter_is_named() -> None:
    """All at once, by place."""
    values = {"colour": "red", "cached": "perhaps", "prompt_version": "9" * 30, "since": "soon", "task": "a\0b"}

    with pytest.raises(InvalidRequest) as caught:
        parse_filters(values, now=NOW)

    assert {problem.loc for problem in caught.value.problems} == {(name,) for name in values}


@pytest.mark.parametrize("limit", [-1, 0, 201])
def test_a_limit_out_of_range_is_refused(engine: Engine, limit: int) -> None:
    """At most 200 rows a page."""
    with pytest.raises(InvalidRequest) as caught:
        CallRepository(engine).page(CallFilters(), limit=limit)

    assert caught.value.problems[0].loc == ("limit",)


@given(
    cursor=st.text()
    | st.binary().map(lambda raw: raw.hex())
    | st.sampled_from(["", "AAAA", "OTk5OTk5OTk5OTk5OTk5OTk5IGE"])
)
def test_a_cursor_that_we_did_not_give_out_is_refused(cursor: str) -> None:
    """Whatever it is: never an exception of another kind."""
    with pytest.raises(InvalidRequest) as caught:
        decode_cursor(cursor)

    assert caught.value.problems[0].loc == ("cursor",)


def test_a_cursor_holds_its_place_to_the_microsecond(engine: Engine, make_call: MakeCall) -> None:
    """What is encoded is what is decoded."""
    call = make_call(created_at=datetime(2026, 3, 1, 1, 2, 3, 999_999, tzinfo=UTC))
    repository = CallRepository(engine)
    repository.add([call])

    cursor = encode_cursor(repository.get(call.call_id)[0])

    assert decode_cursor(cursor) == (call.created_at, call.call_id)


@settings(max_examples=40, deadline=None)
@given(
    ages=st.lists(st.integers(0, 5), min_size=1, max_size=30),
    arrivals=st.lists(st.integers(-2, 7), max_size=30),
    limit=st.integers(1, 7),
)
def test_pages_neither_skip_nor_repeat_while_rows_arrive(
    open_database: OpenDatabase, make_call: MakeCall, ages: list[int], arrivals: list[int], limit: int
) -> None:
    """Every call that was there at the start comes once, newest first, though many share a moment."""
    present = [make_call(created_at=NOW - timedelta(microseconds=age)) for age in ages]
    seen: list[tuple[datetime, str]] = []
    cursor: str | None = None

    with open_database() as engine:
        repository = CallRepository(engine)
        repository.add(present)
        while True:
            page = repository.page(CallFilters(), limit=limit, cursor=cursor)
            seen += [(record.created_at, record.call_id) for record in page.data]
            if arrivals:
                repository.add([make_call(created_at=NOW - timedelta(microseconds=arrivals.pop()))])
            cursor = page.next_cursor
            if cursor is None:
                break

    assert seen == sorted(set(seen), reverse=True)
    assert {call.call_id for call in present} <= {call_id for _, call_id in seen}


def test_a_call_takes_less_than_a_kilobyte(sqlite_engine: Engine, database_file: Path, make_call: MakeCall) -> None:
    """Its attempts, indexes and the file's own needs included."""
    repository = CallRepository(sqlite_engine)
    before = database_file.stat().st_size

    repository.add([make_call() for _ in range(2000)])
    sqlite_engine.dispose()

    assert (database_file.stat().st_size - before) / 2000 < 1000


def test_a_row_without_attempts_needs_none(engine: Engine, make_call: MakeCall) -> None:
    """A cached answer asked nobody."""
    call = make_call(costs=(), cached=True)

    CallRepository(engine).add([call])
    record, attempts = CallRepository(engine).get(call.call_id)

    assert record.cached
    assert record.cost_usd == 0
    assert attempts == ()


def test_what_the_database_refuses_for_its_content_is_raised_as_it_is(engine: Engine, make_call: MakeCall) -> None:
    """The writer must tell a bad row from a bad database."""
    bad = make_call(consumer=None)

    with pytest.raises(SQLAlchemyError):
        CallRepository(engine).add([bad])

    with engine.connect() as connection:
        assert connection.execute(calls.select()).all() == []
