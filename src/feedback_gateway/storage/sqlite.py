"""What is particular to SQLite: one file, one writer at a time, and the meaning of its error codes."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, DBAPIError, DisconnectionError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as WaitedTooLong

from feedback_gateway.errors import ConfigurationError, GatewayError, Unavailable
from feedback_gateway.storage.columns import DecimalSum, decimal_add
from feedback_gateway.storage.turns import Turns

BUSY_TIMEOUT_S = 10.0
PRAGMAS = (
    # Readers never wait for the writer, nor it for them.
    "PRAGMA journal_mode = WAL",
    # A commit outlives the process, and with FULL the machine's power as well: one fsync a batch, off the request path.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)
RETRY_AFTER_S = 1.0
CANNOT_BE_WRITTEN = "cannot be written; allow it for this user, on the file and its folder"
LASTING = {
    sqlite3.SQLITE_CANTOPEN: CANNOT_BE_WRITTEN,
    sqlite3.SQLITE_PERM: CANNOT_BE_WRITTEN,
    sqlite3.SQLITE_READONLY: CANNOT_BE_WRITTEN,
    sqlite3.SQLITE_NOTADB: "is no SQLite database; name another file",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore it from a backup, or name another file",
}
LOCKED = "another process holds it locked"
PASSING = {
    sqlite3.SQLITE_FULL: "the disk is full; make room",
    sqlite3.SQLITE_IOERR: "the disk cannot be written or read; make room, or see what is wrong with it",
    sqlite3.SQLITE_BUSY: LOCKED,
    sqlite3.SQLITE_LOCKED: LOCKED,
}
NO_TABLE = "no such table"


@dataclass(frozen=True, slots=True)
class Begin:
    """How a transaction begins, and how far its commit goes: with FULL to the disk, with NORMAL to the system."""

    statement: str
    synchronous: Literal["FULL", "NORMAL"]


BEGIN_READING = Begin("BEGIN", "FULL")
BEGIN_WRITING = Begin("BEGIN IMMEDIATE", "FULL")
BEGIN_WRITING_IN_PASSING = Begin("BEGIN IMMEDIATE", "NORMAL")


def open_engine(url: URL) -> Engine:
    """Make the engine of a file. Raises ConfigurationError where the URL names none."""
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ConfigurationError("database_url: name the file, as in sqlite:///feedback-gateway.db")
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        connect_args={"timeout": BUSY_TIMEOUT_S},
        pool_timeout=BUSY_TIMEOUT_S,
        hide_parameters=True,
        execution_options={"turns": Turns(BUSY_TIMEOUT_S)},
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "checkout", _refuse_lost_file)
    event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def turn(engine: Engine) -> Iterator[None]:
    """Let the writers of this process queue: those that find SQLite locked sleep for ever longer, and then starve."""
    turns: Turns = engine.get_execution_options()["turns"]
    if not turns.take():
        raise WaitedTooLong
    try:
        yield
    finally:
        turns.pass_on()


def execute(connection: Connection, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
    """Have the driver execute it, which is ten times as fast, and give the rows. Raises as SQLAlchemy does."""
    driver = cast("sqlite3.Connection", connection.connection.driver_connection)
    try:
        return driver.execute(sql, values).fetchall()
    except sqlite3.Error as error:
        raise DBAPIError.instance(sql, None, error, sqlite3.Error, hide_parameters=True) from error


def prepare_upgrade(_connection: Connection) -> None:
    """Do nothing: BEGIN IMMEDIATE keeps all others out."""


def is_row_error(error: DBAPIError) -> bool:
    """Constraints, and values that the driver cannot take."""
    return isinstance(error, IntegrityError | DataError | ProgrammingError)


def is_table_missing(error: BaseException | None) -> bool:
    """SQLite has no code for it."""
    return NO_TABLE in str(error)


def explain(error: BaseException | None, url: URL, name: str) -> GatewayError:
    """Say what a failure of SQLite (sqlite.org/rescode.html) means for whoever runs the gateway."""
    file = Path(url.database or "")
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_CANTOPEN and not os.path.isdir(file.absolute().parent):  # noqa: PTH112 - never raises
        return ConfigurationError(f"{name}: the folder does not exist; create it, or name another file")
    if code == sqlite3.SQLITE_CANTOPEN and os.path.isdir(file):  # noqa: PTH112 - likewise
        return ConfigurationError(f"{name}: is a folder; name a file in it")
    if code in LASTING:
        return ConfigurationError(f"{name}: {LASTING[code]}")
    return Unavailable(f"{name}: {PASSING.get(code, error)}", retry_after=RETRY_AFTER_S)


def _prepare(connection: Any, record: Any) -> None:
    # The driver would begin transactions by itself, but not before DDL or SELECT; `_begin` does, always.
    connection.isolation_level = None
    for pragma in PRAGMAS:
        connection.execute(pragma)
    connection.create_aggregate("decimal_sum", 1, DecimalSum)
    connection.create_function("decimal_add", 2, decimal_add, deterministic=True)
    file = connection.execute("PRAGMA database_list").fetchone()[2]
    record.info["file"] = file, _identity(file)
    record.info["synchronous"] = "FULL"


def _refuse_lost_file(_connection: object, record: Any, _proxy: object) -> None:
    """Open the file again where another, or none, is at its place by now: rows written to a lost one are lost."""
    file, identity = record.info["file"]
    if _identity(file) != identity:
        raise DisconnectionError


def _identity(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116 - asked for every transaction
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _begin(connection: Connection) -> None:
    begin: Begin = connection.get_execution_options().get("begin", BEGIN_READING)
    if connection.info["synchronous"] != begin.synchronous:  # which can be changed between transactions only
        execute(connection, f"PRAGMA synchronous = {begin.synchronous}")
        connection.info["synchronous"] = begin.synchronous
    execute(connection, begin.statement)
