"""What PostgreSQL can do to those who use it, and what is said about it."""

import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, SQLAlchemyError

from feedback_gateway.errors import ConfigurationError, GatewayError, Unavailable
from feedback_gateway.storage.engine import HEAD, describe, open_engine, storage_errors, try_writing, upgrade, writing
from feedback_gateway.storage.postgres import explain, prepare_upgrade
from tests.servers import PostgresServer, free_port

PASSWORD = "only-for-tests"
PLANTED = "planted word".replace(" ", "-")  # nowhere in the source, which tracebacks quote
URL = make_url("postgresql://host/db")
LASTING_CODES = ["28P01", "28000", "3D000", "3F000", "42501"]
PASSING_CODES = [
    "08006",
    "25006",
    "25P03",
    "40001",
    "40P01",
    "53100",
    "53200",
    "53300",
    "55P03",
    "57014",
    "57P01",
    "57P03",
]


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """An engine, disposed of afterwards."""
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def failure(of: Callable[[], object]) -> GatewayError:
    """The error that `of` ends with."""
    with pytest.raises(GatewayError) as caught:
        of()
    return caught.value


def failure_of_upgrade(url: str) -> GatewayError:
    """The error that opening the database at `url` ends with."""
    with opened(url) as engine:
        return failure(lambda: upgrade(engine))


def query(engine: Engine, statement: str) -> object:
    """The first value of the answer."""
    with storage_errors(engine), engine.connect() as connection:
        return connection.scalar(text(statement))


def set_in_sessions(engine: Engine, name: str, value: str) -> None:
    """Set a parameter in every session that begins from now on."""

    def set_it(connection: Any, _record: object) -> None:
        connection.autocommit = True
        connection.execute(f"SET {name} = '{value}'")
        connection.autocommit = False

    event.listen(engine, "connect", set_it)


@pytest.fixture(scope="module")
def guest(postgres: PostgresServer) -> Iterator[str]:
    """A role that needs a password and may do nothing yet."""
    postgres.execute(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    yield f"guest:{PASSWORD}"
    postgres.execute("DROP OWNED BY guest")
    postgres.execute("DROP ROLE guest")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_url_may_be_written_in_three_ways(postgres: PostgresServer, scheme: str) -> None:
    """As other programs write it, too."""
    with opened(postgres.url().replace("postgresql", scheme, 1)) as engine:
        assert query(engine, "SELECT 1") == 1


def test_a_session_is_in_utc_and_bounded(postgresql_engine: Engine) -> None:
    """No statement, lock or idle transaction holds up others for ever, and the administrator sees whose it is."""
    names = ("timezone", "application_name", "client_encoding", "statement_timeout", "lock_timeout")

    found = [query(postgresql_engine, f"SHOW {name}") for name in names]

    assert found == ["UTC", "feedback-gateway", "UTF8", "1min", "10s"]


def test_what_the_url_says_about_the_connection_wins(postgres: PostgresServer) -> None:
    """Over what we would choose."""
    url = f"{postgres.url()}?application_name=mine&options=-c%20statement_timeout%3D5s"

    with opened(url) as engine:
        found = [query(engine, f"SHOW {name}") for name in ("application_name", "statement_timeout", "lock_timeout")]

    assert found == ["mine", "5s", "10s"]


def test_no_password_is_ever_described() -> None:
    """Wherever in the URL it stands."""
    url = "postgresql://me:secret@host/db?password=secret2&sslpassword=secret3"

    with opened(url) as engine:
        assert describe(engine.url) == "database_url: postgresql://me:***@host/db"


def test_a_server_that_is_not_there_is_unavailable() -> None:
    """It may be starting."""
    error = failure_of_upgrade(f"postgresql://me:secret@127.0.0.1:{free_port()}/gateway")

    assert isinstance(error, Unavailable)
    assert error.retry_after == 1.0
    assert error.detail.startswith("database_url: postgresql://me:***@127.0.0.1:")
    assert error.detail.endswith("/gateway: nothing answers there; start PostgreSQL, or correct the host and port")


def test_a_wrong_password_is_a_wrong_configuration(postgres: PostgresServer, guest: str) -> None:
    """It is not repeated."""
    error = failure_of_upgrade(postgres.url(user="guest:secret"))

    assert isinstance(error, ConfigurationError)
    assert error.detail.endswith("refuses the user or the password; correct them")
    assert "secret" not in error.detail


def test_a_missing_password_is_a_wrong_configuration(postgres: PostgresServer, guest: str) -> None:
    """The client gives up by itself."""
    error = failure_of_upgrade(postgres.url(user="guest"))

    assert isinstance(error, ConfigurationError)
    assert "refuses the user or the password" in error.detail


def test_an_unknown_database_is_a_wrong_configuration(postgres: PostgresServer) -> None:
    """Creating it is the administrator's business."""
    error = failure_of_upgrade(postgres.url("nowhere"))

    assert isinstance(error, ConfigurationError)
    assert error.detail.endswith("/nowhere: there is no such database; create it, or name another")


def test_a_user_who_may_not_make_tables_is_a_wrong_configuration(postgres: PostgresServer, guest: str) -> None:
    """The sentence says where."""
    postgres.execute("CREATE DATABASE closed")
    postgres.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database="closed")

    error = failure_of_upgrade(postgres.url("closed", user=guest))

    assert isinstance(error, ConfigurationError)
    assert error.detail.endswith(
        "does not allow this user what is needed: permission denied for schema public; grant it"
    )


