"""What an admin sees of the deployments, and what a caller is told while they are left alone."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from feedback_gateway.app import create_app
from feedback_gateway.errors import ProviderUnavailable
from feedback_gateway.llm.scripted import ScriptedClient
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings
from tests.api.access import bearer, make_key

pytestmark = pytest.mark.anyio

PATH = "/v1/admin/deployments"
PARAMS = {"model": "scripted/one", "api_key": "sk-secret", "api_base": "http://user:word@localhost:1"}


@pytest.fixture
async def admin(settings: Settings, provider: ScriptedClient) -> AsyncIterator[httpx.AsyncClient]:
    """An admin of a gateway whose calls may take two seconds, so that none waits for a cooldown of five."""
    raw: dict[str, Any] = settings.model_dump() | {
        "model_list": [{"model_name": "default", "litellm_params": PARAMS}],
        "retry": {"attempts": 1, "deadline": timedelta(seconds=2)},
    }
    settings = Settings.model_validate(raw)
    async with open_services(settings, provider=lambda _: provider) as services:
        app = create_app(settings, services)
        key = make_key(services, "boss", admin=True)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway", headers=key) as client,
        ):
            yield client


async def test_deployment_that_answers_is_healthy(admin: httpx.AsyncClient) -> None:
    """With what it was asked and how long it took; its key and address stay out."""
    await admin.post("/v1/mood", json={"text": "fine"})

    answer = await admin.get(PATH)

    (one,) = answer.json()["data"]
    assert one["latency"].pop("p50_ms") == one["latency"].pop("p95_ms") >= 0
    assert one == {
        "name": "scripted/one",
        "alias": "default",
        "model": "scripted/one",
        "state": "healthy",
        "cooling_down_until": None,
        "reason": None,
        "latency": {},
        "share": 1.0,
        "in_flight": 0,
        "attempts": 1,
        "failures": 0,
        "cooldowns": 0,
    }
    assert "secret" not in answer.text
    assert "localhost" not in answer.text


async def test_deployment_that_fails_is_left_alone_and_callers_are_told_until_when(
    admin: httpx.AsyncClient, provider: ScriptedClient
) -> None:
    """Three failures, then 503 with `retry-after` and without a request to the provider."""
    provider.play([ProviderUnavailable("down", status=500)])
    failed = [await admin.post("/v1/mood", json={"text": "fine"}) for _ in range(3)]

    refused = await admin.post("/v1/mood", json={"text": "fine"})

    assert [answer.status_code for answer in failed] == [502] * 3
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:feedback-gateway:problem:unavailable")
    assert "scripted/one: cools down after provider-unavailable" in refused.json()["detail"]
    assert 3 <= int(refused.headers["retry-after"]) <= 5
    assert len(provider.requests) == 3
    (one,) = (await admin.get(PATH)).json()["data"]
    assert (one["state"], one["reason"], one["failures"]) == ("cooling_down", "provider-unavailable", 3)
    assert datetime.fromisoformat(one["cooling_down_until"]) > datetime.now(UTC)


async def test_only_admins_see_them(admin: httpx.AsyncClient) -> None:
    """They tell what the operator runs."""
    assert (await admin.get(PATH, headers=bearer("fg-wrong"))).status_code == 401
