"""Liveness and readiness."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from feedback_gateway.llm.scripted import ScriptedClient
from feedback_gateway.settings import Settings
from tests.api.conftest import caller_of

pytestmark = pytest.mark.anyio


async def test_process_is_live_and_ready(client: httpx.AsyncClient) -> None:
    """With a database and a deployment."""
    live, ready = await client.get("/health/live"), await client.get("/health/ready")

    assert live.json() == {"status": "live"}
    assert ready.json() == {"status": "ready", "checks": {"database": "ok", "deployments": "ok"}, "warnings": []}


async def test_lost_database_is_not_ready(client: httpx.AsyncClient, settings: Settings) -> None:
    """The detail says what is wrong, the log's pages answer 503 as well."""
    database = Path(settings.database_url.removeprefix("sqlite:///"))
    for file in (database, Path(f"{database}-wal")):  # not its index, which the process has in its memory
        file.write_bytes(b"no database at all" * 1_000)

    ready, calls = await client.get("/health/ready"), await client.get("/v1/calls")

    assert (ready.status_code, calls.status_code) == (503, 503)
    assert ready.json()["type"].endswith("unavailable")
    assert "database" in ready.json()["detail"]
    assert int(ready.headers["retry-after"]) > 0


async def test_shutting_down_is_not_ready(client: httpx.AsyncClient, app: FastAPI) -> None:
    """While shutting down it says so, and goes on answering health checks."""
    app.state.drain.close()

    ready, live = await client.get("/health/ready"), await client.get("/health/live")

    assert (ready.status_code, live.status_code) == (503, 200)
    assert "shutting down" in ready.json()["detail"]


async def test_redis_that_is_down_is_a_warning(settings: Settings, provider: ScriptedClient) -> None:
    """The gateway starts without it and is ready: each process counts alone."""
    nowhere = settings.model_copy(update={"redis_url": SecretStr("redis://:hidden@127.0.0.1:1/0")})
    async with caller_of(nowhere, provider) as client:
        ready, answer = await client.get("/health/ready"), await client.post("/v1/mood", json={"text": "fine"})

    assert (ready.status_code, answer.status_code) == (200, 200)
    assert ready.json()["warnings"] == ["Redis does not answer (ConnectionError): each process goes on alone"]


def test_application_is_built_without_heavy_imports() -> None:
    """Importing litellm takes seconds; what is heavy is loaded when it is first needed."""
    heavy = ("litellm", "alembic", "redis", "limits")
    code = f"import sys, feedback_gateway.app; print([name for name in {heavy} if name in sys.modules])"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "[]"
