"""Stored answers for OpenAI's clients: chat whole and streamed, embeddings, and what a request says of them."""

import asyncio
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest

from feedback_gateway.llm.scripted_server import Play, ScriptedServer
from feedback_gateway.settings import ModelEntry, Settings
from tests.passthrough.conftest import Gateway, entry

pytestmark = pytest.mark.anyio
HELLO: Any = [{"role": "user", "content": "Hello!"}]


@pytest.fixture
def road() -> str:
    """One of the two: answers are kept before either is taken."""
    return "straight"


@pytest.fixture
def settings(settings: Settings, provider: ScriptedServer) -> Settings:
    """A second alias, of another model."""
    other = ModelEntry.model_validate(entry(provider, alias="other", model="hosted_vllm/other"))
    return settings.model_copy(update={"model_list": [*settings.model_list, other]})


async def chat(gateway: Gateway, **fields: Any) -> Any:
    """A chat completion with its headers."""
    return await gateway.client.chat.completions.with_raw_response.create(
        **{"model": "default", "messages": HELLO, **fields}
    )


async def said(gateway: Gateway, **fields: Any) -> str:
    """Whether it was a hit."""
    return str((await chat(gateway, **fields)).headers["x-cache"])


async def test_second_chat_completion_is_the_first_one_again_and_costs_nothing(gateway: Gateway) -> None:
    """Byte for byte; the log says what it saved."""
    first, second = await chat(gateway), await chat(gateway)

    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
    assert (second.content, second.headers["x-cost-usd"]) == (first.content, "0")
    assert len(gateway.provider.heard) == 1
    hit, miss = await gateway.calls()
    assert (hit.cached, hit.cost_usd, hit.saved_usd, hit.attempt_count) == (True, Decimal(0), miss.cost_usd, 0)


async def test_stream_is_played_again_event_by_event(gateway: Gateway) -> None:
    """The same chunks, the end included; a whole answer is another question's."""
    streamed: Any = {"model": "default", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    played = []
    for _ in range(2):
        stream = await gateway.client.chat.completions.create(**streamed)
        played.append([chunk.model_dump() async for chunk in stream])

    assert played[0] == played[1]
    assert len(gateway.provider.heard) == 1
    assert await said(gateway) == "miss"
    assert (await gateway.calls())[1].cached


async def test_stream_that_breaks_off_is_not_kept(gateway: Gateway) -> None:
    """Nor is one that was cut short by its limit."""
    plays = [Play(breaks_after=2), Play(finish_reason="length"), Play()]
    gateway.provider.script = lambda _: plays.pop(0)
    for _ in range(2):
        stream = await gateway.client.chat.completions.create(model="default", messages=HELLO, stream=True)
        try:
            async for _chunk in stream:
                pass
        except openai.APIError:
            continue
    stream = await gateway.client.chat.completions.create(model="default", messages=HELLO, stream=True)

    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert (plays, [row.cached for row in await gateway.calls()]) == ([], [False] * 3)


async def test_answer_one_of_whose_choices_was_cut_short_is_not_kept(gateway: Gateway) -> None:
    """Also where it is not the first."""
    choices = [
        {"index": index, "message": {"role": "assistant", "content": "yes"}, "finish_reason": reason}
        for index, reason in enumerate(("stop", "length"))
    ]
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}
    gateway.provider.script = lambda _: Play(body=body)

    assert [await said(gateway, n=2), await said(gateway, n=2)] == ["miss", "miss"]


async def test_embeddings_are_kept(gateway: Gateway) -> None:
    """The same vectors, one call."""
    told = [await gateway.client.embeddings.create(model="default", input=["a", "b"]) for _ in range(2)]

    assert told[0] == told[1]
    assert len(gateway.provider.heard) == 1


@pytest.mark.parametrize(
    ("controls", "expected"),
    [
        ({}, ["miss", "hit"]),
        ({"use-cache": True}, ["miss", "hit"]),
        ({"no-cache": True}, ["miss", "miss"]),
        ({"no-store": True}, ["miss", "miss"]),
        ({"use-cache": False}, ["miss", "miss"]),
        ({"ttl": 0}, ["miss", "miss"]),
        ({"ttl": 60}, ["miss", "hit"]),
        ({"s-maxage": 60}, ["miss", "hit"]),
        ({"s-maxage": 0}, ["miss", "miss"]),
    ],
)
async def test_request_says_how_stored_answers_are_treated(
    gateway: Gateway, controls: dict[str, Any], expected: list[str]
) -> None:
    """In LiteLLM's words, which the provider never sees."""
    found = [await said(gateway, extra_body={"cache": controls}) for _ in expected]

    assert found == expected
    assert all("cache" not in heard.body for heard in gateway.provider.heard)


async def test_answer_that_was_asked_anew_is_kept_for_the_others(gateway: Gateway) -> None:
    """`no-cache` writes."""
    await said(gateway, extra_body={"cache": {"no-cache": True}})

    assert await said(gateway) == "hit"


@pytest.mark.parametrize(
    "controls", ["yes", {"no-cache": 1}, {"ttl": -1}, {"ttl": True}, {"s-maxage": "60"}, {"namespace": "a"}]
)
async def test_what_is_no_control_is_refused_with_its_place(gateway: Gateway, controls: Any) -> None:
    """Nothing is guessed."""
    with pytest.raises(openai.BadRequestError, match="cache"):
        await said(gateway, extra_body={"cache": controls})


async def test_identical_streams_at_once_cost_one(gateway: Gateway) -> None:
    """Those who wait get the whole of it when it is there."""
    gateway.provider.script = lambda _: Play(pause_s=0.01)

    async def streamed() -> str:
        stream = await gateway.client.chat.completions.create(model="default", messages=HELLO, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    told = await asyncio.gather(*(streamed() for _ in range(20)))

    assert set(told) == {"This is what the scripted model says."}
    assert len(gateway.provider.heard) == 1


BODY: Any = {
    "model": "default",
    "messages": [{"role": "user", "content": "Hello!"}],
    "max_tokens": 5,
    "temperature": 1,
    "stop": ["a", "b"],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "anything": {"one": None},
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "other"),
        ("messages", [{"role": "system", "content": "Hello!"}]),
        ("messages", [{"role": "user", "content": "Hello! "}]),
        ("messages", [{"role": "user", "content": [{"type": "text", "text": "Hello!"}]}]),
        ("max_tokens", 6),
        ("n", 2),
        ("seed", 1),
        ("stream", True),
        ("temperature", 1.0),
        ("temperature", True),
        ("stop", ["b", "a"]),
        ("stop", ["ab"]),
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]),
        ("response_format", {"type": "json_object"}),
        ("anything", {"one": False}),
        ("anything", {"one": None, "two": None}),
        ("anything", {}),
        ("user", "somebody"),
    ],
)
async def test_any_field_of_a_chat_body_is_a_part_of_the_question(gateway: Gateway, name: str, value: Any) -> None:
    """Known to OpenAI or not; the order of names is not."""
    headers = {"authorization": f"Bearer {gateway.client.api_key}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=60.0) as client:
        bodies = [BODY, dict(reversed(BODY.items())), BODY | {name: value}]
        responses = [await client.post("/v1/chat/completions", json=body) for body in bodies]

    assert [response.status_code for response in responses] == [200, 200, 200]
    assert [response.headers["x-cache"] for response in responses] == ["miss", "hit", "miss"]
    assert len(gateway.provider.heard) == 2
