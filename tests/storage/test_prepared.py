"""Statements that are compiled once: they say, convert and raise what SQLAlchemy would."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Engine, Integer, MetaData, Table, Text, bindparam, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from feedback_gateway.errors import Unavailable
from feedback_gateway.storage.columns import EXACT, ListOfAmounts, Money, UtcDateTime, exact_sum
from feedback_gateway.storage.engine import storage_errors, writing, writing_in_passing
from feedback_gateway.storage.prepared import CHUNKS, Prepared, PreparedRows, chunks_of, grown, one_of
from feedback_gateway.storage.upserts import delete_rows, insert_rows

notes = Table(
    "notes",
    MetaData(),
    Column("number", Integer, primary_key=True),
    Column("at", UtcDateTime),
    Column("usd", Money),
    Column("said", Text, nullable=False),
)
AT = datetime(2026, 3, 4, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=5)))
AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40)


@pytest.fixture
def engine(engine: Engine) -> Engine:
    """A database with one more table."""
    notes.create(engine)
    return engine


def row(number: int, *, usd: Decimal | None = Decimal("1.50"), said: str | None = "x") -> dict[str, object]:
    """A note."""
    return {"number": number, "at": AT, "usd": usd, "said": said}


def test_any_number_of_rows_is_stored_as_sqlalchemy_would(engine: Engine) -> None:
    """Moments and amounts are converted alike, in every part of the rows."""
    count = sum(CHUNKS) + CHUNKS[0]
    with writing(engine) as connection:
        insert_rows(connection, notes, [row(number) for number in range(count)])
        connection.execute(insert(notes), row(count))
        stored = connection.execute(select(notes).order_by(notes.c.number)).all()

    assert [one.number for one in stored] == list(range(count + 1))
    assert {tuple(one)[1:] for one in stored} == {(AT.astimezone(UTC), Decimal("1.50"), "x")}


def test_rows_go_by_their_keys(engine: Engine) -> None:
    """Those that are named, and no others; none is named by an empty list."""
    with writing(engine) as connection:
        insert_rows(connection, notes, [row(number) for number in range(200)])
        delete_rows(connection, notes.c.number, [number for number in range(200) if number % 3])
        delete_rows(connection, notes.c.number, [])
        left = connection.scalars(select(notes.c.number).order_by(notes.c.number)).all()

    assert left == list(range(0, 200, 3))


def test_texts_over_many_rows_are_those_that_sqlalchemy_would_compile(engine: Engine) -> None:
    """Grown out of the texts over one and two."""

    def compiled(count: int) -> str:
        statement = select(notes.c.said).where(one_of(notes.c.number, count), notes.c.said != "y")
        return str(statement.compile(dialect=type(engine.dialect)(paramstyle="format")))  # type: ignore[call-arg]

    for count in CHUNKS:
        assert grown(compiled(1), compiled(2), count) == compiled(count)


@settings(deadline=None)
@given(count=st.integers(0, 500))
def test_parts_are_all_of_the_rows_in_their_order(count: int) -> None:
    """And each of a size that there is a text for."""
    rows = [{"number": number} for number in range(count)]

    parts = list(chunks_of(rows))

    assert [one for part in parts for one in part] == rows
    assert {len(part) for part in parts} <= set(CHUNKS)


def test_what_is_read_is_what_is_stored(engine: Engine) -> None:
    """By values with the types of their columns, and by lists of them."""
    by_moment = Prepared(select(notes.c.number).where(notes.c.at == bindparam("at", type_=UtcDateTime())))
    by_number = PreparedRows(
        lambda _, count: select(notes.c.said).where(one_of(notes.c.number, count)), [notes.c.number]
    )
    with writing(engine) as connection:
        insert_rows(connection, notes, [row(1, said="one"), row(2, said="two")])
        numbers = by_moment.read(connection, at=AT.astimezone(UTC))
        none = by_moment.read(connection, at=AT + timedelta(microseconds=1))
        said = by_number.read(connection, [{"number": number} for number in range(2, 90)])

    assert sorted(tuple(one) for one in numbers) == [(1,), (2,)]
    assert list(none) == []
    assert [tuple(one) for one in said] == [("two",)]


def test_row_that_the_database_refuses_is_the_rows_error(engine: Engine) -> None:
    """As SQLAlchemy raises it, without what the row holds."""
    with pytest.raises(IntegrityError) as caught, writing(engine) as connection:
        insert_rows(connection, notes, [row(number, said=None if number else "planted") for number in range(3)])

    assert "planted" not in str(caught.value)


def test_database_that_cannot_do_it_is_unavailable(engine: Engine) -> None:
    """A table that is not there, say."""
    gone = Prepared(select(Table("gone", MetaData(), Column("one", Integer)).c.one))

    with pytest.raises(Unavailable) as caught, storage_errors(engine), engine.connect() as connection:
        gone.read(connection)

    assert isinstance(caught.value.__cause__, DBAPIError)


@settings(deadline=None)
@given(amounts=st.lists(AMOUNTS))
def test_sum_of_amounts_is_exact(amounts: list[Decimal]) -> None:
    """In whatever order."""
    assert exact_sum(amounts) == exact_sum(reversed(amounts)) == EXACT.subtract(exact_sum([*amounts, Decimal(1)]), 1)


def test_list_of_amounts_has_each_to_the_last_digit(engine: Engine) -> None:
    """But those that are unknown; and nothing is listed of none."""
    amounts = Prepared(select(ListOfAmounts(notes.c.usd)).where(notes.c.said == bindparam("said")))
    known = [Decimal("0.000000000000000000000000000012"), Decimal(-3), Decimal("1E+30")]
    with writing(engine) as connection:
        insert_rows(connection, notes, [row(number, usd=usd) for number, usd in enumerate([*known, None])])
        insert_rows(connection, notes, [row(9, usd=None, said="unknown")])
        found = [amounts.read(connection, said=said)[0][0] for said in ("x", "unknown", "nobody")]

    assert sorted(map(Decimal, found[0].split(","))) == sorted(known)
    assert found[1:] == [None, None]


def test_only_what_is_soon_over_is_written_without_waiting_for_the_disk(sqlite_engine: Engine) -> None:
    """The next transaction on the same connection waits for it again."""

    def synchronous(write: object) -> int:
        with write(sqlite_engine) as connection:  # type: ignore[operator]
            found: int = connection.scalar(text("PRAGMA synchronous"))
            return found

    assert [synchronous(one) for one in (writing, writing_in_passing, writing_in_passing, writing)] == [2, 1, 1, 2]
