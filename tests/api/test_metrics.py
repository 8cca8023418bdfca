"""`GET /metrics` tells everybody how much, and nobody what."""

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families

from feedback_gateway.errors import ProviderUnavailable
from feedback_gateway.llm.scripted import ScriptedClient
from feedback_gateway.services import Services
from tests.api.conftest import fill_in

pytestmark = pytest.mark.anyio


async def samples(client: httpx.AsyncClient) -> dict[tuple[str, str], float]:
    """Every sample by its name and the values of its labels, in the order of their names."""
    response = await client.get("/metrics")
    assert response.status_code == 200
    return {
        (sample.name.removeprefix("feedback_gateway_"), " ".join(sample.labels.values())): sample.value
        for family in families(response.text)
        for sample in family.samples
    }


async def test_call_is_counted_on_its_way(client: httpx.AsyncClient) -> None:
    """By the request, the call, the attempt, the tokens and the money."""
    await client.post("/v1/mood", json={"text": "fine"})

    shown = await samples(client)

    assert shown["http_requests_total", "POST /v1/{task} 2xx"] == 1
    assert shown["http_request_duration_seconds_count", "/v1/{task}"] == 1
    assert shown["calls_total", "false default ok mood"] == 1
    assert shown["attempts_total", "scripted/one ok"] == 1
    assert shown["tokens_total", "scripted/one uncached_input default"] == 100
    assert shown["cost_usd_total", "default mood"] == pytest.approx(0.000054)
    assert shown["http_requests_in_flight", ""] == 1
    assert (shown["cache_hits_total", ""], shown["cache_bytes", ""] >= 0) == (0, True)
    assert shown["deployment_cooling_down", "scripted/one"] == 0
    assert (shown["calls_open", ""], shown["calls_settling", ""], shown["reserved_usd", ""]) == (0, 0, 0)
    assert shown["call_log_written_total", ""] + shown["call_log_waiting", ""] == 1
    assert [value for name, value in shown.items() if name[0] == "build_info"] == [1]


async def test_failures_are_counted_by_their_code(client: httpx.AsyncClient, provider: ScriptedClient) -> None:
    """Of the call and of the attempt."""
    provider.play([ProviderUnavailable("gone"), fill_in])
    await client.post("/v1/mood", json={"text": "fine"})

    shown = await samples(client)

    assert shown["http_requests_total", "POST /v1/{task} 5xx"] == 1
    assert shown["calls_total", "false default failed mood"] == 1
    assert shown["attempts_total", "scripted/one provider-unavailable"] == 1


async def test_refusals_of_a_limit_are_counted(client: httpx.AsyncClient) -> None:
    """Although no call comes of them."""
    consumer = {"name": "acme", "limits": {"requests_per_minute": 0}}
    await client.post("/v1/admin/consumers", json=consumer)
    key = (await client.post("/v1/admin/keys", json={"consumer": "acme"})).json()["key"]

    refused = await client.post("/v1/mood", json={"text": "fine"}, headers={"x-api-key": key})
    shown = await samples(client)

    assert refused.status_code == 429
    assert shown["refusals_total", "consumer requests"] == 1
    assert not any("acme" in " ".join(name) for name in shown)


async def test_paths_and_methods_of_strangers_share_their_series(client: httpx.AsyncClient) -> None:
    """Whatever somebody asks for, what is there to be read does not grow."""
    for _ in range(2):
        before = await samples(client)
        for number in range(30):
            await client.request("GET", f"/nowhere/{number}")
            await client.request("GET", f"/v1/calls/01J{number}")
            await client.request(f"METHOD{number}", f"/v1/task-{number}")
            await client.post(f"/v1/task-{number}", json={"text": "x"})
            await client.get("/docs", headers={"x-call-id": f"id-{number}", "accept": f"text/{number}"})
        after = await samples(client)

    assert set(after) == set(before)
    assert after["http_requests_total", "GET unmatched 4xx"] == 60
    assert after["http_requests_total", "other /v1/{task} 4xx"] == 60


async def test_both_formats_are_spoken(client: httpx.AsyncClient) -> None:
    """Prometheus asks for OpenMetrics, people do not."""
    plain = await client.get("/metrics")
    opened = await client.get("/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0"})

    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert opened.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "feedback_gateway_http_requests" in {family.name for family in open_families(opened.text)}  # type: ignore[no-untyped-call]


async def test_metrics_need_no_key(client: httpx.AsyncClient, app: FastAPI) -> None:
    """As they say nothing about anybody."""
    app.state.is_local = False

    closed = await client.get("/v1/calls")
    shown = await client.get("/metrics")

    assert (closed.status_code, shown.status_code) == (401, 200)


async def test_gauges_follow_what_waits(client: httpx.AsyncClient, services: Services) -> None:
    """Money that a call under way has set aside, too."""
    consumer = (await client.post("/v1/mood", json={"text": "fine"})).json()
    recorder = services.books.recorder
    caller = services.books.consumers.authenticate(None, is_local=True)
    async with recorder.record(caller.consumer, "mood", 1, "default", timeout_s=None) as call:
        call.is_held, call.held_usd = False, None
        during = await samples(client)
    after = await samples(client)

    assert consumer["call_id"]
    assert (during["calls_open", ""], after["calls_open", ""]) == (1, 0)


async def test_answers_given_again_are_counted_with_what_they_save(client: httpx.AsyncClient) -> None:
    """The second time it is no attempt, and costs nothing."""
    for _ in range(2):
        await client.post("/v1/mood", json={"text": "fine"})

    shown = await samples(client)

    assert shown["calls_total", "false default ok mood"] == 1
    assert shown["calls_total", "true default ok mood"] == 1
    assert shown["attempts_total", "scripted/one ok"] == 1
    assert shown["cache_hits_total", ""] == 1
    assert shown["saved_usd_total", "default mood"] == pytest.approx(0.000054)
