"""Transactions that write, from many threads and in forked processes, on both kinds of database."""

import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Engine, func, insert, select
from sqlalchemy.exc import IntegrityError

from feedback_gateway.calls.booking import call_row
from feedback_gateway.calls.tables import calls
from feedback_gateway.errors import Unavailable
from feedback_gateway.storage.engine import try_writing, writing
from tests.llm.calls import new_call

PLANTED = "planted word".replace(" ", "-")  # nowhere in the source, which tracebacks quote
FORKS = """
import os, sys
from sqlalchemy import text
from feedback_gateway.storage.engine import open_engine, try_writing

engine = open_engine(sys.argv[1])
try_writing(engine)
child = os.fork()
if child == 0:
    for _ in range(20):
        try_writing(engine)
    engine.dispose()
    os._exit(0)
for _ in range(20):
    try_writing(engine)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
try_writing(engine)
print(code, engine.pool.checkedin())
engine.dispose()
"""


def row(**fields: Any) -> dict[str, Any]:
    """A call as it is stored."""
    return call_row(new_call()) | fields


def count(engine: Engine) -> int:
    """How many calls are stored."""
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(calls)) or 0


def test_what_was_written_is_there_afterwards(engine: Engine) -> None:
    """It is committed at the end."""
    with writing(engine) as connection:
        connection.execute(insert(calls), row())

    assert count(engine) == 1


def test_an_error_leaves_nothing_behind(engine: Engine) -> None:
    """It is raised as it is, and the next one may write."""

    def write() -> None:
        with writing(engine) as connection:
            connection.execute(insert(calls), row())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()

    try_writing(engine)
    assert count(engine) == 0


def test_threads_that_write_at_once_lose_nothing(engine: Engine) -> None:
    """More of them than there are connections: each waits for its turn."""

    def write(_: int) -> None:
        for _ in range(5):
            with writing(engine) as connection:
                connection.execute(insert(calls), row())

    with ThreadPoolExecutor(24) as threads:
        list(threads.map(write, range(24)))

    assert count(engine) == 120


def test_readers_do_not_wait_for_a_writer(engine: Engine) -> None:
    """Nor do they see what is not committed."""
    with writing(engine) as connection:
        connection.execute(insert(calls), row())
        seen = count(engine)

    assert seen == 0
    assert count(engine) == 1


def test_writing_within_writing_is_a_mistake_that_is_told(sqlite_engine: Engine) -> None:
    """On SQLite it would wait for itself."""
    with (
        pytest.raises(RuntimeError, match="began to write again"),
        writing(sqlite_engine),
        writing(sqlite_engine),
    ):
        pass

    try_writing(sqlite_engine)


def test_who_waits_too_long_for_another_thread_is_told(sqlite_engine: Engine) -> None:
    """The wait is cut short here."""
    sqlite_engine.get_execution_options()["turns"].patience_s = 0.01
    started, over = Event(), Event()

    def write_slowly() -> None:
        with writing(sqlite_engine):
            started.set()
            over.wait(30)

    with ThreadPoolExecutor(1) as thread:
        slow = thread.submit(write_slowly)
        started.wait(30)
        with pytest.raises(Unavailable, match="more with it at once than it can") as caught:
            try_writing(sqlite_engine)
        over.set()
        slow.result()

    assert caught.value.retry_after == 1.0
    try_writing(sqlite_engine)


def test_no_error_repeats_what_a_row_holds(engine: Engine) -> None:
    """Neither the exception's text nor anything in its traceback: both go to logs."""
    with pytest.raises(IntegrityError) as caught, writing(engine) as connection:
        connection.execute(insert(calls), row(consumer=PLANTED, task=None))

    said = "".join(traceback.format_exception(caught.value))
    assert "task" in said
    assert PLANTED not in said
    assert PLANTED not in repr(caught.value) + repr(caught.value.orig)


def test_no_error_about_a_key_repeats_it(engine: Engine) -> None:
    """PostgreSQL would quote it."""
    with pytest.raises(IntegrityError) as caught, writing(engine) as connection:
        connection.execute(insert(calls), [row(call_id=PLANTED), row(call_id=PLANTED)])

    assert PLANTED not in "".join(traceback.format_exception(caught.value))


def test_a_forked_child_and_its_parent_write_with_connections_of_their_own(database_url: str) -> None:
    """A connection that two processes use is broken for both."""
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", FORKS, database_url]

    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("0 1\n", "")
