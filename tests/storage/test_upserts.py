"""Rows that are inserted, or change the ones that are there."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, Engine, Integer, MetaData, Table, Text, UniqueConstraint

from feedback_gateway.storage.columns import Money
from feedback_gateway.storage.engine import writing
from feedback_gateway.storage.upserts import insert_or_update
from tests.databases import OpenDatabase

totals = Table(
    "totals",
    MetaData(),
    Column("task", Text, primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("calls", BigInteger),
    Column("cost_usd", Money),
    Column("note", Text),
    Column("code", Integer),
    UniqueConstraint("code"),
)
KEYS = {"task": "a", "day": 1}
booked = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(1, 2), st.integers(0, 9) | st.none(), st.decimals(0, 9, places=9))
)


@pytest.fixture(scope="module")
def database(open_database: OpenDatabase) -> Iterator[Engine]:
    """A database with one more table, of totals."""
    with open_database() as engine:
        totals.create(engine)
        yield engine
        totals.drop(engine)


@pytest.fixture
def engine(database: Engine) -> Engine:
    """The same, with the table empty."""
    with database.begin() as connection:
        connection.execute(totals.delete())
    return database


def upsert(engine: Engine, *rows: Mapping[str, Any], **how: Sequence[str]) -> None:
    """One transaction of it."""
    with writing(engine) as connection:
        insert_or_update(connection, totals, rows, **how)


def stored(engine: Engine) -> list[Any]:
    """Every row."""
    with engine.connect() as connection:
        return list(connection.execute(totals.select().order_by(totals.c.task, totals.c.day)).all())


def test_numbers_are_added_and_the_rest_is_replaced_or_kept(engine: Engine) -> None:
    """As each column is named; a column that is not named stays."""
    upsert(engine, KEYS | {"calls": 1, "cost_usd": Decimal("0.1"), "note": "first", "code": 1})

    upsert(
        engine,
        KEYS | {"calls": 2, "cost_usd": Decimal("0.000000000000000002"), "note": "second", "code": 2},
        add=["calls", "cost_usd"],
        replace=["note"],
    )

    assert [tuple(row) for row in stored(engine)] == [("a", 1, 3, Decimal("0.100000000000000002"), "second", 1)]


def test_what_is_stored_wins_unless_told_otherwise(engine: Engine) -> None:
    """So that an insert may be tried again."""
    upsert(engine, KEYS | {"note": "first"})

    upsert(engine, KEYS | {"note": "second"}, {"task": "b", "day": 1, "note": "new"})

    assert [(row.task, row.note) for row in stored(engine)] == [("a", "first"), ("b", "new")]


def test_unknown_numbers_add_nothing(engine: Engine) -> None:
    """Whichever side they stand on."""
    upsert(engine, KEYS | {"calls": None, "cost_usd": None})

    for calls, cost in ((2, Decimal("0.5")), (None, None)):
        upsert(engine, KEYS | {"calls": calls, "cost_usd": cost}, add=["calls", "cost_usd"])

    assert [(row.calls, row.cost_usd) for row in stored(engine)] == [(2, Decimal("0.5"))]


def test_another_unique_key_may_be_named(engine: Engine) -> None:
    """In place of the primary one."""
    upsert(engine, KEYS | {"code": 7, "note": "first"})

    upsert(engine, {"task": "b", "day": 2, "code": 7, "note": "second"}, key=["code"], replace=["note"])

    assert [(row.task, row.note) for row in stored(engine)] == [("a", "second")]


def test_no_rows_are_no_statement(engine: Engine) -> None:
    """Nothing to do."""
    upsert(engine)

    assert stored(engine) == []


@settings(deadline=None)
@given(booked=booked)
def test_totals_are_the_sums_of_what_was_booked(database: Engine, booked: list[Any]) -> None:
    """Exactly, and whether a key comes twice in one batch or in two."""
    with database.begin() as connection:
        connection.execute(totals.delete())
    rows = [{"task": task, "day": day, "calls": calls, "cost_usd": cost} for task, day, calls, cost in booked]

    for batch in (rows[::2], rows[1::2]):
        upsert(database, *batch, add=["calls", "cost_usd"])

    for row in stored(database):
        ours = [one for one in booked if one[:2] == (row.task, row.day)]
        assert (row.calls or 0) == sum(calls or 0 for _, _, calls, _ in ours)
        assert Fraction(row.cost_usd) == sum(Fraction(cost) for *_, cost in ours)
    assert len(stored(database)) == len({one[:2] for one in booked})


def test_writers_of_the_same_rows_do_not_lock_each_other_out(engine: Engine) -> None:
    """Though each names them in another order, nothing is lost and nothing deadlocks."""
    rows = [{"task": task, "day": 1, "calls": 1} for task in "abcdefgh"]

    def write(number: int) -> None:
        for turn in range(10):
            upsert(engine, *rows[:: -1 if (number + turn) % 2 else 1], add=["calls"])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))

    assert [row.calls for row in stored(engine)] == [80] * 8
