"""Money and time on SQLite, and the SQL that PostgreSQL will get."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Engine, Integer, MetaData, Table, insert, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import StatementError
from sqlalchemy.schema import CreateTable

from feedback_gateway.storage.columns import ExactSum, Money, UtcDateTime, UtcDay
from feedback_gateway.storage.engine import open_engine

ledger = Table(
    "ledger",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("amount", Money),
    Column("at", UtcDateTime),
)
amounts = st.decimals(
    min_value=Decimal("-1e12"), max_value=Decimal("1e12"), allow_nan=False, allow_infinity=False
) | st.integers(1, 18).flatmap(lambda places: st.decimals(-(10**6), 10**6, allow_nan=False, places=places))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A database with one table of amounts and moments."""
    folder: Path = tmp_path_factory.mktemp("columns")
    engine = open_engine(f"sqlite:///{folder / 'test.db'}")
    with engine.begin() as connection:
        ledger.create(connection)
    yield engine
    engine.dispose()


def store(engine: Engine, **values: object) -> None:
    """Make `values` the only row."""
    with engine.begin() as connection:
        connection.execute(ledger.delete())
        connection.execute(insert(ledger), values)


@given(amount=amounts)
def test_an_amount_comes_back_digit_for_digit(engine: Engine, amount: Decimal) -> None:
    """Trailing zeros included, whatever its exponent."""
    store(engine, amount=amount)

    with engine.connect() as connection:
        stored = connection.scalar(select(ledger.c.amount))

    assert stored == amount
    assert format(stored, "f") == format(amount, "f")


@given(several=st.lists(amounts, min_size=1, max_size=30))
def test_a_sum_of_amounts_is_exact(engine: Engine, several: list[Decimal]) -> None:
    """Equal to the sum of fractions, for any number of digits."""
    with engine.begin() as connection:
        connection.execute(ledger.delete())
        connection.execute(insert(ledger), [{"amount": amount} for amount in several])

    with engine.connect() as connection:
        total = connection.scalar(select(ExactSum(ledger.c.amount)))

    assert total is not None
    assert Fraction(total) == sum(map(Fraction, several))


def test_a_sum_leaves_out_unknown_amounts_and_of_none_is_unknown(engine: Engine) -> None:
    """NULL is neither zero nor contagious."""
    with engine.begin() as connection:
        connection.execute(ledger.delete())
        connection.execute(insert(ledger), [{"id": 1, "amount": None}, {"id": 2, "amount": Decimal("0.1")}])

    with engine.connect() as connection:
        total = connection.scalar(select(ExactSum(ledger.c.amount)))
        nothing = connection.scalar(select(ExactSum(ledger.c.amount)).where(ledger.c.id == 1))

    assert total == Decimal("0.1")
    assert nothing is None


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity", "1E+101", "1E-101"])
def test_what_is_no_amount_is_refused(engine: Engine, amount: str) -> None:
    """Before the database sees it."""
    with pytest.raises(StatementError, match="no amount of money"):
        store(engine, amount=Decimal(amount))


def test_an_amount_is_plain_text_in_the_file(engine: Engine) -> None:
    """No exponent and no binary number, so that any tool reads it exactly."""
    store(engine, amount=Decimal("2.5E-7"))

    with engine.connect() as connection:
        row = connection.execute(text("SELECT typeof(amount), amount FROM ledger")).one()

    assert tuple(row) == ("text", "0.00000025")


@given(at=st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1)), hours=st.integers(-12, 12))  # noqa: DTZ001
def test_a_moment_comes_back_to_the_microsecond_in_utc(engine: Engine, at: datetime, hours: int) -> None:
    """Whatever zone it was given in; its day is UTC's."""
    moment = at.replace(tzinfo=timezone(timedelta(hours=hours)))
    store(engine, at=moment)

    with engine.connect() as connection:
        stored, day = connection.execute(select(ledger.c.at, UtcDay(ledger.c.at))).one()

    assert stored == moment
    assert stored.tzinfo is UTC
    assert day == moment.astimezone(UTC).date().isoformat()


def test_a_moment_without_a_zone_is_refused(engine: Engine) -> None:
    """Nobody can know when it was."""
    with pytest.raises(StatementError, match="no time zone"):
        store(engine, at=datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_moment_may_be_unknown(engine: Engine) -> None:
    """NULL goes in and comes back."""
    store(engine, at=None)

    with engine.connect() as connection:
        stored = connection.execute(select(ledger.c.at)).scalar_one()

    assert stored is None


def test_postgresql_gets_its_own_exact_types() -> None:
    """NUMERIC without a limit of digits, time with zone, and its own sum and day."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]

    table = str(CreateTable(ledger).compile(dialect=dialect))
    query = str(select(ExactSum(ledger.c.amount), UtcDay(ledger.c.at)).compile(dialect=dialect))

    assert "amount NUMERIC," in table
    assert "at TIMESTAMP WITH TIME ZONE" in table
    assert "sum(ledger.amount)" in query
    assert "to_char(ledger.at AT TIME ZONE 'UTC', 'YYYY-MM-DD')" in query
