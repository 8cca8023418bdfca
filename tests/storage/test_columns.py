"""Money and time mean the same, to the last digit and microsecond, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Engine, Integer, MetaData, Table, insert, literal, select, text
from sqlalchemy.exc import StatementError

from feedback_gateway.storage.columns import ExactAdd, ExactSum, Money, UtcDateTime, UtcDay, UtcHour
from tests.databases import OpenDatabase

ledger = Table(
    "amounts",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("amount", Money),
    Column("at", UtcDateTime),
)
amounts = st.decimals(
    min_value=Decimal("-1e12"), max_value=Decimal("1e12"), allow_nan=False, allow_infinity=False
) | st.integers(1, 18).flatmap(lambda places: st.decimals(-(10**6), 10**6, allow_nan=False, places=places))


@pytest.fixture(scope="module")
def engine(open_database: OpenDatabase) -> Iterator[Engine]:
    """A database with one more table, of amounts and moments."""
    with open_database() as engine:
        ledger.create(engine)
        yield engine
        ledger.drop(engine)


def store(engine: Engine, **values: object) -> None:
    """Make `values` the only row."""
    with engine.begin() as connection:
        connection.execute(ledger.delete())
        connection.execute(insert(ledger), values)


@settings(deadline=None)
@given(amount=amounts)
def test_an_amount_comes_back_digit_for_digit(engine: Engine, amount: Decimal) -> None:
    """Trailing zeros included, whatever its exponent; only a zero has no sign."""
    store(engine, amount=amount)

    with engine.connect() as connection:
        stored = connection.scalar(select(ledger.c.amount))

    assert stored == amount
    assert format(stored, "f") == format(amount, "f").removeprefix("-" if amount == 0 else "")


@settings(deadline=None)
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


@settings(deadline=None)
@given(left=amounts | st.none(), right=amounts | st.none())
def test_two_amounts_are_added_exactly_and_unknown_ones_add_nothing(
    engine: Engine, left: Decimal | None, right: Decimal | None
) -> None:
    """Nothing and nothing is still nothing."""
    store(engine, amount=left)

    with engine.connect() as connection:
        total = connection.execute(select(ExactAdd(ledger.c.amount, literal(right, Money)))).scalar_one()

    known = [Fraction(amount) for amount in (left, right) if amount is not None]
    assert (None if total is None else Fraction(total)) == (sum(known) if known else None)


@pytest.mark.parametrize("places", [0, 18, 100])
def test_the_largest_amounts_are_stored_and_added(engine: Engine, places: int) -> None:
    """100 digits before the point and as many after it."""
    amount = Decimal("9" * 100 + "." + "9" * places)
    store(engine, amount=amount)

    with engine.connect() as connection:
        stored, twice = connection.execute(select(ledger.c.amount, ExactAdd(ledger.c.amount, ledger.c.amount))).one()

    assert format(stored, "f") == format(amount, "f").removesuffix(".")
    assert Fraction(twice) == 2 * Fraction(amount)


def test_an_amount_is_plain_text_in_the_file(sqlite_engine: Engine) -> None:
    """No exponent and no binary number, so that any tool reads it exactly."""
    ledger.create(sqlite_engine)
    store(sqlite_engine, amount=Decimal("2.5E-7"))

    with sqlite_engine.connect() as connection:
        row = connection.execute(text("SELECT typeof(amount), amount FROM amounts")).one()

    assert tuple(row) == ("text", "0.00000025")


@settings(deadline=None)
@given(at=st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1)), hours=st.integers(-12, 12))  # noqa: DTZ001
def test_a_moment_comes_back_to_the_microsecond_in_utc(engine: Engine, at: datetime, hours: int) -> None:
    """Whatever zone it was given in; its day and hour are UTC's."""
    moment = at.replace(tzinfo=timezone(timedelta(hours=hours)))
    store(engine, at=moment)

    with engine.connect() as connection:
        stored, day, hour = connection.execute(select(ledger.c.at, UtcDay(ledger.c.at), UtcHour(ledger.c.at))).one()

    assert stored == moment
    assert stored.tzinfo is UTC
    assert day == moment.astimezone(UTC).date().isoformat()
    assert hour == moment.astimezone(UTC).strftime("%Y-%m-%dT%H")


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


def test_days_and_hours_group_calls(engine: Engine) -> None:
    """The same expression selects, groups and orders."""
    moments = [datetime(2026, 3, 1, hour, minute, tzinfo=UTC) for hour in (9, 23) for minute in (0, 59)]
    with engine.begin() as connection:
        connection.execute(ledger.delete())
        connection.execute(insert(ledger), [{"amount": Decimal("0.1"), "at": moment} for moment in moments])
    hour = UtcHour(ledger.c.at)

    with engine.connect() as connection:
        rows = connection.execute(select(hour, ExactSum(ledger.c.amount)).group_by(hour).order_by(hour)).all()

    assert [tuple(row) for row in rows] == [("2026-03-01T09", Decimal("0.2")), ("2026-03-01T23", Decimal("0.2"))]
