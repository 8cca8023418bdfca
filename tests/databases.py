"""Fresh databases for any test, on SQLite and on PostgreSQL, and a Redis that is empty when a test begins.

A test that asks for `engine`, `open_database` or `database_url` runs once on each kind of database.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal, Protocol

import psycopg
import pytest
import redis
from sqlalchemy import Engine

from feedback_gateway.storage.engine import open_engine, upgrade
from tests.servers import PostgresServer, RedisServer, postgres_server, running_redis

Kind = Literal["sqlite", "postgresql"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename != 'alembic_version' ORDER BY 1"
SHAPE = """
SELECT
  (SELECT string_agg(concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default), ','
                     ORDER BY table_name, ordinal_position)
   FROM information_schema.columns WHERE table_schema = 'public'),
  (SELECT string_agg(conname || pg_get_constraintdef(oid), ',' ORDER BY conname, conrelid::regclass::text)
   FROM pg_constraint WHERE connamespace = 'public'::regnamespace),
  (SELECT string_agg(indexdef, ',' ORDER BY indexname) FROM pg_indexes WHERE schemaname = 'public'),
  (SELECT nspacl::text FROM pg_namespace WHERE nspname = 'public')
"""
"""All that a test may change of a database but its rows."""
OpenDatabase = Callable[[], AbstractContextManager[Engine]]


class Databases(Protocol):
    """Where databases come from."""

    def lend(self) -> AbstractContextManager[str]:
        """The URL of an empty database with the newest schema, of the borrower alone."""
        ...


class SqliteDatabases:
    """Copies of one file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        _migrate(f"sqlite:///{folder / 'template.db'}")

    @contextmanager
    def lend(self) -> Iterator[str]:
        """A file of its own."""
        self._count += 1
        file = self._folder / f"{self._count}.db"
        shutil.copy(self._folder / "template.db", file)
        yield f"sqlite:///{file}"


class PostgresDatabases:
    """Databases of one cluster. One that comes back sound is emptied and lent again: that is ten times faster."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._count = 0
        self._free: list[str] = []
        server.execute("CREATE DATABASE template")
        _migrate(server.url("template"))
        with psycopg.connect(server.url("template")) as connection:
            self._tables = connection.execute(TABLES).fetchall()
            self._shape = connection.execute(SHAPE).fetchone()

    @contextmanager
    def lend(self) -> Iterator[str]:
        """A database that nobody else uses meanwhile."""
        if not self._free:
            self._count += 1
            self._server.execute(f"CREATE DATABASE test{self._count} TEMPLATE template")
            self._free.append(self._server.url(f"test{self._count}"))
        url = self._free.pop()
        yield url
        with psycopg.connect(url) as connection:
            if connection.execute(SHAPE).fetchone() == self._shape:
                # In any order of the tables; TRUNCATE takes longer, the more tables and indexes there are.
                emptied = "; ".join(f'DELETE FROM "{name}"' for (name,) in self._tables)
                connection.execute(f"SET session_replication_role = replica; {emptied}")
                self._free.append(url)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The PostgreSQL that tests share; one that must be stopped is started by its test."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Files."""
    return SqliteDatabases(tmp_path_factory.mktemp("databases"))


@pytest.fixture(scope="session")
def postgresql_databases(postgres: PostgresServer) -> Databases:
    """Databases of the shared server."""
    return PostgresDatabases(postgres)


@pytest.fixture(scope="session", params=KINDS)
def databases(request: pytest.FixtureRequest) -> Databases:
    """Each kind in turn."""
    found: Databases = request.getfixturevalue(f"{request.param}_databases")
    return found


@pytest.fixture(scope="session")
def open_database(databases: Databases) -> OpenDatabase:
    """Opens empty databases with the newest schema, each for a `with` block."""

    @contextmanager
    def open_database() -> Iterator[Engine]:
        with databases.lend() as url:
            yield from _opened(url)

    return open_database


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """The URL of an empty database with the newest schema."""
    with databases.lend() as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An empty database with the newest schema."""
    yield from _opened(database_url)


@pytest.fixture
def sqlite_engine(sqlite_databases: Databases) -> Iterator[Engine]:
    """The same, for what only a file can show."""
    with sqlite_databases.lend() as url:
        yield from _opened(url)


@pytest.fixture
def database_file(sqlite_engine: Engine) -> Path:
    """Where `sqlite_engine` keeps its data."""
    return Path(str(sqlite_engine.url.database))


@pytest.fixture
def postgresql_engine(postgresql_databases: Databases) -> Iterator[Engine]:
    """The same, for what only a server can show."""
    with postgresql_databases.lend() as url:
        yield from _opened(url)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis, empty when a test begins."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, which it may kill, freeze and start again."""
    with running_redis(tmp_path) as server:
        yield server


@pytest.fixture(autouse=True)
def _empty_redis(request: pytest.FixtureRequest) -> None:
    if "redis_url" in request.fixturenames:
        with redis.Redis.from_url(request.getfixturevalue("redis_url")) as client:
            client.flushall()


def _opened(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _migrate(url: str) -> None:
    engine = open_engine(url)
    upgrade(engine)
    engine.dispose()
