"""What is particular to PostgreSQL: how to connect so that a lost server is noticed, and what its errors mean.

The driver is imported only where such a URL is given.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, ProgrammingError

from feedback_gateway.errors import ConfigurationError, GatewayError, Unavailable

RETRY_AFTER_S = 1.0
POOL: Mapping[str, Any] = {"pool_size": 10, "max_overflow": 10, "pool_timeout": 5.0, "pool_pre_ping": True}
SESSION = {
    "timezone": "UTC",
    "statement_timeout": "60s",
    "lock_timeout": "10s",
    # Locks of a process that was stopped in the middle of a transaction hold up the others no longer than that.
    "idle_in_transaction_session_timeout": "30s",
    # Those of a machine that vanished: a minute.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
CONNECTION: Mapping[str, Any] = {
    "connect_timeout": 5,
    "client_encoding": "utf8",
    "application_name": "feedback-gateway",
    # A peer that vanished with questions of ours on the way is given up after ten seconds.
    "tcp_user_timeout": 10_000,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
SCHEMA_LOCK = int.from_bytes(b"feedback")
UPGRADE_TIMEOUT = "10min"

NOT_LET_IN = "refuses the user or the password; correct them"
UNKNOWN_DATABASE = "there is no such database; create it, or name another"
PRIVILEGE = "does not allow this user what is needed: {said}; grant it"
HOST = "the host is not known; correct its name"
REFUSED = "nothing answers there; start PostgreSQL, or correct the host and port"
FULL = "has no connection left for us; raise max_connections, or run fewer processes"
LASTING = {
    "28": NOT_LET_IN,
    "3D": UNKNOWN_DATABASE,
    "3F": "has no schema to put tables in; set the user's search_path",
    "42501": PRIVILEGE,
}
PASSING = {
    "08": "the connection was lost",
    "25006": "may only be read at the moment",
    "25P03": "the connection was lost",
    "40": "others changed the same rows at the same time",
    "53100": "the disk is full; make room",
    "53300": FULL,
    "55P03": "waited too long for a lock that others hold",
    "57014": "took longer than a statement may",
    "57P": "is shutting down or starting",
}
# A failed attempt to connect has no code, only words: those of PostgreSQL, where it speaks English, and of its client.
LASTING_WORDS = {
    r"password authentication failed|no password supplied|no pg_hba.conf entry|role .* does not exist": NOT_LET_IN,
    r"database .* does not exist": UNKNOWN_DATABASE,
    r"permission denied for database": PRIVILEGE,
    r"failed to resolve host.*\[Errno -[25]\]|could not translate host name": HOST,
    r"^(invalid|server does not support|certificate|root certificate|SSL error)": "cannot be connected to: {said}",
}
PASSING_WORDS = {
    r"too many clients|connection slots are reserved|too many connections": FULL,
    r"the database system is": PASSING["57P"],
    r"Connection refused|No such file or directory|timeout expired|timed out|No route|unreachable": REFUSED,
    r"failed to resolve host": "the host's address cannot be found out at the moment",
    r"server closed the connection|connection is lost|connection is closed|Connection reset": PASSING["08"],
}
VALUES_IN_WORDS = ("22", "23")


def open_engine(url: URL) -> Engine:
    """Make the engine; what the URL says about the connection wins. Raises ConfigurationError for unknown options."""
    from psycopg import ProgrammingError as Malformed  # noqa: PLC0415  (see above)
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415

    if not url.database:
        raise ConfigurationError("database_url: name the database, as in postgresql://USER@HOST/NAME")
    own = {name: value for name, value in CONNECTION.items() if name not in url.query}
    own["options"] = " ".join([*(f"-c {name}={value}" for name, value in SESSION.items()), *_options(url)])
    engine = create_engine(url.set(drivername="postgresql+psycopg"), connect_args=own, hide_parameters=True, **POOL)
    try:
        known = engine.dialect.create_connect_args(engine.url)[1]
        make_conninfo(**{name: value for name, value in known.items() if name != "context"})
    except (Malformed, ArgumentError, ValueError) as error:
        said = re.sub(r'"[^"]*="?[^"]*"', "an option", str(error).strip())
        raise ConfigurationError(f"database_url: {said}; correct it") from None
    event.listen(engine, "handle_error", _leave_out_values)
    return engine


@contextmanager
def turn(_engine: Engine) -> Iterator[None]:
    """Hold nothing: any number may write."""
    yield


def prepare_upgrade(connection: Connection) -> None:
    """Wait for whoever upgrades now. Raises ConfigurationError for a database that cannot hold every text."""
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise ConfigurationError(f"database_url: the database's encoding is {encoding}; create it with ENCODING 'UTF8'")
    connection.execute(text(f"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '{UPGRADE_TIMEOUT}'"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SCHEMA_LOCK})
    connection.execute(text(f"SET LOCAL lock_timeout = '{SESSION['lock_timeout']}'"))


def is_row_error(error: DBAPIError) -> bool:
    """Constraints, and values that PostgreSQL or the driver cannot take; not a schema that is not as we know it."""
    if isinstance(error, IntegrityError | DataError):
        return True
    return isinstance(error, ProgrammingError) and _code(error.orig)[:2] in ("", "21")


def is_table_missing(error: BaseException | None) -> bool:
    """undefined_table, see postgresql.org/docs/current/errcodes-appendix.html."""
    return _code(error) == "42P01"


def explain(error: BaseException | None, _url: URL, name: str) -> GatewayError:
    """Say what a failure of PostgreSQL means for whoever runs the gateway."""
    code, said = _code(error), " ".join(str(error).split())
    said = said.rpartition("FATAL: ")[2].strip() or said
    if meaning := _by_code(LASTING, code) or _by_words(LASTING_WORDS, code, said):
        return ConfigurationError(f"{name}: {meaning.format(said=said)}")
    meaning = _by_code(PASSING, code) or _by_words(PASSING_WORDS, code, said) or said
    return Unavailable(f"{name}: {meaning}", retry_after=RETRY_AFTER_S)


def _options(url: URL) -> tuple[str, ...]:
    given = url.query.get("options", ())
    return (given,) if isinstance(given, str) else given


def _code(error: BaseException | None) -> str:
    return getattr(error, "sqlstate", None) or ""


def _by_code(meanings: Mapping[str, str], code: str) -> str | None:
    return next((meaning for start, meaning in meanings.items() if code.startswith(start)), None)


def _by_words(meanings: Mapping[str, str], code: str, said: str) -> str | None:
    if code:
        return None
    return next((meaning for words, meaning in meanings.items() if re.search(words, said)), None)


def _leave_out_values(context: ExceptionContext) -> None:
    """Keep what a row holds out of the texts of both errors: PostgreSQL likes to quote it."""
    error = context.original_exception
    code = _code(error)
    if not code:
        return
    diagnosis: Any = getattr(error, "diag", None)
    said = diagnosis.message_primary
    if code.startswith(VALUES_IN_WORDS):
        places = ("table_name", "column_name", "constraint_name")
        said = " ".join([code, type(error).__name__, *filter(None, (getattr(diagnosis, place) for place in places))])
    error.args = (said,)
    if context.sqlalchemy_exception is not None:
        kind = type(error)
        context.sqlalchemy_exception.args = (f"({kind.__module__}.{kind.__name__}) {said}",)
