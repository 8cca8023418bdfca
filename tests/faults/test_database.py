"""A gateway whose database is away, hangs, is full or may not be written: told, refused in time, and well by itself."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_FSIZE, prlimit
from typing import Any

import httpx
import psycopg
import pytest

from tests.faults.asking import call, is_ready, readiness, until
from tests.faults.gateways import GatewayProcess, gateway_process
from tests.faults.provider import deployment, provider_in_thread
from tests.servers import PostgresServer, postgres_server

READ_ONLY = "may only be read at the moment"
LONGEST_S = 15.0
"""Nobody who asks a gateway without a database waits longer, on a busy machine."""


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, which keeps what it has confirmed also when it is killed."""
    with postgres_server(fast=False) as server:
        yield server


@contextmanager
def asked(folder: Path, **settings: Any) -> Iterator[tuple[GatewayProcess, httpx.Client]]:
    """A gateway that has answered a call, and a client."""
    with (
        gateway_process(folder, settings) as gateway,
        httpx.Client(base_url=gateway.url, timeout=60) as client,
    ):
        assert call(client).status_code == 200
        until(client, is_ready)
        yield gateway, client


def assert_refused(client: httpx.Client) -> str:
    """A call is refused in time, as a problem that tells when to come back and nothing of our insides; its detail."""
    begun = time.monotonic()
    answer = call(client)

    assert time.monotonic() - begun < LONGEST_S
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["type"] == "urn:feedback-gateway:problem:unavailable"
    assert "Traceback" not in answer.text
    assert "sqlalchemy" not in answer.text
    detail: str = answer.json()["detail"]
    return detail


def freeze(server: PostgresServer) -> list[int]:
    """Stop the server as it stands, with all its children; their processes."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    pids = [server.pid, *map(int, children)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


def test_restarted_postgres_loses_nothing_and_is_found_again(tmp_path: Path, postgres: PostgresServer) -> None:
    """Killed under load: refusals meanwhile, and then every answer is in the log, charged, and nothing reserved."""
    with ExitStack() as stack:
        provider = stack.enter_context(provider_in_thread(delay_s=0.05))
        settings = {"database_url": postgres.url(), "model_list": [deployment(provider)]}
        gateway, client = stack.enter_context(asked(tmp_path / "gateway", **settings))
        answers: list[tuple[int, str]] = []
        over = threading.Event()

        def call_until_over() -> None:
            with httpx.Client(base_url=gateway.url, timeout=60) as own:
                while not over.is_set():
                    answer = call(own)
                    answers.append((answer.status_code, answer.headers["x-call-id"]))

        callers = [threading.Thread(target=call_until_over) for _ in range(4)]
        for caller in callers:
            caller.start()
        wait_for(lambda: len(answers) > 20)
        postgres.stop(signal.SIGQUIT)
        away = until(client, lambda told: told["http"] == 503)
        assert_refused(client)
        postgres.start()
        until(client, is_ready)
        served = len(answers)
        wait_for(lambda: sum(status == 200 for status, _ in answers[served:]) > 20)
        over.set()
        for caller in callers:
            caller.join()
        wait_for(lambda: counted(postgres, "reservations") == 0)
        code = gateway.stop()

    logged = {call_id for (call_id,) in rows(postgres, "SELECT call_id FROM calls")}
    answered = [call_id for status, call_id in answers if status == 200]
    charged = {call_id for (call_id,) in rows(postgres, "SELECT call_id FROM ledger")}
    assert {status for status, _ in answers} == {200, 503}
    assert set(answered) <= logged
    assert set(answered) <= charged
    assert away["detail"].startswith("database: ")
    assert (code, "Traceback" in gateway.errors) == (0, False)


def test_postgres_that_hangs_makes_nobody_wait_for_ever(tmp_path: Path, postgres: PostgresServer) -> None:
    """Frozen, not gone: its connections stand. Calls are refused in time, and answered once it goes on."""
    with asked(tmp_path / "gateway", database_url=postgres.url()) as (gateway, client):
        frozen = freeze(postgres)
        try:
            refusals = [assert_refused(client) for _ in range(2)]
            ready = readiness(client)
            live = client.get("/health/live").status_code
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        until(client, is_ready)
        answer = call(client)
        code = gateway.stop()

    assert [detail for detail in refusals if "did not answer within" not in detail] == []
    assert (ready["http"], live) == (503, 200)
    assert ready["detail"].startswith("database: ")
    assert (answer.status_code, code) == (200, 0)


def test_database_that_may_only_be_read_is_told(tmp_path: Path, postgres: PostgresServer) -> None:
    """A standby, or a switch of its owner: readiness names it, calls that cost are refused; then all is well."""
    with ExitStack() as stack:
        provider = stack.enter_context(provider_in_thread())
        settings = {"database_url": postgres.url(), "model_list": [deployment(provider)]}
        _, client = stack.enter_context(asked(tmp_path / "gateway", **settings))
        switch(postgres, "on")
        told = until(client, lambda told: READ_ONLY in str(told.get("detail")))  # first its sessions are ended
        asked_before = len(provider.heard)
        detail = assert_refused(client)
        asked_meanwhile = len(provider.heard) - asked_before
        switch(postgres, "off")
        until(client, is_ready)
        answer = call(client)

    assert (told["http"], told["detail"].startswith("database: ")) == (503, True)
    assert READ_ONLY in detail
    assert asked_meanwhile == 0
    assert answer.status_code == 200


def test_full_disk_is_told_and_room_is_enough_to_go_on(tmp_path: Path) -> None:
    """The process may let no file grow: readiness says what to do, calls that cost are refused; then all is well.

    A limit of the process stands for the disk, as any user may set it and nobody else is hindered by it.
    """
    with ExitStack() as stack:
        provider = stack.enter_context(provider_in_thread())
        gateway, client = stack.enter_context(asked(tmp_path / "gateway", model_list=[deployment(provider)]))
        prlimit(gateway.pid, RLIMIT_FSIZE, (4096, RLIM_INFINITY))
        told = until(client, lambda told: told["http"] == 503)
        asked_before = len(provider.heard)
        detail = assert_refused(client)
        asked_meanwhile = len(provider.heard) - asked_before
        prlimit(gateway.pid, RLIMIT_FSIZE, (RLIM_INFINITY, RLIM_INFINITY))
        until(client, is_ready)
        answer = call(client)
        code = gateway.stop()

    assert told["detail"].startswith("database: database_url: sqlite:///")
    assert "make room" in told["detail"]
    assert "make room" in detail
    assert asked_meanwhile == 0
    assert (answer.status_code, code, "Traceback" in gateway.errors) == (200, 0, False)


def wait_for(holds: Any) -> None:
    """Return once that is so."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def rows(server: PostgresServer, statement: str) -> list[Any]:
    """What a statement selects."""
    with psycopg.connect(server.url()) as connection:
        return connection.execute(statement).fetchall()


def counted(server: PostgresServer, table: str) -> int:
    """How many rows a table has."""
    ((count,),) = rows(server, f"SELECT count(*) FROM {table}")
    return int(count)


def switch(server: PostgresServer, read_only: str) -> None:
    """Let new sessions read only, or write again, and end those that there are."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER DATABASE postgres SET default_transaction_read_only = {read_only}")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
