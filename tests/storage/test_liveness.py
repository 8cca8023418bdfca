"""Processes that live, stop, fork and die, seen by another one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import pytest
from sqlalchemy import Engine, text

from feedback_gateway.errors import ConfigurationError, Unavailable
from feedback_gateway.storage.engine import open_engine
from feedback_gateway.storage.liveness import Liveness, open_liveness
from tests.servers import PostgresServer

DEADLINE_S = 30.0
PROGRAM = """
import os, sys
from feedback_gateway.storage.engine import open_engine
from feedback_gateway.storage.liveness import open_liveness

def say(what):
    os.write(1, f"{what}\\n".encode())

liveness = open_liveness(open_engine(sys.argv[1]))
liveness.start()
child = os.fork() if "fork" in sys.argv else None
if child == 0:
    say(liveness.is_alive(liveness.id))
    liveness.renew()
else:
    say(liveness.id)
sys.stdin.read()
if child == 0:
    say(liveness.is_alive(liveness.id))
"""

Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def begin(database_url: str) -> Iterator[Begin]:
    """Begins processes that are alive in the database until their input ends."""
    with ExitStack() as stack:

        def begin(*arguments: str) -> "subprocess.Popen[str]":
            command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM, database_url, *arguments]
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            return process

        yield begin


@contextmanager
def living(engine: Engine) -> Iterator[Liveness]:
    """One that is alive in this process."""
    liveness = open_liveness(engine)
    liveness.start()
    try:
        yield liveness
    finally:
        liveness.close()


@pytest.fixture
def observer(engine: Engine) -> Iterator[Liveness]:
    """Who looks at the others."""
    with living(engine) as liveness:
        yield liveness


def line(source: IO[str] | None) -> str:
    """What a process says next."""
    assert source is not None
    return source.readline().strip()


def dies(observer: Liveness, other_id: str) -> bool:
    """Whether it is seen dead before the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if not observer.is_alive(other_id):
            return True
    return False


def test_a_process_is_alive_until_it_is_killed(begin: Begin, observer: Liveness) -> None:
    """SIGKILL gives it no time to say so."""
    process = begin()
    other = line(process.stdout)
    was_alive = observer.is_alive(other)

    process.kill()
    process.wait()

    assert was_alive
    assert dies(observer, other)


def test_a_process_that_ends_by_itself_is_dead(begin: Begin, observer: Liveness) -> None:
    """Though it never closed anything."""
    process = begin()
    other = line(process.stdout)

    process.communicate()

    assert dies(observer, other)


def test_a_process_that_is_stopped_is_alive(begin: Begin, observer: Liveness) -> None:
    """It may go on at any time and settle what it has begun; no clock says otherwise."""
    process = begin()
    other = line(process.stdout)

    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)

    assert all(observer.is_alive(other) for _ in range(100))


def test_a_forked_child_does_not_keep_its_parent_alive(begin: Begin, observer: Liveness) -> None:
    """It inherits what the parent has open; and it knows itself when the parent is gone."""
    process = begin("fork")
    said = [line(process.stdout), line(process.stdout)]
    other = next(one for one in said if one != "True")

    process.kill()
    process.wait()

    assert "True" in said
    assert dies(observer, other)
    assert process.stdin is not None
    process.stdin.close()
    assert line(process.stdout) == "False"


def test_each_is_alive_for_all_others_and_for_itself(engine: Engine) -> None:
    """Several in one process too; the dead are told apart."""
    with ExitStack() as stack:
        several = [stack.enter_context(living(engine)) for _ in range(8)]
        ids = [one.id for one in several]

        for dead in several[::2]:
            dead.close()

        for one in several[1::2]:
            assert [one.is_alive(other) for other in ids] == [False, True] * 4
    assert len(set(ids)) == 8


def test_who_has_not_started_is_dead(engine: Engine, observer: Liveness) -> None:
    """Also in its own eyes; it may still look at others."""
    idle = open_liveness(engine)

    seen = idle.is_alive(observer.id), idle.is_alive(idle.id), observer.is_alive(idle.id)
    idle.close()

    assert seen == (True, False, False)


@pytest.mark.parametrize("other", ["", "nobody", "f" * 16, "4" + "0" * 15, "0" * 15, "0" * 17, "0" * 15 + "\n"])
def test_what_is_no_id_is_nobody_alive(observer: Liveness, other: str) -> None:
    """Whoever wrote it."""
    assert not observer.is_alive(other)


