"""`POST /v1/chat/completions` as OpenAI's own client sees it, over both roads."""

import json
from decimal import Decimal
from typing import Any

import openai
import pytest

from feedback_gateway.consumers.models import Limits, Scopes
from feedback_gateway.ledger.models import Budget
from feedback_gateway.llm.scripted_server import TEXT, Play
from tests.passthrough.conftest import MARKS, Gateway, new_key, until

pytestmark = MARKS
HELLO: Any = [{"role": "user", "content": "Hello!"}]
COST = Decimal("0.00014")
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
TOOL: Any = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {"id": {"type": "string"}}}},
}
SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "mood",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"mood": {"type": "string"}},
            "required": ["mood"],
            "additionalProperties": False,
        },
    },
}


def budget(limit: str) -> tuple[Budget, ...]:
    """One for everything."""
    return (Budget(limit_usd=Decimal(limit), period="month"),)


async def test_chat_completion_is_passed_on_and_costs_what_its_tokens_do(gateway: Gateway) -> None:
    """The answer, the alias in it, the headers and the row of the log."""
    raw = await gateway.client.chat.completions.with_raw_response.create(
        model="default", messages=HELLO, seed=7, temperature=0.5, logprobs=True
    )
    answer = raw.parse()

    sent = gateway.provider.heard[0]
    assert answer.choices[0].message.content == TEXT
    assert answer.model == "default"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 120
    assert Decimal(raw.headers["x-cost-usd"]) == COST
    assert raw.headers["x-cache"] == "miss"
    assert sent.body == {
        "messages": HELLO,
        "model": "scripted",
        "seed": 7,
        "temperature": 0.5,
        "logprobs": True,
    }
    assert sent.headers["authorization"] == "Bearer sk-of-the-provider-1234"
    [row] = await gateway.calls()
    assert (row.call_id, row.consumer, row.task, row.status) == (raw.headers["x-call-id"], "team", "chat", "ok")
    assert row.cost_usd == COST


@pytest.mark.parametrize("rides", [False, True], ids=["usage in a chunk of its own", "usage with the last choice"])
async def test_stream_arrives_in_parts_and_costs_what_the_whole_does(gateway: Gateway, *, rides: bool) -> None:
    """Both shapes of the last chunk are read; nobody is sent usage who did not ask for it."""
    gateway.provider.script = lambda _: Play(usage_rides=rides)
    stream = await gateway.client.chat.completions.create(model="default", messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.model for chunk in chunks} == {"default"}
    assert all(chunk.usage is None for chunk in chunks)
    assert gateway.provider.heard[0].body["stream_options"] == {"include_usage": True}
    [row] = await gateway.calls()
    assert (row.cost_usd, row.usage_estimated, row.status) == (COST, False, "ok")


async def test_stream_tells_its_usage_to_whoever_asks(gateway: Gateway) -> None:
    """As OpenAI does: on a last chunk without choices."""
    stream = await gateway.client.chat.completions.create(
        model="default", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 120


async def test_tools_schemas_and_pictures_reach_the_provider_as_they_are(gateway: Gateway) -> None:
    """And a call of a tool comes back."""
    gateway.provider.script = lambda _: Play(text='{"id": "7"}')
    asked: Any = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Look."}, {"type": "image_url", "image_url": {"url": PIXEL}}],
        }
    ]

    called = await gateway.client.chat.completions.create(model="default", messages=asked, tools=[TOOL], n=2)
    shaped = await gateway.client.chat.completions.create(model="default", messages=HELLO, response_format=SCHEMA)

    first, second = (heard.body for heard in gateway.provider.heard)
    assert called.choices[1].message.tool_calls is not None
    assert json.loads(called.choices[1].message.tool_calls[0].function.arguments) == {"id": "7"}  # type: ignore[union-attr]
    assert shaped.choices[0].message.content == '{"id": "7"}'
    assert (first["messages"], first["tools"], first["n"]) == (asked, [TOOL], 2)
    assert second["response_format"] == SCHEMA


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "message", "expected", "code"),
    [
        (400, "messages: odd", openai.BadRequestError, "provider_rejected"),
        (400, "This model's maximum context length is 8 tokens", openai.BadRequestError, "context_length_exceeded"),
        (401, "no such key", openai.InternalServerError, "provider_failed"),
        (404, "no such model", openai.InternalServerError, "provider_failed"),
        (429, "slow down", openai.RateLimitError, "rate_limit_exceeded"),
        (500, "oops", openai.InternalServerError, "provider_failed"),
    ],
)
async def test_failure_of_the_provider_is_the_error_that_openais_client_knows(
    gateway: Gateway, *, status: int, message: str, expected: type[openai.APIStatusError], code: str, stream: bool
) -> None:
    """Also where a stream was asked for: it has not begun."""
    body = {"error": {"message": message}}
    gateway.provider.script = lambda _: Play(status=status, body=body, headers={"retry-after": "7"})

    with pytest.raises(expected) as caught:
        await gateway.client.chat.completions.create(model="default", messages=HELLO, stream=stream)

    error: Any = caught.value
    assert error.code == code
    assert error.response.headers["content-type"] == "application/problem+json"
    assert error.response.json()["type"].startswith("urn:feedback-gateway:problem:")
    assert (status != 429) or error.response.headers["retry-after"] == "7"