def test_a_database_that_cannot_hold_every_text_is_refused(postgres: PostgresServer) -> None:
    """Rows would be lost one by one later on."""
    postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")

    error = failure_of_upgrade(postgres.url("latin"))

    assert isinstance(error, ConfigurationError)
    assert error.detail == "database_url: the database's encoding is LATIN1; create it with ENCODING 'UTF8'"


def test_a_server_without_room_for_another_connection_is_unavailable(postgres: PostgresServer, guest: str) -> None:
    """The limit of a role stands in for that of the server."""
    postgres.execute("ALTER ROLE guest CONNECTION LIMIT 0")

    error = failure_of_upgrade(postgres.url(user=guest))
    postgres.execute("ALTER ROLE guest CONNECTION LIMIT -1")

    assert isinstance(error, Unavailable)
    assert "has no connection left for us" in error.detail


def test_a_restarted_server_is_found_again(postgres: PostgresServer, postgresql_engine: Engine) -> None:
    """Unavailable while it is away, and in the middle of a transaction; then the next one is served."""

    def write() -> None:
        with writing(postgresql_engine) as connection:
            postgres.stop()
            connection.execute(text("SELECT 1"))

    within = failure(write)
    away = failure(lambda: query(postgresql_engine, "SELECT 1"))
    postgres.start()

    assert query(postgresql_engine, "SELECT 1") == 1
    assert "is shutting down or starting" in within.detail
    assert isinstance(away, Unavailable)


def test_a_connection_that_the_server_ended_is_replaced_unnoticed(
    postgres: PostgresServer, postgresql_engine: Engine
) -> None:
    """Those in the pool are tried before they are used."""
    before = query(postgresql_engine, "SELECT pg_backend_pid()")
    postgres.execute(f"SELECT pg_terminate_backend({before}, 10000)")

    after = query(postgresql_engine, "SELECT pg_backend_pid()")

    assert after != before


def test_more_at_once_than_the_pool_holds_is_unavailable(postgresql_engine: Engine) -> None:
    """After a wait, which is cut short here; then there is room again."""
    postgresql_engine.pool._timeout = 0.01  # type: ignore[attr-defined]
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(postgresql_engine.connect())
        error = failure(lambda: query(postgresql_engine, "SELECT 1"))

    assert isinstance(error, Unavailable)
    assert "this process does more with it at once than it can" in error.detail
    assert query(postgresql_engine, "SELECT 1") == 1


def test_a_database_that_may_only_be_read_is_unavailable(postgresql_engine: Engine) -> None:
    """As a standby is until it takes over; reading goes on."""
    set_in_sessions(postgresql_engine, "default_transaction_read_only", "on")

    error = failure(lambda: try_writing(postgresql_engine))
    upgrade(postgresql_engine)

    assert isinstance(error, Unavailable)
    assert "may only be read at the moment" in error.detail


def test_a_lock_that_another_holds_is_waited_for_only_so_long(postgresql_engine: Engine) -> None:
    """The wait is cut short here."""
    set_in_sessions(postgresql_engine, "lock_timeout", "10ms")
    with postgresql_engine.begin() as holder:
        holder.execute(text("LOCK TABLE alembic_version"))

        error = failure(lambda: try_writing(postgresql_engine))

    assert isinstance(error, Unavailable)
    assert "waited too long for a lock that others hold" in error.detail


def test_a_statement_may_take_only_so_long(postgresql_engine: Engine) -> None:
    """The limit is low here."""
    set_in_sessions(postgresql_engine, "statement_timeout", "20ms")

    error = failure(lambda: query(postgresql_engine, "SELECT pg_sleep(60)"))

    assert isinstance(error, Unavailable)
    assert "took longer than a statement may" in error.detail


def test_processes_that_start_together_agree_on_one_schema(postgres: PostgresServer) -> None:
    """Replicas start at the same moment; each must find or make the schema."""
    postgres.execute("CREATE DATABASE shared")
    program = (
        "import sys; from feedback_gateway.storage.engine import *;"
        "engine = open_engine(sys.argv[1]); upgrade(engine); engine.dispose()"
    )
    command = [sys.executable, "-W", "error", "-c", program, postgres.url("shared")]

    workers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [worker.communicate()[1] for worker in workers]

    assert errors == [""] * 4
    assert "CREATE TABLE public.calls" in postgres.schema("shared")


