"""Column types and SQL functions that mean the same, to the last digit, on SQLite and on PostgreSQL."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from functools import reduce
from typing import Any

from sqlalchemy import Connection, DateTime, Dialect, MetaData, Numeric, Text, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
DIGITS = 100
ZERO = Decimal(0)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


@event.listens_for(metadata, "before_create")
def make_partial_everywhere(schema: MetaData, connection: Connection, **_: object) -> None:
    """Have what indexes say for SQLite hold on PostgreSQL as well.

    An index that named both would import both dialects, and the other one weighs 2 MiB.
    """
    for table in schema.tables.values():
        for index in table.indexes:
            index.dialect_options[connection.dialect.name]["where"] = index.dialect_options["sqlite"]["where"]


class Money(TypeDecorator[Decimal]):
    """An exact amount: NUMERIC on PostgreSQL, plain decimal text on SQLite, whose own numbers are binary.

    Amounts with more than 100 digits on either side of the point, infinities and NaN are refused with ValueError.
    """

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text where the database has no exact numbers."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Numeric())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | str | None:
        """Refuse what no ledger should hold."""
        if value is None:
            return None
        if dialect.name == "sqlite" and value.is_finite() and -DIGITS < value.adjusted() < DIGITS:
            text = format(value, "f")
            if len(text) < DIGITS and text[0] != "-":  # as good as always, and the short way
                return text
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -DIGITS or value.adjusted() > DIGITS:
            message = f"{value} is no amount of money"
            raise ValueError(message)
        value = value.copy_abs() if value.is_zero() else value  # PostgreSQL knows no -0
        return format(value, "f") if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, _dialect: Dialect) -> Decimal | None:
        """The amount, with the digits it was stored with."""
        return None if value is None else Decimal(value)


class MomentText(sqlite.DATETIME):
    """A moment in UTC as `2026-03-01 13:00:00.000000`, which is what SQLAlchemy writes, too."""

    def bind_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002 the interface's
        """How it is written."""
        return lambda value: None if value is None else value.replace(tzinfo=None).isoformat(" ", "microseconds")

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:  # noqa: ARG002 likewise
        """How it is read."""
        return lambda text: None if text is None else datetime.fromisoformat(text)


MOMENT_TEXT: TypeEngine[Any] = MomentText()  # type: ignore[no-untyped-call]  # SQLAlchemy's


class UtcDateTime(TypeDecorator[datetime]):
    """A moment with microseconds, in UTC; as text on SQLite, where it sorts by time. Naive datetimes are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text of our own making on SQLite: it takes a fifth of the time."""
        plain: TypeEngine[Any] = MOMENT_TEXT if dialect.name == "sqlite" else DateTime(timezone=True)
        return dialect.type_descriptor(plain)

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Convert to UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = f"{value} has no time zone"
            raise ValueError(message)
        return value if value.tzinfo is UTC else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """SQLite gives back a naive datetime, PostgreSQL one in the zone of its session."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class DecimalSum:
    """SQLite's `decimal_sum`: adds decimal texts exactly, skips NULL, and is NULL where there was nothing to add."""

    def __init__(self) -> None:
        self._sum: Decimal | None = None

    def step(self, value: str | None) -> None:
        """Add one amount."""
        if value is not None:
            self._sum = EXACT.add(self._sum or ZERO, Decimal(value))

    def finalize(self) -> str | None:
        """The sum as plain decimal text."""
        return None if self._sum is None else format(self._sum, "f")


def decimal_add(left: str | None, right: str | None) -> str | None:
    """SQLite's `decimal_add`: adds two decimal texts exactly; NULL adds nothing."""
    if left is None or right is None:
        return right if left is None else left
    return format(EXACT.add(Decimal(left), Decimal(right)), "f")


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """Their sum, to the last digit."""
    return reduce(EXACT.add, amounts, ZERO)


class ExactSum(FunctionElement[Decimal]):
    """Sum of a `Money` column; NULL amounts are left out, and the sum of none is NULL."""

    name = "exact_sum"
    type = Money()
    inherit_cache = True


class ListOfAmounts(FunctionElement[str]):
    """The amounts of a `Money` column as text with commas between; NULL amounts are left out, and NULL is none.

    For few rows and often: on SQLite `ExactSum` asks Python for each of them.
    """

    name = "list_of_amounts"
    type = Text()
    inherit_cache = True


class ExactAdd(FunctionElement[Decimal]):
    """`ExactAdd(a, b)`: the sum of two amounts of `Money`. NULL adds nothing; NULL and NULL is NULL."""

    name = "exact_add"
    type = Money()
    inherit_cache = True


class UtcDay(FunctionElement[str]):
    """The UTC day of a `UtcDateTime` column, as `2026-03-01`."""

    name = "utc_day"
    type = Text()
    inherit_cache = True


class UtcHour(FunctionElement[str]):
    """The UTC hour of a `UtcDateTime` column, as `2026-03-01T13`."""

    name = "utc_hour"
    type = Text()
    inherit_cache = True


@compiles(ExactSum)
def _sum(element: ExactSum, compiler: SQLCompiler, **options: Any) -> str:
    return f"sum({compiler.process(element.clauses, **options)})"


@compiles(ExactSum, "sqlite")
def _sum_on_sqlite(element: ExactSum, compiler: SQLCompiler, **options: Any) -> str:
    return f"decimal_sum({compiler.process(element.clauses, **options)})"


@compiles(ListOfAmounts)
def _list(element: ListOfAmounts, compiler: SQLCompiler, **options: Any) -> str:
    return f"string_agg({compiler.process(element.clauses, **options)}::text, ',')"


@compiles(ListOfAmounts, "sqlite")
def _list_on_sqlite(element: ListOfAmounts, compiler: SQLCompiler, **options: Any) -> str:
    return f"group_concat({compiler.process(element.clauses, **options)})"


@compiles(ExactAdd)
def _add(element: ExactAdd, compiler: SQLCompiler, **options: Any) -> str:
    left, right = (compiler.process(clause, **options) for clause in element.clauses)
    return f"coalesce({left} + {right}, {left}, {right})"


@compiles(ExactAdd, "sqlite")
def _add_on_sqlite(element: ExactAdd, compiler: SQLCompiler, **options: Any) -> str:
    return f"decimal_add({compiler.process(element.clauses, **options)})"


@compiles(UtcDay)
def _day(element: UtcDay, compiler: SQLCompiler, **options: Any) -> str:
    return f"to_char({compiler.process(element.clauses, **options)} AT TIME ZONE 'UTC', 'YYYY-MM-DD')"


@compiles(UtcDay, "sqlite")
def _day_on_sqlite(element: UtcDay, compiler: SQLCompiler, **options: Any) -> str:
    return f"substr({compiler.process(element.clauses, **options)}, 1, 10)"


@compiles(UtcHour)
def _hour(element: UtcHour, compiler: SQLCompiler, **options: Any) -> str:
    return f"to_char({compiler.process(element.clauses, **options)} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24')"


@compiles(UtcHour, "sqlite")
def _hour_on_sqlite(element: UtcHour, compiler: SQLCompiler, **options: Any) -> str:
    return f"replace(substr({compiler.process(element.clauses, **options)}, 1, 13), ' ', 'T')"
