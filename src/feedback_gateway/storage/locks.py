"""Locks by name, which hold within a transaction and over processes."""

from sqlalchemy import Connection, func, select


def lock_name(connection: Connection, name: str) -> None:
    """Keep everybody else who locks `name` waiting until this transaction ends, as SQLite's writers do anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def try_lock_name(connection: Connection, name: str) -> bool:
    """Lock `name` likewise, unless somebody holds it: then False, at once."""
    if connection.dialect.name == "postgresql":
        return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(func.hashtextextended(name, 0)))))
    return True
