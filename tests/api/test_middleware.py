"""Around every request: its id, security headers, and refusal while shutting down."""

import asyncio
import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from feedback_gateway.api.middleware import Drain
from feedback_gateway.app import create_app
from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.scripted import ScriptedClient
from feedback_gateway.services import Services
from feedback_gateway.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", ["/v1/calls", "/nowhere", "/docs", "/health/live", "/openapi.json"])
async def test_every_response_has_an_id_of_its_own_and_security_headers(client: httpx.AsyncClient, path: str) -> None:
    """Errors and pages too; an id from outside stands beside it."""
    first = await client.get(path, headers={"x-call-id": "mine"})
    second = await client.get(path)

    assert len({first.headers["x-request-id"], second.headers["x-request-id"], "mine"}) == 3
    assert first.headers["x-call-id"] == "mine"
    assert second.headers["x-call-id"] == second.headers["x-request-id"]
    assert first.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in first.headers["content-security-policy"]
    assert first.headers["cache-control"] == "no-store"


async def test_fault_of_ours_is_a_500_whose_log_quotes_no_user(
    client: httpx.AsyncClient, provider: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller learns the call's id; the log has the trace under it, without the exception's text."""

    def fail(request: CompletionRequest) -> Completion:
        raise KeyError(request.items[0]["text"])

    provider.play([fail])

    with caplog.at_level(logging.ERROR, logger="feedback_gateway"):
        response = await client.post("/v1/mood", json={"text": "what the user wrote"})

    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["call_id"] == response.headers["x-call-id"]
    assert response.headers["x-call-id"] in caplog.text
    assert "KeyError" in caplog.text
    assert "test_middleware.py" in caplog.text
    assert "what the user wrote" not in caplog.text + response.text


async def test_what_the_server_cancels_is_answered(client: httpx.AsyncClient) -> None:
    """A body that never comes to its end outlasts the time for shutting down."""
    asking = asyncio.Event()

    async def half_a_body() -> AsyncIterator[bytes]:
        yield b'{"text":'
        asking.set()
        await asyncio.Event().wait()

    headers = {"content-type": "application/json"}
    request = asyncio.create_task(client.post("/v1/mood", content=half_a_body(), headers=headers))
    await asking.wait()
    request.cancel()
    response = await request

    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.headers["content-type"] == "application/problem+json"


async def test_new_requests_are_refused_while_shutting_down(client: httpx.AsyncClient, app: FastAPI) -> None:
    """With the word when to come back, and the connection closed so that the next one goes elsewhere."""
    app.state.drain.close()

    response = await client.post("/v1/mood", json={"text": "fine"})

    assert response.status_code == 503
    assert response.json()["type"].endswith("unavailable")
    assert (response.headers["retry-after"], response.headers["connection"]) == ("1", "close")


async def test_shutdown_waits_for_what_is_in_flight() -> None:
    """Not for ever."""
    drain = Drain()
    drain.enter()
    drain.enter()
    drain.leave()

    late = await drain.idle(within=0)
    asyncio.get_running_loop().call_soon(drain.leave)
    done = await drain.idle(within=5)

    assert (late, done, drain.in_flight) == (False, True, 0)


async def test_requests_before_the_start_are_told_to_wait(settings: Settings) -> None:
    """The services are not open yet."""
    transport = httpx.ASGITransport(app=create_app(settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        response = await client.post("/v1/mood", json={"text": "fine"})

    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


async def test_application_opens_and_closes_its_own_services(settings: Settings) -> None:
    """Given none, it builds them from the settings when it starts."""
    app = create_app(settings)

    async with app.router.lifespan_context(app):
        services: Services = app.state.services
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            ready = await client.get("/health/ready")

    assert services.settings == settings
    assert ready.status_code == 200
