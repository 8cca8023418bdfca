"""Stored answers over HTTP: which bodies are one question, and that one known by its bytes is answered as if read."""

import contextlib
import copy
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from feedback_gateway.consumers.models import Consumer, Limits, Scopes
from feedback_gateway.llm.scripted import ScriptedClient
from feedback_gateway.services import Services
from feedback_gateway.settings import Settings
from tests.api.conftest import MOOD

pytestmark = pytest.mark.anyio

TASKS = [
    "categorize",
    "classify",
    "mood",
    "reply-draft",
    "root-cause-suggest",
    "sentiment",
    "severity",
    "summarize",
    "translate",
]
ASIDE = {"id", "metadata"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Two aliases with prices, and two versions of a prompt."""
    (settings.prompts / "mood.v2.prompt").write_text(MOOD.replace("Tell the mood", "Say the mood"))
    other = settings.model_list[0].model_copy(update={"model_name": "other"})
    return settings.model_copy(update={"model_list": [*settings.model_list, other]})


async def post(client: httpx.AsyncClient, task: str, body: Any, *, is_turned: bool = False) -> httpx.Response:
    """One call, with the names of the body in the opposite order where `is_turned`."""
    body = dict(reversed(body.items())) if is_turned else body
    response = await client.post(f"/v1/{task}", content=json.dumps(body), headers={"content-type": "application/json"})
    assert response.status_code == 200, response.text
    return response


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every string that stands for itself."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from leaves(member, (*place, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from leaves(member, (*place, index))
    elif isinstance(value, str):
        yield place


def with_change(body: Any, place: tuple[Any, ...]) -> Any:
    """The body with one more letter in one place."""
    changed = copy.deepcopy(body)
    target = changed
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] += "x"
    return changed


@pytest.mark.parametrize("task", TASKS)
async def test_change_of_any_single_field_of_a_request_is_another_question(
    client: httpx.AsyncClient, services: Services, task: str
) -> None:
    """Every string of the task's example, wherever its schema takes another; the order of names is no change."""
    body = dict(services.registry.get(task).example_request or {})
    await post(client, task, body)
    assert (await post(client, task, body, is_turned=True)).headers["x-cache"] == "hit"
    found = {}
    for place in leaves(body):
        changed = with_change(body, place)
        inputs = {name: value for name, value in changed.items() if name not in ASIDE}
        if not services.registry.get(task).check_item(inputs):
            found[place] = (await post(client, task, changed)).headers["x-cache"]

    assert len(found) >= 1
    assert {place: said for place, said in found.items() if said == "hit"} == {
        place: "hit" for place in found if place[0] in ASIDE
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "other"}, "miss"),
        ({"prompt_version": 1}, "miss"),
        ({"cache": "bypass"}, "miss"),
        ({"cache": "refresh"}, "miss"),
        ({"cache": "use"}, "hit"),
        ({"timeout_s": 20}, "hit"),
        ({"prompt_version": 2}, "hit"),
        ({"model": "default"}, "hit"),
    ],
)
async def test_options_that_can_change_the_answer_do(
    client: httpx.AsyncClient, options: dict[str, Any], said: str
) -> None:
    """The others, and those that say what is so anyway, do not."""
    await post(client, "mood", {"text": "fine"})

    assert (await post(client, "mood", {"text": "fine", "options": options})).headers["x-cache"] == said


def beside_the_call(response: httpx.Response) -> tuple[str, dict[str, str]]:
    """An answer to the byte, but for its call's id and latency."""
    document = response.json()
    text = response.text.replace(f'"{document["call_id"]}"', '""', 1)
    text = text.replace(f'"latency_ms":{json.dumps(document["latency_ms"])},', '"latency_ms":0,', 1)
    headers = {
        name: value
        for name, value in response.headers.items()
        if name not in ("x-call-id", "x-request-id", "content-length")
    }
    assert response.headers["x-call-id"] == document["call_id"]
    return text, headers


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40).filter(str.strip)
bodies = st.fixed_dictionaries(
    {"text": texts},
    optional={
        "id": st.text(max_size=8) | st.integers(-(10**9), 10**9) | st.none(),
        "metadata": st.dictionaries(st.text(max_size=3), texts, max_size=2),
        "options": st.fixed_dictionaries(
            {}, optional={"model": st.sampled_from(["default", "other"]), "prompt_version": st.sampled_from([1, 2])}
        ),
    },
)