async def test_wait_that_a_provider_asks_for_is_an_hour_at_most(gateway: Gateway) -> None:
    """Neither callers are told a year, nor is the deployment left alone for one."""
    gateway.provider.script = lambda _: Play(status=429, headers={"retry-after": "31536000"})

    waits = []
    for _ in range(2):
        with pytest.raises(openai.RateLimitError) as caught:
            await gateway.client.chat.completions.create(model="default", messages=HELLO)
        waits.append(int(caught.value.response.headers["retry-after"]))

    assert waits[0] == 3_600
    assert 3_500 < waits[1] <= 3_600
    assert len(gateway.provider.heard) == 1


async def test_refusals_are_what_openais_client_knows(gateway: Gateway) -> None:
    """No key, no right, no such model, no sense, no money, no room."""

    async def refusal(client: openai.AsyncOpenAI, **asked: Any) -> Any:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(**{"model": "default", "messages": HELLO, **asked})
        return caught.value

    scoped = new_key(gateway.services, "scoped", scopes=Scopes(tasks=frozenset({"classify"})))
    poor = new_key(gateway.services, "poor", budgets=budget("0.000001"))
    busy = new_key(gateway.services, "busy", limits=Limits(requests_per_minute=0))
    broke = await refusal(gateway.as_caller(poor))

    assert isinstance(await refusal(gateway.as_caller("fg-wrong")), openai.AuthenticationError)
    assert isinstance(await refusal(gateway.as_caller(scoped)), openai.PermissionDeniedError)
    missing = await refusal(gateway.client, model="nobody")
    assert isinstance(missing, openai.NotFoundError)
    assert missing.code == "model_not_found"
    assert isinstance(await refusal(gateway.client, messages=[]), openai.BadRequestError)
    assert (broke.status_code, broke.code) == (402, "budget_exceeded")
    assert isinstance(await refusal(gateway.as_caller(busy)), openai.RateLimitError)
    assert gateway.provider.heard == []


async def test_stream_that_is_left_stops_the_provider_and_is_billed(gateway: Gateway) -> None:
    """What was heard is charged, marked as a guess, and what was held is let go."""
    key = new_key(gateway.services, "payer", budgets=budget("1"))
    gateway.provider.script = lambda _: Play(text="word " * 50, pause_s=0.05)
    stream = await gateway.as_caller(key).chat.completions.create(model="default", messages=HELLO, stream=True)
    seen = 0
    async for _ in stream:
        seen += 1
        if seen == 3:
            break
    await stream.close()
    await until(lambda: gateway.provider.left == 1)

    [row] = await gateway.calls()
    assert (row.status, row.usage_estimated) == ("cancelled", True)
    assert row.cost_usd is not None
    assert Decimal(0) < row.cost_usd < COST
    assert gateway.services.books.ledger.holds() == []


async def test_stream_that_breaks_off_ends_in_an_error_and_is_billed(gateway: Gateway) -> None:
    """Nobody else is asked once the caller has a part of it."""
    gateway.provider.script = lambda _: Play(breaks_after=4)
    stream = await gateway.client.chat.completions.create(model="default", messages=HELLO, stream=True)

    with pytest.raises(openai.APIError) as caught:
        _ = [chunk async for chunk in stream]

    assert caught.value.code == "provider_failed"
    [row] = await gateway.calls()
    assert (row.status, row.error, row.usage_estimated) == ("failed", "provider-unavailable", True)
    assert row.cost_usd


async def test_zero_usage_stays_zero_and_none_is_guessed(gateway: Gateway, road: str) -> None:
    """Only what was not told is estimated; of a stream litellm does not say that it counted itself."""
    told = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    plays = iter([Play(usage=told), Play(usage=None)])
    gateway.provider.script = lambda _: next(plays)

    for seed in range(2):
        stream = await gateway.client.chat.completions.create(model="default", messages=HELLO, seed=seed, stream=True)
        _ = [chunk async for chunk in stream]

    guessed, zero = await gateway.calls()
    assert (zero.cost_usd, zero.usage_estimated) == (0, False)
    assert guessed.usage_estimated is (road == "straight")
    assert guessed.cost_usd


