"""`worker` does what is due in the background, says when it begins, and ends when it is told to."""

import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from feedback_gateway.ledger.tables import ledger, reservations
from feedback_gateway.storage.engine import open_engine, reading, upgrade, writing

Start = Callable[..., "subprocess.Popen[bytes]"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
READY = b"The worker of Feedback Gateway is ready\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_worker_begins_and_ends(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    """One line, a sign of life, and a good exit without complaints."""
    process = start("worker", "--heartbeat", "alive")
    assert process.stdout is not None
    line = process.stdout.readline()
    deadline = time.monotonic() + 30
    while not (tmp_path / "alive").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)

    process.send_signal(number)
    output, errors = process.communicate(timeout=60)

    assert line == READY
    assert (process.returncode, output, errors) == (0, b"", b"")


def test_worker_settles_what_a_killed_gateway_left(start: Start, tmp_path: Path) -> None:
    """No other process need be there for it: the call is charged at its bound, and nothing stays reserved."""
    engine = open_engine(f"sqlite:///{tmp_path}/feedback-gateway.db")
    upgrade(engine)
    left = {"call_id": "0" * 26, "consumer": "team", "task": "severity", "prompt_version": 1, "model": "default"}
    with writing(engine) as connection:
        row = {**left, "created_at": datetime.now(UTC), "owner": f"{1:016x}", "amount_usd": Decimal(1)}
        connection.execute(insert(reservations), row)

    start("worker")
    deadline = time.monotonic() + 30
    lines: list[tuple[str, Decimal]] = []
    while not lines:
        assert time.monotonic() < deadline
        with reading(engine) as connection:
            lines = [(line.kind, line.amount_usd) for line in connection.execute(select(ledger))]
            held = connection.scalar(select(func.count()).select_from(reservations))
        time.sleep(0.05)
    engine.dispose()

    assert (lines, held) == ([("orphan", Decimal(1))], 0)


def test_configuration_that_cannot_work_is_one_line(run: Run, tmp_path: Path) -> None:
    """On standard error, with exit 2."""
    (tmp_path / "gateway.yaml").write_text("database_url: sqlite:////nowhere/at/all.db")

    done = run("worker")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("feedback-gateway: database_url: ")
