"""A real PostgreSQL and a real Redis, started by the tests on free ports and gone with them."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

DEADLINE_S = 60.0
ROLE, PASSWORD = "gateway", "only-for-tests"
# Nobody needs these rows after a power cut.
FAST = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]
SETTINGS = ["shared_buffers=32MB", "max_connections=60", "wal_level=minimal", "max_wal_senders=0", "jit=off"]
# `gateway` is let in as it is, everybody else by password.
HBA = "\n".join(
    [f"host all {ROLE} 127.0.0.1/32 trust", f"local all {ROLE} trust", "host all all 127.0.0.1/32 scram-sha-256", ""]
)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def postgres_programs() -> Path | None:
    """The folder of the newest PostgreSQL server on this machine."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    server = shutil.which("postgres")
    return found[-1] if found else Path(server).parent if server else None


class PostgresServer:
    """A cluster in a folder of its own. Whoever runs the tests as root runs it as somebody else, as it insists."""

    def __init__(self, programs: Path, folder: Path, *, fast: bool = True) -> None:
        self.port = free_port()
        self._programs = programs
        self._folder = folder
        self._user = "postgres" if os.getuid() == 0 else None
        self._settings = SETTINGS + (FAST if fast else [])
        self._server: subprocess.Popen[bytes] | None = None
        if self._user:
            shutil.chown(folder, self._user)
        arguments = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", f"--username={ROLE}", "--no-sync"]
        self._run(programs / "initdb", "--pgdata", folder / "data", *arguments)
        (folder / "data" / "pg_hba.conf").write_text(HBA)

    def url(self, database: str = "postgres", *, user: str = ROLE) -> str:
        """The `database_url` of one database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start, and return once connections are accepted."""
        where: list[str | Path] = [
            "-D",
            self._folder / "data",
            "-k",
            self._folder,
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
        ]
        settings = [f"-c{setting}" for setting in self._settings]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", *where, *settings],
                cwd=self._folder,
                stdout=log,
                stderr=log,
                user=self._user,
            )
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self._folder / "log").read_text()) from None
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop: SIGINT ends sessions and shuts down, SIGQUIT leaves everything as after a crash."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(DEADLINE_S)
            self._server = None

    @property
    def pid(self) -> int:
        """The process that all others of the server are children of."""
        assert self._server is not None
        return self._server.pid

    def execute(self, statement: str, *, database: str = "postgres") -> None:
        """Run one statement as the owner of the cluster."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)

    def schema(self, database: str, *, without: str = "nothing") -> str:
        """The statements that make the schema, but for those of the table `without`."""
        arguments = ["--schema-only", "--no-owner", f"--exclude-table={without}", self.url(database)]
        dumped = self._run(self._programs / "pg_dump", *arguments)
        return "\n".join(line for line in dumped.splitlines() if line and not line.startswith(("--", "\\")))

    def _run(self, *command: str | Path) -> str:
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=self._folder, user=self._user)
        return done.stdout


@contextmanager
def postgres_server(*, fast: bool = True) -> Iterator[PostgresServer]:
    """A running cluster, removed afterwards. Skips the test where PostgreSQL is not installed."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # Not below pytest's folder, which is closed to the user that the server runs as.
    with tempfile.TemporaryDirectory(prefix="fg-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(programs, Path(folder), fast=fast)
        try:
            server.start()
            yield server
        finally:
            server.stop()


class RedisServer:
    """A real redis-server on a free port of this machine."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it, and wait until it answers."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir"]
        self._process = subprocess.Popen([*command, str(self._folder), *options], stdout=subprocess.DEVNULL)
        self.await_answer()

    def await_answer(self) -> None:
        """Wait until it answers, also where only to ask for a password."""
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            with (
                suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S) as connection,
            ):
                connection.sendall(b"PING\r\n")
                if connection.recv(1):
                    return
        pytest.fail("redis-server does not answer")

    def client(self) -> "redis.Redis":
        """A client of the test's own."""
        return redis.Redis(port=self.port, decode_responses=True)

    def freeze(self) -> None:
        """Stop it as it stands: its port still takes connections, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)
        self.await_answer()

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def calls(self, command: str) -> int:
        """How often it has executed a command."""
        with self.client() as client:
            stats: dict[str, Any] = client.info("commandstats")
        return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])

    @property
    def reads(self) -> int:
        """How often it has read from a connection."""
        with self.client() as client:
            stats: dict[str, Any] = client.info("stats")
        return int(stats["total_reads_processed"])

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def running_redis(folder: Path) -> Iterator[RedisServer]:
    """A Redis that has just been started, gone at the end. Skips the test where Redis is not installed."""
    if shutil.which("redis-server") is None:
        pytest.skip("Redis is not installed: apt-get install redis-server")
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