async def test_whole_answer_without_usage_tells_what_is_charged_and_that_it_is_a_guess(gateway: Gateway) -> None:
    """The same figures as in the log; what the provider did tell is passed on as it is."""
    plays = iter([Play(usage=None), Play()])
    gateway.provider.script = lambda _: next(plays)

    guessed, known = [
        await gateway.client.chat.completions.create(model="default", messages=HELLO, seed=seed) for seed in range(2)
    ]

    row = (await gateway.calls())[1]
    told: Any = guessed.usage.model_dump(exclude_none=True) if guessed.usage else {}
    tokens = (row.input_tokens, row.output_tokens, row.input_tokens + row.output_tokens)
    assert (told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]) == tokens
    assert (told["estimated"], row.usage_estimated, row.output_tokens > 0) == (True, True, True)
    assert "estimated" not in known.model_dump_json()


async def test_caller_cannot_choose_where_a_request_goes(gateway: Gateway) -> None:
    """Addresses and keys are the operator's: such members are refused or reach the provider as mere text."""
    for name in ("api_base", "base_url", "api_key", "custom_llm_provider", "extra_headers", "mock_response"):
        try:
            await gateway.client.chat.completions.create(
                model="default", messages=HELLO, extra_body={name: "http://127.0.0.1:1"}
            )
        except openai.BadRequestError as error:
            assert name in str(error)  # noqa: PT017 one of two good ends

    assert all(heard.headers["authorization"].endswith("1234") for heard in gateway.provider.heard)
    assert all(heard.body["messages"] == HELLO for heard in gateway.provider.heard)


ODD_EVENTS: Any = [
    b'{"choices": 5}',
    b'{"choices": [{"index": 0, "delta": {"content": "\\ud800"}}]}',
    b'{"choices": [{"index": 0, "delta": {"content": "cut"}}]}',
]


@pytest.mark.parametrize("odd", ODD_EVENTS, ids=["no list of choices", "half a letter", "no end"])
async def test_stream_with_an_odd_event_ends_in_an_error_that_is_told_and_billed(gateway: Gateway, odd: bytes) -> None:
    """Also where litellm would end what its provider did not; nothing of it is kept for the next who asks."""
    first = b'{"id": "1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hi"}}]}'
    whole = b"".join(b"data: " + data + b"\n\n" for data in (first, odd))
    headers = {"content-type": "text/event-stream"}
    gateway.provider.script = lambda _: Play(body=whole, headers=headers)

    for _ in range(2):
        stream = await gateway.client.chat.completions.create(model="default", messages=HELLO, stream=True)
        with pytest.raises(openai.APIError) as caught:
            _ = [chunk async for chunk in stream]
        assert caught.value.code == "provider_failed"

    for row in await gateway.calls():
        assert (row.status, row.error, row.cached, row.attempt_count) == ("failed", "provider-unavailable", False, 1)
        assert row.cost_usd


async def test_answer_that_no_text_can_hold_is_the_providers_failure(gateway: Gateway) -> None:
    """Half of a surrogate pair, whichever road it comes by."""
    message = b'{"role": "assistant", "content": "\\ud800"}'
    usage = b'"usage": {"prompt_tokens": 100, "completion_tokens": 20}'
    whole = (
        b'{"id": "1", "choices": [{"index": 0, "finish_reason": "stop", "message": ' + message + b"}], " + usage + b"}"
    )
    gateway.provider.script = lambda _: Play(body=whole)

    try:
        await gateway.client.chat.completions.create(model="default", messages=HELLO)
    except openai.APIStatusError as error:
        assert error.status_code == 502  # noqa: PT017 or it is passed on as it was written

    [row] = await gateway.calls()
    assert row.cost_usd == COST


async def test_shape_that_cannot_be_sent_is_no_mark_against_the_deployment(gateway: Gateway) -> None:
    """One caller's mistake, made again and again, keeps nobody else from their answers."""
    odd: Any = [{"role": "assistant", "tool_calls": 5}]
    for stream in (False, True) * 2:
        try:
            await gateway.client.chat.completions.create(model="default", messages=odd, stream=stream)
        except openai.BadRequestError as error:
            assert error.code == "provider_rejected"  # noqa: PT017 the provider of the other road takes it

    assert gateway.services.health["openai/scripted"].failures == 0
