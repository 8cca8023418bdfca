"""`POST /v1/{task}`: answers, headers, and many items at once."""

import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from feedback_gateway.app import create_app
from feedback_gateway.calls.models import Call
from feedback_gateway.errors import ContentRefused, ProviderRateLimited, ProviderUnavailable
from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.scripted import ScriptedClient, Step, answer
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings

pytestmark = pytest.mark.anyio


async def test_answer_repeats_the_essentials_in_its_headers(client: httpx.AsyncClient) -> None:
    """Call, cache and cost are there without reading the body."""
    response = await client.post("/v1/mood", json={"text": "fine", "id": "a-1"})

    body = response.json()
    assert response.status_code == 200
    assert (body["id"], body["result"], body["task"], body["prompt_version"]) == ("a-1", {"mood": "good"}, "mood", 1)
    assert body["usage"]["cost_usd"] == "0.000054"
    assert response.headers["x-call-id"] == body["call_id"]
    assert response.headers["x-cost-usd"] == "0.000054"
    assert response.headers["x-cache"] == "miss"


async def test_failed_call_says_what_it_has_cost(client: httpx.AsyncClient, provider: ScriptedClient) -> None:
    """The answer was billed, though it could not be used."""
    provider.play([answer("no JSON")])

    response = await client.post("/v1/mood", json={"text": "fine"})

    assert response.status_code == 502
    assert response.headers["x-cost-usd"] == "0.000054"
    assert response.headers["x-call-id"] == response.json()["call_id"]


async def test_unknown_cost_is_called_unknown(settings: Settings, provider: ScriptedClient) -> None:
    """No price is not the price zero."""
    entry = {"model_name": "default", "litellm_params": {"model": "scripted/without-price"}}
    unpriced = Settings.model_validate({**settings.model_dump(), "model_list": [entry]})

    async with (
        open_services(unpriced, provider=lambda _: provider) as services,
        caller_of(create_app(unpriced, services)) as client,
    ):
        response = await client.post("/v1/mood", json={"text": "fine"})

    assert response.headers["x-cost-usd"] == "unknown"
    assert response.json()["usage"]["cost_usd"] is None


@pytest.mark.parametrize("name", ["sentiment", "categorize", "summarize", "root-cause-suggest", "classify"])
async def test_short_path_is_the_same_route(client: httpx.AsyncClient, name: str) -> None:
    """With `/v1` or without."""
    item = {"texts": [{"id": "1", "text": "It broke."}]} if name == "summarize" else {"text": "It broke."}

    short, long = await client.post(f"/{name}", json=item), await client.post(f"/v1/{name}", json=item)

    assert (short.status_code, long.status_code) == (200, 200)
    assert short.json()["result"] == long.json()["result"]


async def test_one_bad_item_fails_alone(client: httpx.AsyncClient) -> None:
    """Order is kept, each bad item has its own problem, the sum counts what was asked."""
    items = [{"id": "a", "text": "fine"}, {"id": "b", "text": ""}, 7, {"id": "d", "text": "x", "odd": 1}, {}]

    response = await client.post("/v1/mood", json={"items": items})

    results = response.json()["results"]
    assert response.status_code == 200
    assert ["error" in result for result in results] == [False, True, True, True, True]
    assert [result["id"] for result in results] == ["a", "b", None, "d", None]
    assert results[1]["error"]["errors"][0]["loc"] == ["text"]
    assert results[3]["error"]["errors"] == [{"loc": ["odd"], "msg": "unknown field"}]
    assert response.json()["usage"] == {
        "input_tokens": 100,
        "cached_input_tokens": 0,
        "output_tokens": 20,
        "cost_usd": "0.000054",
    }


async def test_duplicate_ids_are_each_answered(client: httpx.AsyncClient) -> None:
    """Ids are the caller's own; the order tells them apart."""
    response = await client.post("/v1/mood", json={"items": [{"id": "a", "text": "1"}, {"id": "a", "text": "2"}]})

    assert [result["id"] for result in response.json()["results"]] == ["a", "a"]


@pytest.mark.parametrize(
    ("step", "status", "code"),
    [
        (ProviderUnavailable("down", status=503), 502, "provider-failed"),
        (ContentRefused("no", status=400), 502, "provider-failed"),
        (answer("<html>oops</html>"), 502, "invalid-model-output"),
        (answer('{"mood": "sideways"}'), 502, "invalid-model-output"),
        (answer('{"mood": "go'), 502, "invalid-model-output"),
        (answer('{"mood": "\\ud83d"}'), 502, "invalid-model-output"),
        (answer('{"mood": 1e999}'), 502, "invalid-model-output"),
        (answer('{"mood": ' + "9" * 5_000 + "}"), 502, "invalid-model-output"),
        (answer(""), 502, "invalid-model-output"),
    ],
)
async def test_providers_failure_is_a_problem_with_the_calls_id(
    client: httpx.AsyncClient, provider: ScriptedClient, step: Step, status: int, code: str
) -> None:
    """The id leads to the attempts in the log."""
    provider.play([step])

    response = await client.post("/v1/mood", json={"text": "fine"})
    logged = await client.get(f"/v1/calls/{response.headers['x-call-id']}")

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"].endswith(code)
    assert response.json()["call_id"] == response.headers["x-call-id"] == logged.json()["call_id"]
    assert logged.json()["status"] == "failed"


