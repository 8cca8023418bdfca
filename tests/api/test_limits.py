"""Rate limits over HTTP: exactly what deployments may be sent is sent, and the 429 says whose limit it was."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from feedback_gateway.api.problems import limit_headers
from feedback_gateway.app import create_app
from feedback_gateway.consumers.models import Limits as RequestLimits
from feedback_gateway.errors import RateLimited
from feedback_gateway.llm.scripted import ScriptedClient
from feedback_gateway.services import open_services
from feedback_gateway.settings import CacheSettings, ModelEntry, Settings
from tests.api.access import make_key
from tests.api.conftest import caller_of

pytestmark = pytest.mark.anyio


def entry(model: str, **params: Any) -> ModelEntry:
    """A deployment of `default` with a key and an address that nobody may see."""
    secrets = {"api_key": "sk-secret-key", "api_base": "http://secret-base.example"}
    return ModelEntry.model_validate({"model_name": "default", "litellm_params": {"model": model, **secrets, **params}})


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Two deployments, of two and three requests a minute; the same question is asked each time."""
    model_list = [entry("scripted/two", rpm=2), entry("scripted/three", rpm=3)]
    return settings.model_copy(update={"model_list": model_list, "cache": CacheSettings(max_entries=0)})


async def test_of_fifty_calls_at_once_exactly_what_the_deployments_may_be_sent_is_sent(
    client: httpx.AsyncClient, provider: ScriptedClient
) -> None:
    """Two and three requests a minute are five; the others are told whose limit it was and when to come back."""
    responses = await asyncio.gather(*(client.post("/v1/mood", json={"text": "fine"}) for _ in range(50)))

    answered = [response.json()["deployment"] for response in responses if response.status_code == 200]
    refused = [response for response in responses if response.status_code == 429]
    assert Counter(answered) == {"scripted/two": 2, "scripted/three": 3}
    assert (len(provider.requests), len(refused)) == (5, 45)
    for response in refused:
        limit = response.json()["rate_limit"]
        assert (limit["source"], limit["scope"], limit["unit"], limit["window_s"]) == (
            "gateway",
            "deployment",
            "requests",
            60,
        )
        assert {"scripted/two": 2, "scripted/three": 3}[limit["name"]] == limit["limit"]
        assert 1 <= limit["retry_after_s"] <= 60
        assert response.headers["retry-after"] == str(limit["retry_after_s"])
        assert response.headers["ratelimit-limit"] == str(limit["limit"])
        assert response.headers["ratelimit-remaining"] == "0"
        assert response.headers["ratelimit-reset"] == response.headers["retry-after"]
        assert "secret" not in response.text + str(response.headers)


async def test_refused_call_is_in_the_log_and_cost_nothing(client: httpx.AsyncClient) -> None:
    """One row, no attempt."""
    for _ in range(6):
        response = await client.post("/v1/mood", json={"text": "fine"})

    logged = (await client.get(f"/v1/calls/{response.headers['x-call-id']}")).json()

    assert (response.status_code, response.headers["x-cost-usd"]) == (429, "0")
    assert (logged["status"], logged["error"], logged["attempts"]) == ("failed", "rate-limited", [])


async def test_item_over_the_limit_fails_alone(client: httpx.AsyncClient, provider: ScriptedClient) -> None:
    """Of seven items five are answered; the others have the problem in their place."""
    response = await client.post("/v1/mood", json={"items": [{"text": "fine"}] * 7})

    results = response.json()["results"]
    failed = [result["error"] for result in results if "error" in result]
    assert (response.status_code, len(results), len(failed), len(provider.requests)) == (200, 7, 2, 5)
    assert {error["rate_limit"]["scope"] for error in failed} == {"deployment"}


async def test_request_that_never_fits_is_not_told_to_come_back(settings: Settings, provider: ScriptedClient) -> None:
    """Ten tokens a minute are fewer than any request counts as: a time would be a lie."""
    small = settings.model_copy(update={"model_list": [entry("scripted/small", tpm=10)]})

    async with caller_of(small, provider) as client:
        response = await client.post("/v1/mood", json={"text": "fine"})

    assert (response.status_code, provider.requests) == (429, [])
    assert "retry-after" not in response.headers
    assert response.json()["rate_limit"]["retry_after_s"] is None
    assert "its limit is 10 tokens a minute, the request counts as" in response.json()["detail"]


async def test_limit_that_a_route_finds_used_up_is_told_alike(app: FastAPI) -> None:
    """Whoever raises it: a consumer's limit is refused with the same document and headers."""

    async def refuse() -> None:
        raise RateLimited(
            "consumer 'acme': its limit of 5 requests a minute is used up, again in 12 s",
            source="gateway",
            scope="consumer",
            name="acme",
            limit=5,
            unit="requests",
            retry_after=11.2,
        )

    app.add_api_route("/refuse", refuse)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        response = await client.get("/refuse")

    assert (response.status_code, response.headers["retry-after"]) == (429, "12")
    assert response.headers["ratelimit-limit"] == "5"
    assert response.json()["type"] == "urn:feedback-gateway:problem:rate-limited"
    assert response.json()["rate_limit"]["scope"] == "consumer"


def test_seconds_until_there_is_more_are_whole() -> None:
    """And left out where nobody knows them."""
    told = {"ratelimit-limit": "5", "ratelimit-remaining": "3"}

    assert limit_headers(limit=5, remaining=3, reset_s=11.2) == {**told, "ratelimit-reset": "12"}
    assert limit_headers(limit=5, remaining=3, reset_s=None) == told


async def test_of_a_hundred_calls_at_once_exactly_what_the_consumer_may_send_is_answered(
    settings: Settings, provider: ScriptedClient
) -> None:
    """Five requests a minute are five, over both deployments; the others are told that it is the consumer's limit."""
    roomy = settings.model_copy(update={"model_list": [entry("scripted/one"), entry("scripted/other")]})
    async with open_services(roomy, provider=lambda _: provider) as services:
        key = make_key(services, "acme", limits=RequestLimits(requests_per_minute=5))
        other = make_key(services, "other", limits=RequestLimits(requests_per_minute=5))
        app = create_app(roomy, services)
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
        ):
            asked = (client.post("/v1/mood", json={"text": "fine"}, headers=key) for _ in range(100))
            responses = await asyncio.gather(*asked)
            unharmed = await client.post("/v1/mood", json={"text": "fine"}, headers=other)

    answered = [response for response in responses if response.status_code == 200]
    refused = [response for response in responses if response.status_code == 429]
    assert (len(answered), len(refused), unharmed.status_code, len(provider.requests)) == (5, 95, 200, 6)
    assert sorted(response.headers["ratelimit-remaining"] for response in answered) == ["0", "1", "2", "3", "4"]
    for response in refused:
        limit = response.json()["rate_limit"]
        assert (limit["scope"], limit["name"], limit["limit"]) == ("consumer", "acme", 5)
        assert 1 <= int(response.headers["retry-after"]) <= 60
