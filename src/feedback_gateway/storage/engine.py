"""Opens the database, brings its schema up to date, and says in one sentence what is wrong with it.

Everything here blocks: call it from a thread, never from the event loop.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    ProgrammingError,
)

from feedback_gateway.errors import ConfigurationError, GatewayError, Unavailable
from feedback_gateway.storage.columns import DecimalSum

logger = logging.getLogger(__name__)

HEAD = "0001"
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
PASSING = {
    sqlite3.SQLITE_FULL: "the disk is full; make room",
    sqlite3.SQLITE_BUSY: "another process holds it locked",
    sqlite3.SQLITE_LOCKED: "another process holds it locked",
}
NO_TABLE = "no such table"
ROW_ERRORS = (IntegrityError, DataError, ProgrammingError)


def open_engine(database_url: str) -> Engine:
    """Make the engine of `sqlite:///FILE`; nothing is opened yet. Raises ConfigurationError for any other URL."""
    try:
        url = make_url(database_url)
    except ArgumentError:
        raise ConfigurationError("database_url: no URL; write sqlite:///feedback-gateway.db") from None
    if url.get_backend_name() != "sqlite":
        raise ConfigurationError(f"database_url: {url.drivername!r} is not supported; use sqlite:///FILE")
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ConfigurationError("database_url: name the file, as in sqlite:///feedback-gateway.db")
    engine = create_engine(url.set(drivername="sqlite+pysqlite"), connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "checkout", _refuse_lost_file)
    event.listen(engine, "begin", _begin)
    return engine


def upgrade(engine: Engine) -> None:
    """Create or migrate the schema, in one transaction, while other processes that start wait.

    Raises ConfigurationError where the database cannot be used as configured, Unavailable where it cannot be used
    right now. Alembic is imported only when there is something to migrate: it takes a good tenth of a second.
    """
    with storage_errors(engine), engine.connect() as connection:
        connection.execution_options(begin="BEGIN IMMEDIATE")
        with connection.begin():
            version = schema_version(connection)
            if version == HEAD:
                return
            if version is not None and not "0000" < version < HEAD:
                raise ConfigurationError(
                    f"database_url: {describe(engine.url)} has the schema {version}, newer than this feedback-gateway"
                    f" knows ({HEAD}); install the version that wrote it, or name another file"
                )
            from feedback_gateway.storage.migrations.run import migrate  # noqa: PLC0415  (see the docstring)

            migrate(connection)


def schema_version(connection: Connection) -> str | None:
    """The schema's revision, or None for a database that never had one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version


@contextmanager
def storage_errors(engine: Engine) -> Iterator[None]:
    """Raise what the database says as ConfigurationError or Unavailable; what a row's content is to blame for stays."""
    try:
        yield
    except ROW_ERRORS:
        raise
    except DBAPIError as error:
        if NO_TABLE in str(error.orig):
            logger.warning("%s was lost while it was in use; it is begun anew", describe(engine.url))
            upgrade(engine)
        raise explain(error.orig, engine.url) from error


def explain(error: BaseException | None, url: URL) -> GatewayError:
    """Say what a failure of SQLite (sqlite.org/rescode.html) means for whoever runs the gateway."""
    file = Path(url.database or "")
    name = f"database_url: {describe(url)}"
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_CANTOPEN and not os.path.isdir(file.absolute().parent):  # noqa: PTH112 - never raises
        return ConfigurationError(f"{name}: the folder does not exist; create it, or name another file")
    if code == sqlite3.SQLITE_CANTOPEN and os.path.isdir(file):  # noqa: PTH112 - likewise
        return ConfigurationError(f"{name}: is a folder; name a file in it")
    if code in LASTING:
        return ConfigurationError(f"{name}: {LASTING[code]}")
    return Unavailable(f"{name}: {PASSING.get(code, error)}", retry_after=RETRY_AFTER_S)


def describe(url: URL) -> str:
    """The URL without its password."""
    return url.render_as_string(hide_password=True)


def _prepare(connection: Any, record: Any) -> None:
    # The driver would begin transactions by itself, but not before DDL or SELECT; `_begin` does, always.
    connection.isolation_level = None
    for pragma in PRAGMAS:
        connection.execute(pragma)
    connection.create_aggregate("decimal_sum", 1, DecimalSum)
    file = connection.execute("PRAGMA database_list").fetchone()[2]
    record.info["file"] = file, _identity(file)


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
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))
