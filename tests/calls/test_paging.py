"""A walk through the log, newest first, while calls arrive late and out of order, and old ones leave."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, event

from feedback_gateway.calls.models import Call
from feedback_gateway.calls.repository import CallFilters, CallRepository
from feedback_gateway.calls.tables import calls
from tests.benchmarks.call_log import SPAN, START, fill
from tests.databases import OpenDatabase

MakeCall = Callable[..., Call]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
Position = tuple[datetime, str]
ages = st.integers(0, 9)
arrivals = st.tuples(st.just("arrive"), st.lists(st.tuples(ages, st.sampled_from("ab")), min_size=1, max_size=4))
steps = st.lists(
    st.tuples(st.just("turn"), st.integers(1, 4)) | arrivals | st.tuples(st.just("expire"), st.integers(5, 11)),
    max_size=25,
)


def position(call: Call) -> Position:
    """Where a call stands in the log."""
    return call.created_at, call.call_id


class Walk:
    """Page by page, beside a log kept by hand: `owed` is what must still come, `met` what came."""

    def __init__(self, engine: Engine, make_call: MakeCall, filters: CallFilters) -> None:
        self._engine = engine
        self._repository = CallRepository(engine)
        self._make_call = make_call
        self._filters = filters
        self._cursor: str | None = None
        self.is_over = False
        self.owed: set[Position] = set()
        self.met: list[Position] = []

    def arrive(self, batch: list[tuple[int, str]]) -> None:
        """Calls are logged; those that began before where the walk is are still to come."""
        made = [self._make_call(created_at=NOW - timedelta(microseconds=age), consumer=name) for age, name in batch]
        self._repository.add(made)
        wanted = [call for call in made if self._filters.consumer in (None, call.consumer)]
        self.owed |= {position(call) for call in wanted if not self.met or position(call) < self.met[-1]}

    def expire(self, age: int) -> None:
        """Retention takes what is older; nobody is owed that any more."""
        edge = NOW - timedelta(microseconds=age)
        with self._engine.begin() as connection:
            connection.execute(delete(calls).where(calls.c.created_at < edge))
        self.owed = {place for place in self.owed if place[0] >= edge}

    def turn(self, limit: int) -> None:
        """Read one page."""
        if self.is_over:
            return
        page = self._repository.page(self._filters, limit=limit, cursor=self._cursor)
        met = [(record.created_at, record.call_id) for record in page.data]
        assert met == sorted(self.owed, reverse=True)[: len(met)]
        self.owed -= set(met)
        self.met += met
        self._cursor, self.is_over = page.next_cursor, page.next_cursor is None


@settings(max_examples=60, deadline=None)
@given(before=arrivals, steps=steps, consumer=st.none() | st.just("a"))
def test_a_walk_meets_every_call_that_is_not_behind_it_once_and_in_order(
    open_database: OpenDatabase,
    make_call: MakeCall,
    before: tuple[str, Any],
    steps: list[tuple[str, Any]],
    consumer: str | None,
) -> None:
    """Those that share a moment, those that arrive late, and not those that left; each page is the next of the log."""
    with open_database() as engine:
        walk = Walk(engine, make_call, CallFilters(consumer=consumer))
        for name, argument in [before, *steps]:
            getattr(walk, name)(argument)
        is_whole = not walk.is_over
        while not walk.is_over:
            walk.turn(3)

    assert walk.met == sorted(set(walk.met), reverse=True)
    assert not (is_whole and walk.owed)


def test_a_walk_among_writers_meets_each_call_once(engine: Engine, make_call: MakeCall) -> None:
    """They add calls before and behind it, at the same moments, in transactions that overlap its pages."""
    repository, random = CallRepository(engine), Random(7)
    moments = [NOW + timedelta(microseconds=random.randrange(50)) for _ in range(700)]
    there, others = moments[:300], moments[300:]
    present = [make_call(created_at=moment) for moment in there]
    batches = [[make_call(created_at=moment) for moment in others[start : start + 5]] for start in range(0, 400, 5)]
    repository.add(present)
    met: list[Position] = []

    with ThreadPoolExecutor(3) as writers:
        writing = [writers.submit(repository.add, batch) for batch in batches]
        page = repository.page(CallFilters(), limit=7)
        met += [(record.created_at, record.call_id) for record in page.data]
        while page.next_cursor:
            page = repository.page(CallFilters(), limit=7, cursor=page.next_cursor)
            met += [(record.created_at, record.call_id) for record in page.data]
        for one in writing:
            one.result()

    assert met == sorted(set(met), reverse=True)
    assert {position(call) for call in present} <= set(met)


@pytest.mark.parametrize("consumer", [None, "consumer-3"])
@pytest.mark.parametrize("since", [None, START + SPAN / 3])
def test_an_index_serves_every_page(engine: Engine, consumer: str | None, since: datetime | None) -> None:
    """Wherever the walk is: nothing is sorted, and nothing is read that is not on the page."""
    fill(engine, calls=5_000, with_attempts=False)
    repository, asked = CallRepository(engine), []
    filters = CallFilters(consumer=consumer, since=since)
    cursor = repository.page(filters, limit=20).next_cursor
    event.listen(engine, "before_cursor_execute", lambda *seen: asked.append(seen[2:4]))

    repository.page(filters, limit=20, cursor=cursor)

    statement, values = asked[-1]
    is_sqlite = engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
        steps = connection.exec_driver_sql(f"{explain} {statement}", values).all()
    plan = " ".join(str(step[-1]) for step in steps)
    index = "ix_calls_created_at_call_id" if consumer is None else "ix_calls_consumer_created_at_call_id"
    assert index in plan
    assert re.search(r"SEARCH calls" if is_sqlite else r"Index Scan Backward.*Index Cond.*ROW\(created_at", plan)
    assert not re.search(r"TEMP B-TREE|SCAN calls|Sort|Seq Scan", plan)
