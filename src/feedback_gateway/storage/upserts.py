"""INSERT … ON CONFLICT, written once for both databases."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, func
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ColumnElement

from feedback_gateway.storage.columns import ExactAdd, Money

INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def insert_or_update(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
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
    statement: Any = INSERTS[connection.dialect.name](table)
    new = statement.excluded
    changes = {name: _sum(table.c[name], new[name]) for name in add} | {name: new[name] for name in replace}
    if changes:
        statement = statement.on_conflict_do_update(index_elements=key, set_=changes)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=key)
    connection.execute(statement, sorted(rows, key=lambda row: tuple(row[name] for name in key)))


def _sum(stored: ColumnElement[Any], new: ColumnElement[Any]) -> ColumnElement[Any]:
    return ExactAdd(stored, new) if isinstance(stored.type, Money) else func.coalesce(stored + new, stored, new)