async def test_rate_limit_of_the_provider_says_when_to_come_back(
    client: httpx.AsyncClient, provider: ScriptedClient
) -> None:
    """Seconds are whole and rounded up; whose limit it was is told, and that its size is not known."""
    provider.play([ProviderRateLimited("slow down", status=429, retry_after=1.2)])

    response = await client.post("/v1/mood", json={"text": "fine"})

    assert (response.status_code, response.headers["retry-after"]) == (429, "2")
    assert "ratelimit-limit" not in response.headers
    assert response.json()["rate_limit"] == {
        "source": "provider",
        "scope": "provider",
        "name": "scripted/one",
        "limit": None,
        "unit": None,
        "window_s": 60,
        "retry_after_s": 2,
    }


async def test_new_prompt_file_answers_and_is_documented(
    client: httpx.AsyncClient, services: Services, folder: Path
) -> None:
    """No restart: the library's refresh is all it takes."""
    text = (folder / "mood.v1.prompt").read_text()
    before = await client.post("/v1/temper", json={"text": "fine"})
    (folder / "temper.v1.prompt").write_text(text)
    services.library.refresh()

    after = await client.post("/v1/temper", json={"text": "fine"})
    document = await client.get("/openapi.json")

    assert (before.status_code, after.status_code) == (404, 200)
    assert "/v1/temper" in document.json()["paths"]


async def test_unknown_task_lists_the_tasks_there_are(client: httpx.AsyncClient) -> None:
    """The caller need not look them up."""
    response = await client.post("/v1/feelings", json={"text": "fine"})

    assert response.status_code == 404
    assert response.json()["type"].endswith("unknown-task")
    assert "mood" in response.json()["detail"]


class Slow:
    """A provider that answers once it may."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def prepare(self) -> None:
        """Nothing to load."""

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Wait, then answer."""
        self.asked.set()
        await self.may_answer.wait()
        return answer('{"mood": "good"}')


MOOD_SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/v1/mood",
    "query_string": b"",
    "headers": [(b"content-type", b"application/json")],
}


async def test_call_of_a_client_that_goes_away_ends_and_is_booked(settings: Settings) -> None:
    """Nothing waits for nobody; what the provider was asked meanwhile it still bills."""
    slow = Slow()
    async with open_services(settings, provider=lambda _: slow) as services:
        app = create_app(settings, services)
        messages = client_that_leaves(json.dumps({"text": "fine"}).encode(), once=slow.asked)
        async with asyncio.timeout(5):
            await app(dict(MOOD_SCOPE), messages.__anext__, discard)
        slow.may_answer.set()
        await services.books.recorder.drain(5)
        async with caller_of(app) as client:
            logged = (await client.get("/v1/calls")).json()["data"]

    assert [(row["status"], row["usage"]["cost_usd"]) for row in logged] == [("cancelled", "0.000054")]


async def test_request_that_outlasts_the_shutdown_is_told_to_ask_again(settings: Settings) -> None:
    """The server cancels what it cannot wait for; the caller gets a 503 that says so, not a broken answer."""
    slow, sent = Slow(), []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async with open_services(settings, provider=lambda _: slow) as services:
        app = create_app(settings, services)
        messages = client_that_leaves(json.dumps({"text": "fine"}).encode(), once=asyncio.Event())
        serving = asyncio.create_task(app(dict(MOOD_SCOPE), messages.__anext__, send))
        await slow.asked.wait()
        serving.cancel("the time for shutting down is over")
        await serving
        slow.may_answer.set()

    assert sent[0]["status"] == 503
    assert (b"retry-after", b"1") in sent[0]["headers"]


async def client_that_leaves(body: bytes, *, once: asyncio.Event) -> AsyncIterator[dict[str, object]]:
    """Send `body` and hang up."""
    yield {"type": "http.request", "body": body, "more_body": False}
    await once.wait()
    yield {"type": "http.disconnect"}


def caller_of(app: FastAPI) -> httpx.AsyncClient:
    """A caller of another gateway than the usual one."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway")


async def discard(message: object) -> None:
    """Nobody listens."""
