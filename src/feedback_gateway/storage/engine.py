"""The database's public face: opens it, brings its schema up to date, writes, says in one sentence what is wrong.

Everything here blocks: call it from a thread, never from the event loop. `sqlite.py` and `postgres.py` know the rest.
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as WaitedTooLong

from feedback_gateway.errors import ConfigurationError, GatewayError, Unavailable
from feedback_gateway.storage import postgres, sqlite
from feedback_gateway.storage.forks import leave_connections_to_parents

logger = logging.getLogger(__name__)

HEAD = "0006"
RETRY_AFTER_S = 1.0


class Database(Protocol):
    """What a module has to say about one kind of database."""

    def open_engine(self, url: URL, /) -> Engine:
        """Make the engine, hiding parameters from its errors. Raises ConfigurationError for a URL that cannot be."""
        ...

    def turn(self, engine: Engine, /) -> AbstractContextManager[None]:
        """Hold what the threads of this process must not hold at once while they write."""
        ...

    def prepare_upgrade(self, connection: Connection, /) -> None:
        """Let nobody else upgrade before the end of this transaction. Raises ConfigurationError where nobody can."""
        ...

    def is_row_error(self, error: DBAPIError, /) -> bool:
        """Whether what a row holds is to blame."""
        ...

    def is_table_missing(self, error: BaseException | None, /) -> bool:
        """Whether a table that the migrations made is not there."""
        ...

    def explain(self, error: BaseException | None, url: URL, name: str, /) -> GatewayError:
        """Say what a failure means for whoever runs the gateway; `name` says which database."""
        ...


DATABASES: dict[str, Database] = {"sqlite": sqlite, "postgresql": postgres}


def open_engine(database_url: str) -> Engine:
    """Make the engine of `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`; nothing is opened yet.

    Raises ConfigurationError for a URL that cannot be.
    """
    try:
        url = make_url(database_url.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        raise ConfigurationError("database_url: no URL; write sqlite:///feedback-gateway.db") from None
    if url.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg"):
        raise ConfigurationError(
            f"database_url: {url.drivername!r} is not supported; use sqlite:///FILE or postgresql://USER@HOST/NAME"
        )
    engine = database_of(url).open_engine(url)
    leave_connections_to_parents(engine)
    return engine


def load_orm() -> None:
    """Import SQLAlchemy's ORM, which background work stands on: as long as it is half imported all queries may fail.

    To be called before other threads use a database.
    """
    import sqlalchemy.orm  # noqa: F401, PLC0415 - 5 MiB, which what reads a database alone need not carry


def upgrade(engine: Engine) -> str | None:
    """Create or migrate the schema, in one transaction, while other processes that start wait.

    Returns the revision it found, None in an empty database. Raises ConfigurationError where the database cannot be
    used as configured, Unavailable where it cannot be used right now. Alembic is imported only when there is
    something to migrate: it takes a good tenth of a second.
    """
    with _explained(engine), _writing(engine) as connection:
        database_of(engine.url).prepare_upgrade(connection)
        version = schema_version(connection)
        if version == HEAD:
            return version
        if version is not None and not "0000" < version < HEAD:
            raise ConfigurationError(
                f"{describe(engine.url)}: has the schema {version}, newer than this feedback-gateway"
                f" knows ({HEAD}); install the version that wrote it, or name another database"
            )
        from feedback_gateway.storage.migrations.run import migrate  # noqa: PLC0415  (see the docstring)

        migrate(connection)
    return version


def schema_version(connection: Connection) -> str | None:
    """The schema's revision, or None for a database that never had one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes, committed at the end; the threads of this process take turns where they must.

    Raises as `storage_errors` does. Must not be entered again by the thread that is in it.
    """
    with storage_errors(engine), _writing(engine) as connection:
        yield connection


@contextmanager
def writing_in_passing(engine: Engine) -> Iterator[Connection]:
    """The same for what is soon over: it outlives the process at once, but on SQLite not yet the machine's power.

    The next `writing`, of whichever process, makes it as safe as the rest.
    """
    with storage_errors(engine), _writing(engine, begin=sqlite.BEGIN_WRITING_IN_PASSING) as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One transaction that reads: all its statements see the same moment of the database.

    SQLite's are all of that kind, PostgreSQL's have to be asked. Raises as `storage_errors` does.
    """
    with storage_errors(engine), engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        yield connection


@contextmanager
def storage_errors(engine: Engine) -> Iterator[None]:
    """Raise what the database says as ConfigurationError or Unavailable; what a row's content is to blame for stays.

    A schema that was lost while it was in use is made again, for the next transaction.
    """
    try:
        with _explained(engine):
            yield
    except GatewayError as error:
        cause = error.__cause__
        if isinstance(cause, DBAPIError) and database_of(engine.url).is_table_missing(cause.orig):
            logger.warning("%s was lost while it was in use; it is begun anew", describe(engine.url))
            upgrade(engine)
        raise


def try_writing(engine: Engine) -> None:
    """Write to a migrated database, and change nothing. Raises as `storage_errors` does where that cannot be."""
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = version_num"))


def describe(url: URL) -> str:
    """The setting and the URL without its password, and without its query, which may hold another."""
    plain = url.set(drivername=url.get_backend_name(), query={})
    return f"database_url: {plain.render_as_string(hide_password=True)}"


def database_of(url: URL) -> Database:
    """Who knows about this kind of database."""
    return DATABASES[url.get_backend_name()]


@contextmanager
def _writing(engine: Engine, *, begin: sqlite.Begin = sqlite.BEGIN_WRITING) -> Iterator[Connection]:
    with database_of(engine.url).turn(engine), engine.connect() as connection:
        connection.execution_options(begin=begin)
        with connection.begin():
            yield connection


@contextmanager
def _explained(engine: Engine) -> Iterator[None]:
    database = database_of(engine.url)
    try:
        yield
    except WaitedTooLong as error:
        message = f"{describe(engine.url)}: this process does more with it at once than it can; try again"
        raise Unavailable(message, retry_after=RETRY_AFTER_S) from error
    except DBAPIError as error:
        if database.is_row_error(error):
            raise
        raise database.explain(error.orig, engine.url, describe(engine.url)) from error