def test_an_upgrade_waits_for_the_one_that_is_going_on(postgres: PostgresServer) -> None:
    """Before it looks at the schema."""
    postgres.execute("CREATE DATABASE waited")
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    deadline = time.monotonic() + 30
    with opened(postgres.url("waited")) as engine, ThreadPoolExecutor(1) as thread:
        with engine.begin() as other:
            prepare_upgrade(other)
            upgrading = thread.submit(upgrade, engine)
            while not other.scalar(text(waiting)) and time.monotonic() < deadline:
                pass
            is_waiting = not upgrading.done()
            other.execute(text("CREATE TABLE alembic_version (version_num text)"))
            other.execute(text(f"INSERT INTO alembic_version VALUES ('{HEAD}')"))

        assert is_waiting
        assert upgrading.result() == HEAD


def test_a_newer_schema_is_refused(postgresql_engine: Engine) -> None:
    """An old program must not write into what it does not understand."""
    with postgresql_engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    error = failure(lambda: upgrade(postgresql_engine))
    with postgresql_engine.begin() as connection:
        connection.execute(text("DROP TABLE attempts"))  # so that nobody is lent this database again

    assert isinstance(error, ConfigurationError)
    assert "has the schema 9999, newer than" in error.detail


def test_a_table_in_the_way_stops_the_upgrade_as_a_whole(postgres: PostgresServer) -> None:
    """Half a schema would be worse than none."""
    postgres.execute("CREATE DATABASE theirs")
    postgres.execute("CREATE TABLE attempts (theirs text)", database="theirs")

    with opened(postgres.url("theirs")) as engine:
        error = failure(lambda: upgrade(engine))
        left = inspect(engine).get_table_names()

    assert error.detail.endswith('relation "attempts" already exists')
    assert left == ["attempts"]


def test_tables_that_were_dropped_in_use_are_made_anew(postgresql_engine: Engine) -> None:
    """One answer says so; after that rows have a place again."""
    with postgresql_engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))

    error = failure(lambda: query(postgresql_engine, "SELECT count(*) FROM calls"))

    assert isinstance(error, Unavailable)
    assert query(postgresql_engine, "SELECT count(*) FROM calls") == 0


def test_no_error_repeats_a_value_that_cannot_be(postgresql_engine: Engine) -> None:
    """PostgreSQL quotes it in its own words, which go no further."""
    with (
        pytest.raises(DataError) as caught,
        storage_errors(postgresql_engine),
        postgresql_engine.connect() as connection,
    ):
        connection.execute(text("SELECT CAST(:value AS integer)"), {"value": PLANTED})

    said = "".join(traceback.format_exception(caught.value))
    assert "22P02 InvalidTextRepresentation" in said
    assert PLANTED not in said


def test_a_value_that_the_driver_cannot_take_is_the_rows_own_fault(postgresql_engine: Engine) -> None:
    """So that it alone is refused, and not its batch for ever."""
    with pytest.raises(SQLAlchemyError), storage_errors(postgresql_engine), postgresql_engine.connect() as connection:
        connection.execute(text("SELECT :value"), {"value": object()})


def test_a_column_that_is_not_there_is_no_rows_fault(postgresql_engine: Engine) -> None:
    """Rows wait until the schema is as it should be."""
    error = failure(lambda: query(postgresql_engine, "SELECT colour FROM calls"))

    assert isinstance(error, Unavailable)
    assert 'column "colour" does not exist' in error.detail


@pytest.mark.parametrize("code", [*LASTING_CODES, *PASSING_CODES])
def test_every_code_has_its_meaning(code: str) -> None:
    """A wrong configuration for good, or a state that passes."""
    error = explain(psycopg.errors.lookup(code)("in PostgreSQL's words"), URL, "db")

    assert isinstance(error, ConfigurationError if code in LASTING_CODES else Unavailable)
    assert code == "53200" or "in PostgreSQL's words" not in error.detail or code == "42501"


@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        ("failed to resolve host 'nowhere': [Errno -2] Name or service not known", ConfigurationError, "host is not"),
        ("failed to resolve host 'db': [Errno -3] Temporary failure", Unavailable, "cannot be found out"),
        ('invalid port number: "99999"', ConfigurationError, "cannot be connected to: invalid port"),
        ("server does not support SSL, but SSL was required", ConfigurationError, "does not support SSL"),
        ('connection failed: FATAL:  role "me" does not exist', ConfigurationError, "the user or the password"),
        ("connection failed: FATAL:  sorry, too many clients already", Unavailable, "no connection left"),
        ("connection failed: FATAL:  the database system is starting up", Unavailable, "shutting down or starting"),
        ("connection timeout expired", Unavailable, "nothing answers there"),
        ("the connection is lost", Unavailable, "the connection was lost"),
        ("connection failed: FATAL:  la base fait grève", Unavailable, "db: la base fait grève"),
    ],
)
def test_words_are_read_where_there_is_no_code(words: str, kind: type[GatewayError], says: str) -> None:
    """As for everything that happens before a connection stands; what nobody foresaw is passed on."""
    error = explain(psycopg.OperationalError(words), URL, "db")

    assert type(error) is kind
    assert says in error.detail
