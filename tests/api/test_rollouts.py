"""Canary, shadow, deprecation and disagreements, as callers and operators meet them over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from feedback_gateway.app import create_app
from feedback_gateway.calls.repository import CallFilters
from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.errors import ConfigurationError, ProviderUnavailable
from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.scripted import ScriptedClient, answer
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import CallOptions
from tests.api.conftest import MOOD, caller_of

pytestmark = pytest.mark.anyio

IS_SECOND = "the second way"


def second_of(first: str) -> str:
    """Another version of a prompt."""
    return first.replace("Tell the mood.", f"Tell the mood {IS_SECOND}.")


def by_version(request: CompletionRequest) -> Completion:
    """Version 1 finds everything good; version 2 finds what begins with a B bad."""
    text = request.items[0]["text"]
    is_bad = IS_SECOND in request.messages[0].content and text.startswith("B")
    return answer(json.dumps({"mood": "bad" if is_bad else "good"}))


def with_mood(settings: Settings, **mood: Any) -> Settings:
    """Settings with a rollout of `mood`, and without a cache."""
    changed = settings.model_dump(exclude_unset=True)
    changed |= {"tasks": {"mood": mood}, "cache": {"max_entries": 0}}
    return Settings.model_validate(changed | {"model_list": settings.model_list})


@pytest.fixture(autouse=True)
def second(folder: Path) -> None:
    """Two versions of one prompt."""
    (folder / "mood.v2.prompt").write_text(second_of(MOOD))


@asynccontextmanager
async def asked(settings: Settings, *texts: str, provider: ScriptedClient | None = None) -> AsyncIterator[Any]:
    """A caller who has asked for the mood of some texts, and what was answered."""
    async with caller_of(settings, provider or ScriptedClient([by_version])) as client:
        items = [{"id": number, "text": text} for number, text in enumerate(texts)]
        response = await client.post("/v1/mood", json={"items": items})
        yield client, response


async def calls_for(client: httpx.AsyncClient, purpose: str, count: int) -> list[dict[str, Any]]:
    """The logged calls of one purpose, once there are so many: shadows end after their answers."""
    async with asyncio.timeout(30):
        while True:
            page = await client.get(f"/v1/calls?purpose={purpose}&limit=200")
            found: list[dict[str, Any]] = page.json()["data"]
            if len(found) >= count:
                return found


async def test_canary_answers_its_share_and_says_so(settings: Settings) -> None:
    """Everywhere the version is told: in the answer, the log and the metrics."""
    texts = [f"text {number}" for number in range(20)]
    async with asked(with_mood(settings, version=1, canary={"version": 2, "share": 0.5}), *texts) as (client, response):
        versions = [result["prompt_version"] for result in response.json()["results"]]
        again = await client.post("/v1/mood", json={"items": [{"id": 7, "text": "another text"}]})
        named = await client.post("/v1/mood", json={"text": "x", "options": {"prompt_version": 1}})
        logged = await calls_for(client, "answer", 22)
        metrics = (await client.get("/metrics")).text

    assert set(versions) == {1, 2}
    assert again.json()["results"][0]["prompt_version"] == versions[7]
    assert named.json()["prompt_version"] == 1
    count = versions.count(2) + (versions[7] == 2)
    assert sum(call["prompt_version"] == 2 for call in logged) == count
    assert f'prompt_calls_total{{prompt_version="2",purpose="answer",task="mood"}} {count}.0' in metrics


async def test_shadow_is_booked_apart_and_never_answered(settings: Settings) -> None:
    """Its calls name the call that they stand beside, and the report of costs tells them apart."""
    async with asked(with_mood(settings, version=1, shadow=2), "Bad", "fine") as (client, response):
        shadows = await calls_for(client, "shadow", 2)
        usage = (await client.get("/v1/usage?group_by=purpose")).json()["data"]

    results = response.json()["results"]
    assert [result["result"]["mood"] for result in results] == ["good", "good"]
    assert response.json()["usage"]["cost_usd"] == "0.000108"
    assert {call["beside"] for call in shadows} == {result["call_id"] for result in results}
    assert {call["prompt_version"] for call in shadows} == {2}
    assert [(row["purpose"], row["calls"], row["cost_usd"]) for row in usage] == [
        ("answer", 2, "0.000108"),
        ("shadow", 2, "0.000108"),
    ]


async def test_answer_does_not_wait_for_its_shadow(settings: Settings) -> None:
    """Not even for one that never ends by itself; on shutdown it is cancelled, and booked."""
    never = asyncio.Event()

    class Stuck(ScriptedClient):
        async def complete(self, request: CompletionRequest, call: Any) -> Completion:
            if IS_SECOND in request.messages[0].content:
                await never.wait()
            return await super().complete(request, call)

    settings = with_mood(settings, version=1, shadow=2).model_copy(
        update={"retry": settings.retry.model_copy(update={"deadline": settings.retry.deadline / 10})}
    )
    async with asked(settings, "Bad", provider=Stuck([by_version])) as (_, response):
        assert response.json()["results"][0]["result"] == {"mood": "good"}

    async with open_services(settings) as services:
        page = services.books.calls.page(CallFilters(purpose="shadow"))
    assert [call.status for call in page.data] == ["failed"]
    assert page.data[0].prompt_version == 2


async def test_failure_of_a_shadow_is_nobody_elses(settings: Settings) -> None:
    """The caller has the answer, the log has the failure."""

    def fail_second(request: CompletionRequest) -> Completion:
        if IS_SECOND in request.messages[0].content:
            raise ProviderUnavailable("the provider failed", status=500)
        return by_version(request)

    provider = ScriptedClient([fail_second])
    async with asked(with_mood(settings, version=1, shadow=2), "fine", provider=provider) as (client, response):
        shadows = await calls_for(client, "shadow", 1)
        report = (await client.get("/v1/prompts/mood/disagreements")).json()

    assert response.json()["results"][0]["result"] == {"mood": "good"}
    assert shadows[0]["status"] == "failed"
    assert [(one["pairs"], one["failed"], one["compared"]) for one in report["comparisons"]] == [(1, 1, 0)]


async def test_stored_answer_has_no_shadow(settings: Settings) -> None:
    """It was compared when it was answered first."""
    settings = with_mood(settings, version=1, shadow=2).model_copy(update={"cache": settings.cache})
    async with asked(settings, "fine") as (client, _):
        await calls_for(client, "shadow", 1)
        again = await client.post("/v1/mood", json={"items": [{"id": 0, "text": "fine"}]})
        answers = await calls_for(client, "answer", 2)
        shadows = await calls_for(client, "shadow", 1)

    assert again.headers["x-cache"] == "hit"
    assert (len(answers), len(shadows)) == (2, 1)


async def test_disagreements_are_counted_and_listed(settings: Settings) -> None:
    """With both results and both calls."""
    texts = ["Bad one", "fine", "nice", "Bitter"]
    async with asked(with_mood(settings, version=1, shadow=2), *texts) as (client, _):
        await calls_for(client, "shadow", 4)
        report = (await client.get("/v1/prompts/mood/disagreements?since=1h")).json()
        earlier = (await client.get("/v1/prompts/mood/disagreements?until=1h")).json()
        unknown = await client.get("/v1/prompts/moo/disagreements")

    (one,) = report["comparisons"]
    assert (one["compared"], one["agreed"], one["agreement"]) == (4, 2, 0.5)
    assert one["fields"] == [
        {
            "field": "mood",
            "compared": 4,
            "differ": 2,
            "changes": [{"answered": "good", "beside": "bad", "count": 2}],
        }
    ]
    assert {entry["inputs"]["text"] for entry in report["data"]} == {"Bad one", "Bitter"}
    assert {(e["answered"]["prompt_version"], e["beside"]["result"]["mood"]) for e in report["data"]} == {(1, "bad")}
    assert (earlier["comparisons"], unknown.status_code) == ([], 404)


async def test_without_payloads_the_report_says_that_nothing_can_be_compared(settings: Settings) -> None:
    """Rather than that nothing differs."""
    settings = with_mood(settings, version=1, shadow=2)
    settings = settings.model_copy(update={"log": settings.log.model_copy(update={"payloads": "none"})})
    async with asked(settings, "Bad") as (client, _):
        await calls_for(client, "shadow", 1)
        report = (await client.get("/v1/prompts/mood/disagreements")).json()

    assert "log.payloads is `none`" in report["notice"]
    assert [(one["pairs"], one["unknown"], one["agreement"]) for one in report["comparisons"]] == [(1, 1, None)]


DATES = {"since": "2026-03-01", "sunset": "2026-06-01T12:00:00Z"}


async def test_deprecated_version_says_so_in_headers_and_pages(settings: Settings) -> None:
    """As RFC 9745 and RFC 8594 write it, also where the answer comes from the cache; other versions say nothing."""
    deprecations = {1: {"since": "2026-03-01", "sunset": "2999-06-01T12:00:00Z"}}
    changed = with_mood(settings, version=1, deprecations=deprecations).model_copy(update={"cache": settings.cache})
    async with caller_of(changed, ScriptedClient([by_version])) as client:
        responses = [await client.post("/v1/mood", json={"text": "fine"}) for _ in range(3)]
        responses.append(await client.post("/v1/mood", json={"items": [{"text": "one"}, {"text": "two"}]}))
        second = await client.post("/v1/mood", json={"text": "fine", "options": {"prompt_version": 2}})
        document = (await client.get("/openapi.json")).json()
        prompt = (await client.get("/v1/prompts/mood")).json()
        ready = (await client.get("/health/ready")).json()

    assert [response.headers["deprecation"] for response in responses] == ["@1772323200"] * 4
    assert {response.headers["sunset"] for response in responses} == {"Sat, 01 Jun 2999 12:00:00 GMT"}
    assert responses[2].headers["x-cache"] == "hit"
    assert "deprecation" not in second.headers
    assert document["paths"]["/v1/mood"]["post"]["deprecated"] is True
    assert [version["deprecated_at"] for version in prompt["versions"]] == ["2026-03-01T00:00:00.000000Z", None]
    assert ready["warnings"] == ["tasks.mood: version 1 serves and is deprecated, ends at 2999-06-01"]


async def test_after_its_sunset_a_version_is_gone_for_those_who_name_it(settings: Settings) -> None:
    """What the operator lets serve goes on: a date turns nothing off by itself."""
    changed = with_mood(settings, version=1, deprecations={1: {"since": "2020-03-01", "sunset": "2020-06-01"}})
    async with caller_of(changed, ScriptedClient([by_version])) as client:
        named = await client.post("/v1/mood", json={"text": "fine", "options": {"prompt_version": 1}})
        unnamed = await client.post("/v1/mood", json={"text": "fine"})

    assert named.status_code == 410
    assert named.json()["type"].endswith(":gone")
    assert (unnamed.status_code, unnamed.headers["sunset"]) == (200, "Mon, 01 Jun 2020 00:00:00 GMT")


async def test_body_that_names_an_ending_version_is_read_each_time(settings: Settings) -> None:
    """Or it would be answered by its bytes after the sunset."""
    deprecations = {1: {"since": "2026-03-01", "sunset": "2999-06-01"}}
    changed = with_mood(settings, version=1, deprecations=deprecations).model_copy(update={"cache": settings.cache})
    named, unnamed = b'{"text": "fine", "options": {"prompt_version": 1}}', b'{"text": "fine"}'
    async with open_services(changed, provider=lambda _: ScriptedClient([by_version])) as services:
        transport = httpx.ASGITransport(app=create_app(changed, services))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            for body in (named, unnamed):
                await client.post("/v1/mood", content=body, headers={"content-type": "application/json"})
        known = [await services.repeats.answer("mood", body, LOCAL_CONSUMER) for body in (named, unnamed)]

    assert [hit is None for hit in known] == [True, False]


async def test_canary_whose_file_is_gone_fails_nobody(settings: Settings, folder: Path) -> None:
    """The version that serves answers in its place, and no shadow runs."""
    changed = with_mood(settings, version=1, canary={"version": 2, "share": 1.0}, shadow=2)
    async with open_services(changed, provider=lambda _: ScriptedClient([by_version])) as services:
        before = await services.tasks.run("mood", {"text": "x"}, consumer=LOCAL_CONSUMER, options=CallOptions())
        (folder / "mood.v2.prompt").unlink()
        services.library.refresh()
        after = await services.tasks.run("mood", {"text": "y"}, consumer=LOCAL_CONSUMER, options=CallOptions())

    assert (before.prompt_version, after.prompt_version) == (2, 1)


@pytest.mark.parametrize(
    ("mood", "told"),
    [
        ({"canary": {"version": 2, "share": 0.1}}, "tasks.mood.canary.version: version 2 serves already"),
        ({"version": 1, "shadow": 1}, "tasks.mood.shadow: version 1 serves already"),
        ({"version": 1, "shadow": 9}, "tasks.mood.shadow: the task 'mood' has no prompt version 9"),
        ({"deprecations": {7: DATES}}, "tasks.mood.deprecations.7: the task 'mood' has no prompt version 7"),
    ],
)
async def test_rollout_that_cannot_be_is_told_at_the_start(settings: Settings, mood: dict[str, Any], told: str) -> None:
    """With the setting that is to be mended."""
    with pytest.raises(ConfigurationError, match=told):
        async with open_services(with_mood(settings, **mood)):
            pass