def test_closing_twice_does_no_harm(engine: Engine) -> None:
    """Nor does starting again."""
    with living(engine) as one, living(engine) as other:
        one.close()
        one.close()
        was_alive = other.is_alive(one.id)
        one.start()

        assert not was_alive
        assert other.is_alive(one.id)


def test_another_look_at_the_file_does_not_end_a_life(sqlite_engine: Engine) -> None:
    """As it would with the locks that belong to a process as a whole."""
    with living(sqlite_engine) as one, living(sqlite_engine) as other:
        Path(f"{sqlite_engine.url.database}-alive").read_bytes()

        assert other.is_alive(one.id)


def test_a_life_outlasts_its_file(sqlite_engine: Engine) -> None:
    """Once it is renewed: whoever removed the file took the locks with it."""
    with living(sqlite_engine) as one, living(sqlite_engine) as other:
        Path(f"{sqlite_engine.url.database}-alive").unlink()

        is_lost = not other.is_alive(one.id)
        one.renew()

        assert is_lost
        assert other.is_alive(one.id)
        assert one.is_alive(other.id)


def test_a_file_that_cannot_be_opened_is_a_wrong_configuration(sqlite_engine: Engine) -> None:
    """A folder stands in its place here."""
    Path(f"{sqlite_engine.url.database}-alive").mkdir()

    with pytest.raises(ConfigurationError, match="-alive beside it: Is a directory"):
        open_liveness(sqlite_engine).start()


def test_locks_of_processes_tell_the_dead_as_well(sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no others, as on macOS."""
    program = PROGRAM.replace("import os, sys", "import fcntl, os, sys; del fcntl.F_OFD_SETLK, fcntl.F_OFD_GETLK")
    monkeypatch.delattr("fcntl.F_OFD_SETLK")
    monkeypatch.delattr("fcntl.F_OFD_GETLK")
    command = [sys.executable, "-c", program, f"sqlite:///{sqlite_engine.url.database}"]
    with (
        living(sqlite_engine) as observer,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        other = line(process.stdout)
        was_alive = observer.is_alive(other)
        process.kill()

        assert was_alive
        assert dies(observer, other)


def test_a_life_outlasts_a_restart_of_postgresql(postgres: PostgresServer, postgresql_engine: Engine) -> None:
    """Under the same id, from its next renewal on."""
    with living(postgresql_engine) as one, living(postgresql_engine) as other:
        postgres.stop()
        with pytest.raises(Unavailable):
            one.renew()
        with pytest.raises(Unavailable):
            one.is_alive(other.id)
        postgres.start()

        is_lost = not other.is_alive(one.id)
        one.renew()

        assert is_lost
        assert other.is_alive(one.id)


def test_a_session_that_postgresql_ended_is_opened_again(postgres: PostgresServer, postgresql_engine: Engine) -> None:
    """As an administrator, or a limit on idle sessions, may do."""
    with living(postgresql_engine) as one, living(postgresql_engine) as other:
        postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        is_lost = dies(other, one.id)

        one.renew()

        assert is_lost
        assert other.is_alive(one.id)


def test_a_session_that_the_server_still_holds_on_to_keeps_its_process_alive(postgresql_engine: Engine) -> None:
    """As when the network was cut: the server notices later than we do."""
    with living(postgresql_engine) as one, living(postgresql_engine) as other:
        forgotten, one._session = one._session, None  # type: ignore[attr-defined]
        one.renew()
        was_alive = other.is_alive(one.id)

        forgotten.close()
        is_lost = dies(other, one.id)
        one.renew()

        assert was_alive
        assert is_lost
        assert other.is_alive(one.id)


def test_signs_of_life_take_no_connection_from_the_pool(postgresql_engine: Engine) -> None:
    """Their sessions are beside it."""
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(living(postgresql_engine))

        in_use = postgresql_engine.pool.checkedout()  # type: ignore[attr-defined]

    assert in_use == 0


def test_processes_of_other_databases_do_not_meet(tmp_path: Path, observer: Liveness) -> None:
    """An id is alive in its own database."""
    elsewhere = open_engine(f"sqlite:///{tmp_path / 'other.db'}")

    with living(elsewhere) as other, elsewhere.connect() as connection:
        connection.execute(text("SELECT 1"))
        seen = observer.is_alive(other.id)
    elsewhere.dispose()

    assert not seen
