"""Background work outlives those who do it: nothing is lost and nothing is done twice, whoever is killed and when."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, func, select, text

from feedback_gateway.clock import SystemClock
from feedback_gateway.feedback.models import Job, NewItem
from feedback_gateway.feedback.repository import FeedbackRepository
from feedback_gateway.feedback.tables import analyses, feedback_items
from feedback_gateway.jobs.engine import jobs_url
from feedback_gateway.llm.scripted_server import ScriptedServer
from feedback_gateway.storage.engine import open_engine, upgrade
from tests.databases import KINDS
from tests.faults.gateways import gateway_process
from tests.faults.provider import deployment, items_asked, provider_in_thread
from tests.servers import postgres_server

ITEMS = 100
DEADLINE_S = 120.0
TAKEN_OVER_S = 60.0
CONCURRENCY = 2


def settings_for(provider: ScriptedServer, database_url: str, *, batch: int) -> dict[str, Any]:
    """Small batches of a task that the provider knows."""
    return {
        "database_url": database_url,
        "model_list": [deployment(provider)],
        "feedback": {"task": "severity", "batch": batch, "concurrency": CONCURRENCY},
    }


def until(condition: Callable[[], bool], *, within_s: float = DEADLINE_S) -> float:
    """Wait for what other processes do; for how many seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s
        time.sleep(0.05)
    return time.monotonic() - began


def count_analyses(engine: Engine) -> tuple[int, int, set[str]]:
    """How many analyses there are, of how many items, and what status items have."""
    with engine.connect() as connection:
        counted = connection.execute(select(func.count(), func.count(analyses.c.item_id.distinct()))).one()
        statuses = set(connection.scalars(select(feedback_items.c.status).distinct()))
    return counted[0], counted[1], statuses


@contextmanager
def opened(database_url: str) -> Iterator[Engine]:
    """A database as the tests look at it."""
    engine = open_engine(database_url)
    upgrade(engine)
    yield engine
    engine.dispose()


def submit(engine: Engine) -> Callable[[], Job]:
    """Store items for background work; what tells how far it is."""
    feedback = FeedbackRepository(engine, SystemClock())
    items = [NewItem(text=f"Lost number {number}", source="shop") for number in range(ITEMS)]
    job_id, _ = feedback.add(items, consumer="local", task="severity")
    return lambda: feedback.job(job_id)


@contextmanager
def worker(folder: Path, settings: dict[str, Any]) -> Iterator["subprocess.Popen[bytes]"]:
    """A `worker` that has begun, gone at the end."""
    folder.mkdir()
    (folder / "gateway.yaml").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "feedback_gateway", "worker"]
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=errors)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"The worker of Feedback Gateway is ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


class Holders:
    """Who has work in hand, as the job engine itself keeps it."""

    def __init__(self, database_url: str) -> None:
        self._engine = open_engine(jobs_url(database_url))
        schema = "dbos." if self._engine.dialect.name == "postgresql" else ""
        self._query = text(f"SELECT DISTINCT executor_id FROM {schema}workflow_status WHERE status = 'PENDING'")

    def now(self) -> set[str]:
        """The ids of processes."""
        with self._engine.connect() as connection:
            return set(connection.scalars(self._query))

    def close(self) -> None:
        """Look no more."""
        self._engine.dispose()


@pytest.mark.parametrize("after", [1, 40])
def test_a_killed_gateway_goes_on_where_it_was(tmp_path: Path, after: int) -> None:
    """SIGKILL of `serve` with a hundred items in work: after its restart each is analysed, once."""
    database_url = f"sqlite:///{tmp_path}/feedback.db"
    with provider_in_thread(delay_s=0.05) as provider, ExitStack() as stack:
        gateway = stack.enter_context(gateway_process(tmp_path / "a", settings_for(provider, database_url, batch=10)))
        engine = stack.enter_context(opened(database_url))
        items = [{"text": f"Lost {number}", "source": "shop", "external_id": str(number)} for number in range(ITEMS)]
        answer = httpx.post(f"{gateway.url}/v1/feedback", json={"items": items})
        until(lambda: items_asked(provider) >= after)

        gateway.kill()
        done_before = count_analyses(engine)[0]
        gateway.start()
        again = httpx.post(f"{gateway.url}/v1/feedback", json={"items": items})
        job_url = f"{gateway.url}/v1/jobs/{answer.json()['job_id']}"
        until(lambda: httpx.get(job_url).json()["status"] == "done")
        job = httpx.get(job_url).json()
        counted = count_analyses(engine)
        code = gateway.stop()

    assert (answer.status_code, again.status_code) == (202, 202)
    assert again.json()["ids"] == answer.json()["ids"]
    assert done_before < ITEMS
    assert (job["total"], job["counts"]["analysed"]) == (ITEMS, ITEMS)
    assert counted == (ITEMS, ITEMS, {"analysed"})
    assert ITEMS <= items_asked(provider) <= ITEMS + 10 * CONCURRENCY  # what it had asked for when it was killed
    assert code == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_worker_leaves_that_died_for_good_another_takes_over(tmp_path: Path, kind: str) -> None:
    """Within a minute, each item once, also what the dead one had in hand."""
    with provider_in_thread(delay_s=1.0) as provider, ExitStack() as stack:
        if kind == "postgresql":
            database_url = stack.enter_context(postgres_server()).url()
        else:
            database_url = f"sqlite:///{tmp_path}/feedback.db"
        engine = stack.enter_context(opened(database_url))
        job = submit(engine)
        settings = settings_for(provider, database_url, batch=5)
        dying = stack.enter_context(worker(tmp_path / "dying", settings))
        until(lambda: items_asked(provider) > 0)
        holders = Holders(database_url)
        stack.callback(holders.close)
        [owner] = holders.now()
        stack.enter_context(worker(tmp_path / "other", settings))
        until(lambda: len(holders.now()) > 1)

        dying.send_signal(signal.SIGKILL)
        held = owner in holders.now()
        seconds = until(lambda: owner not in holders.now(), within_s=TAKEN_OVER_S)
        until(lambda: job().is_done)
        counted = count_analyses(engine)

    assert held
    assert seconds < TAKEN_OVER_S
    assert counted == (ITEMS, ITEMS, {"analysed"})
    assert ITEMS <= items_asked(provider) <= ITEMS + 5 * CONCURRENCY