@given(body=bodies, spaces=st.sampled_from([None, 1]))
@examples(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_body_known_by_its_bytes_is_answered_as_if_it_were_read(
    client: httpx.AsyncClient, provider: ScriptedClient, body: dict[str, Any], spaces: int | None
) -> None:
    """To the byte, headers included; the slow way is taken by the same body with one more blank."""
    written = json.dumps(body, indent=spaces)
    headers = {"content-type": "application/json"}
    await client.post("/v1/mood", content=written, headers=headers)
    asked = len(provider.requests)

    fast = await client.post("/v1/mood", content=written, headers=headers)
    slow = await client.post("/v1/mood", content=f" {written}", headers=headers)

    assert (fast.headers["x-cache"], slow.headers["x-cache"], len(provider.requests)) == ("hit", "hit", asked)
    assert beside_the_call(fast) == beside_the_call(slow)


async def test_fast_answer_is_a_call_like_any_other(client: httpx.AsyncClient, services: Services) -> None:
    """With a row, its texts, what it saved, and its place in the sums."""
    first = await post(client, "mood", {"text": "Write to ann@example.com", "id": "a"})
    again = await post(client, "mood", {"text": "Write to ann@example.com", "id": "a"})

    logged = (await client.get(f"/v1/calls/{again.json()['call_id']}")).json()
    earlier = (await client.get(f"/v1/calls/{first.json()['call_id']}")).json()
    [usage] = (await client.get("/v1/usage", params={"group_by": "task"})).json()["data"]

    assert (logged["cached"], logged["usage"]["cost_usd"], logged["attempts"]) == (True, "0", [])
    assert logged["saved_usd"] == earlier["usage"]["cost_usd"] == first.json()["usage"]["cost_usd"]
    assert (logged["inputs"], logged["result"]) == (earlier["inputs"], earlier["result"])
    assert logged["inputs"] == {"text": "Write to <EMAIL_1>"}
    assert (usage["calls"], usage["cached_calls"], usage["saved_usd"]) == (2, 1, logged["saved_usd"])
    assert services.cache.state.hits == 1


async def test_fast_answers_stop_with_the_stored_one(
    client: httpx.AsyncClient, services: Services, provider: ScriptedClient
) -> None:
    """What was refreshed meanwhile is read anew."""
    body = {"text": "fine"}
    await post(client, "mood", body)
    await post(client, "mood", {**body, "options": {"cache": "refresh"}})
    hit = await post(client, "mood", body)

    assert (hit.headers["x-cache"], len(provider.requests)) == ("hit", 2)
    assert services.cache.state.stored == 2


async def test_changed_prompt_file_is_noticed_by_bodies_that_are_known(
    client: httpx.AsyncClient, services: Services, settings: Settings
) -> None:
    """The next call renders the new one."""
    await post(client, "mood", {"text": "fine"})
    (settings.prompts / "mood.v2.prompt").write_text(MOOD.replace("Tell the mood", "Guess the mood"))
    services.library.refresh()

    assert (await post(client, "mood", {"text": "fine"})).headers["x-cache"] == "miss"


def keyed(services: Services, name: str, **fields: Any) -> dict[str, str]:
    """The header of a new consumer's key."""
    services.books.consumers.add(Consumer(name=name, **fields))
    key = services.books.consumers.create_key(name, is_admin=False, expires_at=None)
    return {"authorization": f"Bearer {key.secret}"}


async def test_known_bodies_are_each_consumer_s_own_and_within_their_limits(
    client: httpx.AsyncClient, services: Services
) -> None:
    """Another consumer's body is read and asked for; a hit counts against the limits of whoever sent it."""
    one = keyed(services, "a", limits=Limits(requests_per_minute=2))
    other = keyed(services, "b")
    said = [
        (response.status_code, response.headers.get("x-cache"), response.headers.get("ratelimit-remaining"))
        for headers in (one, one, other, one)
        for response in [await client.post("/v1/mood", headers=headers, json={"text": "fine"})]
    ]

    assert said[:3] == [(200, "miss", "1"), (200, "hit", "0"), (200, "miss", None)]
    assert said[3][0] == 429


async def test_consumer_who_takes_over_a_name_finds_no_answers_of_the_one_before(
    client: httpx.AsyncClient, services: Services, tmp_path: Path
) -> None:
    """Neither known bodies nor stored answers."""
    said = []
    for _ in range(2):
        headers = keyed(services, "team")
        for _ in range(2):
            response = await client.post("/v1/mood", headers=headers, json={"text": "fine"})
            said.append(response.headers["x-cache"])
        with contextlib.closing(sqlite3.connect(tmp_path / "calls.db")) as database:
            database.executescript("DELETE FROM keys; DELETE FROM consumers;")

    assert said == ["miss", "hit"] * 2


async def test_known_body_is_refused_once_its_model_is_no_longer_for_that_key(
    client: httpx.AsyncClient, services: Services
) -> None:
    """What may be asked is looked up for a stored answer as for any other."""
    headers = keyed(services, "a")
    asked = {"text": "It crashes"}
    before = [await client.post("/v1/mood", json=asked, headers=headers) for _ in range(3)]
    services.books.consumers.change("a", {"scopes": Scopes(models=frozenset({"other"}))})

    assert [one.headers["x-cache"] for one in before] == ["miss", "hit", "hit"]
    assert (await client.post("/v1/mood", json=asked, headers=headers)).status_code == 403


async def test_many_items_are_hits_when_all_of_them_are(client: httpx.AsyncClient) -> None:
    """`x-cache` of a list speaks of the whole."""
    body = {"items": [{"text": "one"}, {"text": "two"}]}
    said = [(await post(client, "mood", each)).headers["x-cache"] for each in (body, body)]
    body["items"].append({"text": "three"})

    assert said == ["miss", "hit"]
    mixed = await post(client, "mood", body)
    assert [result["cached"] for result in mixed.json()["results"]] == [True, True, False]
    assert mixed.headers["x-cache"] == "miss"
