"""Statements as text that is compiled once, because SQLAlchemy's work on a statement can cost more than the database's.

Values are converted by the types of their columns, as SQLAlchemy would; rows that are read are the driver's. SQLite's
driver is asked directly, and its errors raised as SQLAlchemy's; with PostgreSQL the network costs more than either.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, cast

from sqlalchemy import Boolean, Column, Connection, Dialect, bindparam
from sqlalchemy.exc import StatementError
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.types import TypeEngine

from feedback_gateway.storage import sqlite

CHUNKS = (64, 16, 4, 1)
"""How many rows one statement takes. A statement over many lets go of Python's lock once, one for each takes turns."""

Convert = Callable[[Any], Any]
Converts = tuple[tuple[int, Convert], ...]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Text:
    """SQL with its values in their order, by name, and how they are converted, by place."""

    sql: str
    names: tuple[str, ...]
    converts: Converts


class Prepared:
    """A statement whose values are `bindparam`s."""

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._texts: dict[str, Text] = {}

    def read(self, connection: Connection, **values: Any) -> Sequence[Any]:
        """The rows that it selects with these values. Raises as SQLAlchemy does."""
        text = self._texts.get(connection.dialect.name) or self._compile(connection.dialect)
        given = [values[name] for name in text.names]
        for place, convert in text.converts:
            given[place] = convert(given[place])
        return executed(connection, text.sql, tuple(given))

    def _compile(self, dialect: Dialect) -> Text:
        compiled = compile_by_place(self._statement, dialect)
        names = tuple(compiled.positiontup or ())
        types = [compiled.binds[name].type for name in names]
        text = Text(str(compiled), names, converts_of(types, dialect))
        self._texts[dialect.name] = text
        return text


class PreparedRows:
    """A statement over many rows: `statement` makes the one over so many, whose values are `columns` row after row."""

    def __init__(self, statement: Callable[[str, int], ClauseElement], columns: Sequence[Column[Any]]) -> None:
        self._statement = statement
        self._columns = columns
        names = [column.name for column in columns]
        self._values: Callable[[Row], tuple[Any, ...]] = (
            itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
        )
        self._texts: dict[tuple[str, int], str] = {}
        self._converts: dict[str, Converts] = {}

    def execute(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Execute it for `rows`, in their order. Raises as SQLAlchemy does."""
        self.read(connection, rows)

    def read(self, connection: Connection, rows: Sequence[Row]) -> list[Any]:
        """What it selects for `rows`."""
        dialect = connection.dialect
        if dialect.name not in self._converts:
            self._converts[dialect.name] = converts_of([column.type for column in self._columns], dialect)
        converts = self._converts[dialect.name]
        found: list[Any] = []
        for chunk in chunks_of(rows):
            sql = self._text(dialect, len(chunk))
            try:
                values = self._flat(chunk, converts)
            except ValueError as error:
                raise StatementError(str(error), sql, None, error, hide_parameters=True) from error
            found += executed(connection, sql, tuple(values))
        return found

    def _flat(self, rows: Sequence[Row], converts: Converts) -> list[Any]:
        """The values of `rows`, row after row, as the driver takes them."""
        flat: list[Any] = []
        for row in rows:
            place = len(flat)
            flat += self._values(row)
            for offset, convert in converts:
                flat[place + offset] = convert(flat[place + offset])
        return flat

    def _text(self, dialect: Dialect, count: int) -> str:
        key = dialect.name, count
        if key not in self._texts:
            one, two = (str(compile_by_place(self._statement(dialect.name, rows), dialect)) for rows in (1, 2))
            for size in CHUNKS:
                self._texts[dialect.name, size] = grown(one, two, size)
        return self._texts[key]


def executed(connection: Connection, sql: str, values: tuple[Any, ...]) -> Sequence[Any]:
    """Execute a text; the rows that it gives."""
    if connection.dialect.name == "sqlite":
        return sqlite.execute(connection, sql, values)
    result = connection.exec_driver_sql(sql, values)
    return result.all() if result.returns_rows else ()


def one_of(column: Column[Any], count: int) -> ColumnElement[bool]:
    """The condition that a column has one of `count` values."""
    return column.in_([bindparam(f"v{number}", type_=column.type) for number in range(count)])


def compile_by_place(statement: ClauseElement, dialect: Dialect) -> SQLCompiler:
    """The statement for this kind of database, its values marked by place."""
    make: Callable[..., Dialect] = type(dialect)
    by_place = make(paramstyle="qmark" if dialect.name == "sqlite" else "format")
    return cast("SQLCompiler", statement.compile(dialect=by_place))


def converts_of(types: Sequence[TypeEngine[Any]], dialect: Dialect) -> Converts:
    """How values of these types are converted for the driver, by place; those that need not are left out."""
    found = [
        (place, one.dialect_impl(dialect).bind_processor(dialect))
        for place, one in enumerate(types)
        if not isinstance(one, Boolean)  # both drivers take it as it is
    ]
    return tuple((place, convert) for place, convert in found if convert is not None)


def grown(one: str, two: str, count: int) -> str:
    """The text over `count` rows, from those over one and two: SQLAlchemy takes 50 ms to make one of many."""
    place = next((place for place, pair in enumerate(zip(one, two, strict=False)) if pair[0] != pair[1]), len(one))
    more = two[place : place + len(two) - len(one)]
    return one[:place] + more * (count - 1) + one[place:]


def chunks_of(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows in few parts, each of one of the sizes in CHUNKS."""
    place = 0
    for size in CHUNKS:
        while len(rows) - place >= size:
            yield rows[place : place + size]
            place += size
