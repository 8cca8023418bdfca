"""`db upgrade`, and what `doctor` says about databases."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from feedback_gateway.cli.checkup import database
from feedback_gateway.settings import Settings
from feedback_gateway.storage.engine import HEAD
from tests.servers import PostgresServer, free_port

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def configure(folder: Path, database_url: str) -> None:
    """Write a configuration that names the database."""
    (folder / "gateway.yaml").write_text(json.dumps({"database_url": database_url}))


def test_upgrade_says_from_where_to_where(run: Run) -> None:
    """In one line, and again when there is nothing to do."""
    first, second = run("db", "upgrade"), run("db", "upgrade")

    name = f"database_url: sqlite:///feedback-gateway.db: schema {HEAD}, "
    assert (first.returncode, first.stdout) == (0, f"{name}upgraded from nothing to {HEAD}\n")
    assert (second.returncode, second.stdout) == (0, f"{name}up to date already\n")


def test_upgrade_makes_the_tables_of_postgresql(run: Run, tmp_path: Path, postgres: PostgresServer) -> None:
    """In a database that was empty."""
    postgres.execute("CREATE DATABASE upgraded")
    configure(tmp_path, postgres.url("upgraded"))

    done = run("db", "upgrade")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"/upgraded: schema {HEAD}, upgraded from nothing to {HEAD}\n")
    assert "CREATE TABLE public.calls" in postgres.schema("upgraded")


def test_upgrade_tells_in_one_line_what_is_wrong(run: Run, tmp_path: Path) -> None:
    """Without the password."""
    configure(tmp_path, f"postgresql://me:hunter2@127.0.0.1:{free_port()}/gateway")

    done = run("db", "upgrade")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "/gateway: nothing answers there; start PostgreSQL" in done.stderr
    assert "hunter2" not in done.stderr


def test_doctor_finds_a_database_in_order(database_url: str) -> None:
    """Of either kind."""
    (finding,) = database(Settings(database_url=database_url))

    kind = database_url.partition(":")[0]
    assert finding.state == "ok"
    assert finding.message == f"{kind} opens, its schema is up to date, and it can be written"


def test_doctor_says_what_is_wrong_with_a_database() -> None:
    """And how to mend it, without the password."""
    settings = Settings(database_url=f"postgresql://me:hunter2@127.0.0.1:{free_port()}/gateway")

    (finding,) = database(settings)

    assert finding.state == "fail"
    assert "start PostgreSQL, or correct the host and port" in finding.message
    assert "hunter2" not in finding.message + repr(settings)
