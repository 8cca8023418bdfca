"""Finished calls to store, and fresh databases to store them in."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from feedback_gateway.calls.models import Call
from feedback_gateway.clock import ManualClock
from feedback_gateway.llm.models import Deployment, Usage
from feedback_gateway.storage.engine import open_engine, upgrade

MakeCall = Callable[..., Call]
OpenDatabase = Callable[[], Engine]


@pytest.fixture(scope="session")
def deployment() -> Deployment:
    """A place to ask."""
    return Deployment(alias="default", name="openai/small", model="openai/small")


@pytest.fixture(scope="session")
def make_call(deployment: Deployment) -> MakeCall:
    """Makes a finished call, with one answered attempt for each of `costs` unless `usage` says otherwise."""
    clock = ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))

    def make_call(*, costs: Sequence[Decimal | None] = (Decimal("0.0001935"),), **fields: Any) -> Call:
        clock.advance(1)
        usage = fields.pop("usage", Usage(uncached_input_tokens=300, cache_read_tokens=10, output_tokens=58))
        values: dict[str, Any] = {
            "call_id": clock.new_id(),
            "consumer": "local",
            "task": "classify",
            "prompt_version": 1,
            "model": "default",
            "created_at": clock.now(),
            "started": 0.0,
            "deadline": 30.0,
            "attempts_left": 3,
            "deployment": deployment.name,
        }
        call = Call(**values | fields)
        for cost in costs:
            attempt = call.start_attempt(deployment, started_at=call.created_at, purpose="answer")
            attempt.status, attempt.usage, attempt.cost_usd = "ok", usage, cost
        return call

    return make_call


@pytest.fixture(scope="session")
def open_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenDatabase]:
    """Opens databases, each a file of its own with the newest schema."""
    folder = tmp_path_factory.mktemp("databases")
    template = open_engine(f"sqlite:///{folder / 'template.db'}")
    upgrade(template)
    template.dispose()
    engines: list[Engine] = []

    def open_database() -> Engine:
        file = folder / f"{len(engines)}.db"
        shutil.copy(folder / "template.db", file)
        engines.append(open_engine(f"sqlite:///{file}"))
        return engines[-1]

    yield open_database
    for engine in engines:
        engine.dispose()


@pytest.fixture
def engine(open_database: OpenDatabase) -> Engine:
    """An empty database."""
    return open_database()


@pytest.fixture
def database_file(engine: Engine) -> Path:
    """Where `engine` keeps its data."""
    return Path(str(engine.url.database))
