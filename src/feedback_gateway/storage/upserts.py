"""INSERT, INSERT … ON CONFLICT and DELETE for many rows, written once for both databases."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, Connection, Table, delete, func
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ColumnElement

from feedback_gateway.storage.columns import ExactAdd, Money
from feedback_gateway.storage.prepared import PreparedRows, one_of

Row = Mapping[str, Any]
Names = tuple[str, ...]


def insert_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert `rows`, all with the same columns. Raises IntegrityError for a row of the same key as another."""
    if rows:
        _inserted(table, _named(table, rows[0])).execute(connection, rows)


def delete_rows(connection: Connection, column: Column[Any], values: Iterable[Any]) -> None:
    """Delete the rows that have one of `values` in `column`."""
    _deleted(column).execute(connection, [{column.name: value} for value in values])


def insert_or_update(
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    *,
    key: Sequence[str] = (),
    add: Sequence[str] = (),
    replace: Sequence[str] = (),
) -> None:
    """Insert `rows`, all with the same columns; where a row of the same `key` is stored, change that one instead.

    `key` names a primary or unique key, the primary one unless given. The columns of `add` are added to what is
    stored, exactly, where NULL adds nothing; those of `replace` take the place of what is stored; all others stay,
    so that with neither of them stored rows win. Rows go in the order of their keys, so that processes
    that write the same ones wait for each other and do not deadlock.
    """
    if not rows:
        return
    key = tuple(key) or tuple(column.name for column in table.primary_key)
    statement = _upserted(table, _named(table, rows[0]), key, tuple(add), tuple(replace))
    for part in _without_repeats(rows, key):
        statement.execute(connection, part)


def _without_repeats(rows: Sequence[Row], key: Names) -> Iterator[list[Row]]:
    """The rows by key, in parts in which no key comes twice: PostgreSQL changes no row twice in one statement."""
    key_of = itemgetter(*key)
    part: list[Row] = []
    for row in sorted(rows, key=lambda row: tuple(row[name] for name in key)):
        if part and key_of(part[-1]) == key_of(row):
            yield part
            part = []
        part.append(row)
    yield part


@lru_cache(maxsize=64)
def _inserted(table: Table, names: Names) -> PreparedRows:
    return PreparedRows(
        lambda dialect, count: _insert_into(table, dialect).values(_places(names, count)),
        [table.c[name] for name in names],
    )


@lru_cache(maxsize=64)
def _deleted(column: Column[Any]) -> PreparedRows:
    return PreparedRows(
        lambda _, count: delete(column.table).where(one_of(column, count)),
        [column],
    )


@lru_cache(maxsize=64)
def _upserted(table: Table, names: Names, key: Names, add: Names, replace: Names) -> PreparedRows:
    def statement(dialect: str, count: int) -> Any:
        inserted: Any = _insert_into(table, dialect).values(_places(names, count))
        new = inserted.excluded
        changes = {name: _sum(table.c[name], new[name]) for name in add} | {name: new[name] for name in replace}
        if changes:
            return inserted.on_conflict_do_update(index_elements=key, set_=changes)
        return inserted.on_conflict_do_nothing(index_elements=key)

    return PreparedRows(statement, [table.c[name] for name in names])


def _named(table: Table, row: Row) -> Names:
    """The columns that a row names, in the order in which statements have them."""
    return tuple(column.name for column in table.columns if column.name in row)


def _insert_into(table: Table, dialect: str) -> Any:
    """An INSERT that may say what happens ON CONFLICT, in the words of one kind of database."""
    if dialect == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - weighs 2 MiB, which SQLite's users need not carry

    return postgresql.insert(table)


def _places(names: Names, count: int) -> list[dict[str, None]]:
    return [dict.fromkeys(names) for _ in range(count)]


def _sum(stored: ColumnElement[Any], new: ColumnElement[Any]) -> ColumnElement[Any]:
    return ExactAdd(stored, new) if isinstance(stored.type, Money) else func.coalesce(stored + new, stored, new)
