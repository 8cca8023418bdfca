"""One deployment behind litellm: one request on the wire, an honest reading of what came back, and no noise."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import respx

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import (
    ContentRefused,
    ContextTooLong,
    FormatUnsupported,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnauthorized,
    ProviderUnavailable,
)
from feedback_gateway.llm.litellm_client import LiteLLMClient, load_litellm
from feedback_gateway.llm.models import CompletionRequest, Deployment, Message, Usage
from feedback_gateway.observability.models import Origin, Trace, span_id_of

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier:UserWarning")]

KEY = "sk-planted-4f9a8b7c6d5e"
SAID = "Mallory Quimby paid with card 5555444433331111"
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string"}},
    "required": ["label"],
    "additionalProperties": False,
}
REQUEST = CompletionRequest(
    model="default",
    messages=(Message("system", "Judge."), Message("user", SAID)),
    output_schema=SCHEMA,
    max_tokens=50,
    temperature=0.0,
    task="sentiment",
)
TOKENS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
BILLED = Usage(uncached_input_tokens=10, output_tokens=5)
LOCAL = {"api_key": KEY, "api_base": "http://model.test/v1"}


@pytest.fixture(autouse=True)
def wire() -> Iterator[respx.MockRouter]:
    """All that litellm sends ends here."""
    litellm: Any = load_litellm()
    litellm.disable_aiohttp_transport = True
    with respx.mock(assert_all_called=False) as router:
        yield router


def client(model: str = "openai/gpt-4o-mini", **params: Any) -> LiteLLMClient:
    """A client of one deployment."""
    return LiteLLMClient(
        Deployment(alias="default", name=model, model=model, params={"api_key": KEY, **params}, timeout_s=5)
    )


def call() -> Call:
    """A call that nothing has been tried for."""
    return Call(
        call_id="1",
        consumer="anonymous",
        task="sentiment",
        prompt_version=1,
        model="default",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        started=0,
        deadline=30,
        attempts_left=3,
    )


def answer(*, finish: str | None = "stop", usage: Any = TOKENS, **message: Any) -> dict[str, Any]:
    """A chat completion as OpenAI sends it."""
    said = {"role": "assistant", "content": '{"label": "x"}'} | message
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024-07-18"}
    body |= {"choices": [{"index": 0, "finish_reason": finish, "message": said}]}
    return body if usage is None else body | {"usage": usage}


def sent(wire: respx.MockRouter) -> list[dict[str, Any]]:
    """The bodies that were sent."""
    return [json.loads(one.request.content) for one in wire.calls]


async def failure(asked: LiteLLMClient) -> ProviderError:
    """The error that a completion ends in."""
    with pytest.raises(ProviderError) as caught:
        await asked.complete(REQUEST, call())
    return caught.value


async def test_schema_goes_out_as_response_format_and_strict_where_it_can_be(wire: respx.MockRouter) -> None:
    """The provider's own structured output comes first."""
    wire.route().respond(json=answer())

    completion = await client().complete(REQUEST, call())

    body = sent(wire)[0]
    assert completion.content == '{"label": "x"}'
    assert completion.model == "gpt-4o-mini-2024-07-18"
    assert completion.usage == BILLED
    assert body["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA, "strict": True}
    assert (body["temperature"], body["max_tokens"]) == (0.0, 50)
    assert [message["content"] for message in body["messages"]] == ["Judge.", SAID]


async def test_model_without_schemas_is_made_to_call_a_tool(wire: respx.MockRouter) -> None:
    """What the tool was called with is the answer."""
    arguments = '{"label": "x"}'
    tool = {"id": "1", "type": "function", "function": {"name": "answer", "arguments": arguments}}
    wire.route().respond(json=answer(content=None, tool_calls=[tool], finish="tool_calls"))

    completion = await client("openai/gpt-3.5-turbo").complete(REQUEST, call())

    body = sent(wire)[0]
    assert completion.content == arguments
    assert completion.finish_reason == "tool_calls"
    assert body["tool_choice"] == {"type": "function", "function": {"name": "answer"}}
    assert body["tools"][0]["function"]["parameters"] == SCHEMA


async def test_model_with_neither_is_told_the_schema_in_words(wire: respx.MockRouter) -> None:
    """The schema stands with the system's words, never behind the user's."""
    wire.route().respond(json=answer())

    await client("groq/no-such-model").complete(REQUEST, call())

    messages = sent(wire)[0]["messages"]
    assert json.dumps(SCHEMA) in messages[0]["content"]
    assert messages[1]["content"] == SAID


async def test_refused_way_of_asking_gives_way_to_the_next_on_the_next_attempt(wire: respx.MockRouter) -> None:
    """One attempt is one request; the deployment remembers what it learned."""
    refusal = {"error": {"message": "'response_format' of type 'json_schema' is not supported with this model."}}
    wire.route().mock(side_effect=[httpx.Response(400, json=refusal), httpx.Response(200, json=answer())])
    asked = client("openai/local-model", api_base=LOCAL["api_base"])

    error = await failure(asked)
    await asked.complete(REQUEST, call())

    assert isinstance(error, FormatUnsupported)
    assert error.retryable
    assert len(wire.calls) == 2
    assert "json_schema" in sent(wire)[0]["response_format"]
    assert "json_schema" not in str(sent(wire)[1].get("response_format"))


async def test_parameters_that_the_model_does_not_take_stay_at_home(wire: respx.MockRouter) -> None:
    """Reasoning models refuse a temperature."""
    wire.route().respond(json=answer())

    await client("openai/o3-mini").complete(REQUEST, call())

    body = sent(wire)[0]
    assert "temperature" not in body
    assert body["max_completion_tokens"] == 50


async def test_settings_of_the_gateway_are_not_sent_to_the_provider(wire: respx.MockRouter) -> None:
    """Prices, weights and retries have owners here; the rest of litellm_params passes."""
    wire.route().respond(json=answer())
    ours: dict[str, Any] = {"weight": 2, "rpm": 5, "max_retries": 3, "input_cost_per_token": 1, "timeout": 1}

    await client(**ours, seed=7).complete(REQUEST, call())

    body = sent(wire)[0]
    assert body["seed"] == 7
    assert not ours.keys() & body.keys()


@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "hosted_vllm/some", "gemini/gemini-2.5-flash"])
@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (httpx.Response(500, json={"error": {"message": "no"}}), ProviderUnavailable),
        (httpx.Response(503, text="down"), ProviderUnavailable),
        (httpx.Response(529, json={"error": {"message": "overloaded"}}), ProviderUnavailable),
        (httpx.Response(429, json={"error": {"message": "slow"}}), ProviderRateLimited),
        (httpx.Response(401, json={"error": {"message": "key"}}), ProviderUnauthorized),
        (httpx.Response(402, json={"error": {"message": "pay"}}), ProviderUnauthorized),
        (httpx.Response(403, json={"error": {"message": "no"}}), ProviderUnauthorized),
        (httpx.Response(404, json={"error": {"message": "gone"}}), ProviderRejected),
        (httpx.Response(422, json={"error": {"message": "odd"}}), ProviderRejected),
        (httpx.Response(408, json={"error": {"message": "late"}}), ProviderTimeout),
        (httpx.Response(413, json={"error": {"message": "large"}}), ContextTooLong),
        (httpx.Response(200, html="<html>sign in</html>"), ProviderUnavailable),
        (httpx.Response(200, json={"odd": True}), ProviderUnavailable),
        (
            httpx.RemoteProtocolError("peer closed connection without sending complete message body"),
            ProviderUnavailable,
        ),
        (httpx.ConnectError("refused"), ProviderUnavailable),
        (httpx.ReadError("reset"), ProviderUnavailable),
        (httpx.ReadTimeout("late"), ProviderTimeout),
    ],
    ids=str,
)
async def test_every_failure_has_its_error_and_took_one_request(
    wire: respx.MockRouter, model: str, outcome: httpx.Response | Exception, expected: type[ProviderError]
) -> None:
    """Retries have one owner, and it is not litellm."""
    wire.route().mock(side_effect=[outcome, httpx.Response(200, json=answer())])

    error = await failure(client(model))

    assert type(error) is expected
    assert len(wire.calls) == 1
    assert error.status in (outcome.status_code if isinstance(outcome, httpx.Response) else None, None)
    assert not isinstance(outcome, httpx.Response) or outcome.is_success or error.status == outcome.status_code


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("This model's maximum context length is 8192 tokens.", ContextTooLong),
        ("Your request was rejected as a result of our safety system. content_policy_violation", ContentRefused),
    ],
)
async def test_400_is_read_for_what_it_means(
    wire: respx.MockRouter, message: str, expected: type[ProviderError]
) -> None:
    """Too long and declined are not merely rejected."""
    wire.route().respond(400, json={"error": {"message": message, "type": "invalid_request_error"}})

    assert type(await failure(client())) is expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (answer(content=None, refusal="I cannot help with that."), ContentRefused),
        (answer(content="", finish="content_filter"), ContentRefused),
        (answer(content=""), ProviderUnavailable),
        (answer(content=None), ProviderUnavailable),
        ({**answer(), "choices": []}, ProviderUnavailable),
        ({**answer(), "choices": [{"index": 0, "finish_reason": "stop"}]}, ProviderUnavailable),
    ],
)
async def test_unusable_answer_was_billed_all_the_same(
    wire: respx.MockRouter, body: dict[str, Any], expected: type[ProviderError]
) -> None:
    """The error carries what the provider counted."""
    wire.route().respond(json=body)

    error = await failure(client())

    assert type(error) is expected
    assert error.usage == BILLED


async def test_answer_cut_off_at_the_limit_is_left_to_the_validator(wire: respx.MockRouter) -> None:
    """It may be repaired or refused; it is no provider's failure."""
    wire.route().respond(json=answer(content='{"label', finish="length"))

    completion = await client().complete(REQUEST, call())

    assert (completion.content, completion.finish_reason) == ('{"label', "length")


async def test_absent_usage_is_estimated_and_says_so(wire: respx.MockRouter) -> None:
    """An answer without a count was not free."""
    wire.route().respond(json=answer(usage=None))

    completion = await client().complete(REQUEST, call())

    assert completion.usage.estimated
    assert completion.usage.input_tokens > 10
    assert completion.usage.output_tokens == 5


async def test_usage_of_zero_stays_zero(wire: respx.MockRouter) -> None:
    """Zero is a count."""
    wire.route().respond(json=answer(usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}))

    completion = await client().complete(REQUEST, call())

    assert completion.usage == Usage()


async def test_thoughts_written_before_the_answer_are_left_out(wire: respx.MockRouter) -> None:
    """Some open models think aloud in the text itself."""
    wire.route().respond(json=answer(content='<think>{"label": "no"}</think>\n{"label": "x"}'))

    completion = await client("openai/local", api_base=LOCAL["api_base"]).complete(REQUEST, call())

    assert completion.content == '{"label": "x"}'


@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "hosted_vllm/some", "anthropic/claude-haiku-4-5"])
async def test_error_repeats_neither_the_key_nor_what_the_user_wrote(wire: respx.MockRouter, model: str) -> None:
    """Not in the detail, and not in any exception behind it."""
    told = f"Incorrect key {KEY}, Bearer {KEY}; you sent {SAID!r} to https://admin:hunter2@inner.test"
    wire.route().respond(400, json={"error": {"message": told, "type": "invalid_request_error"}})

    error = await failure(client(model, api_base="http://model.test"))

    said = f"{error.detail} {error!s} {error!r} {error.__cause__!r} {error.__context__!r}"
    assert error.status == 400
    assert [secret for secret in (KEY, "hunter2", *SAID.split()[:2], "5555444433331111") if secret in said] == []


async def test_retry_after_is_passed_on_in_seconds(wire: respx.MockRouter) -> None:
    """The owner of retries honours it."""
    wire.route().respond(429, json={"error": {"message": "slow"}}, headers={"retry-after": "7"})

    assert (await failure(client())).retry_after == 7


async def test_unknown_provider_is_rejected_and_nothing_is_printed(
    wire: respx.MockRouter, capfd: pytest.CaptureFixture[str]
) -> None:
    """Litellm would print a coloured list of its providers."""
    wire.route().respond(500, json={"error": {"message": SAID}})

    error = await failure(client("nobody/knows-this"))
    await failure(client())
    await failure(client("openai/no-such-model-at-all"))

    assert isinstance(error, ProviderRejected)
    assert capfd.readouterr() == ("", "")


async def test_cancelling_ends_the_request(wire: respx.MockRouter) -> None:
    """Nothing is left running, and nothing is translated."""
    begun = asyncio.Event()

    async def hang(_: httpx.Request) -> httpx.Response:
        begun.set()
        await asyncio.Event().wait()
        return httpx.Response(500)

    wire.route().mock(side_effect=hang)
    task = asyncio.create_task(client().complete(REQUEST, call()))
    await begun.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_trace_goes_along_beside_the_deployments_own_headers(wire: respx.MockRouter) -> None:
    """Where the call has one: the provider may go on with it."""
    wire.route().respond(json=answer())
    traced = call()
    traced.origin = Origin(Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", state="a=b"))
    asked = client(**LOCAL, extra_headers={"x-own": "1"})

    await asked.complete(REQUEST, traced)
    await asked.complete(REQUEST, call())

    first, second = (one.request.headers for one in wire.calls)
    assert first["traceparent"] == f"00-4bf92f3577b34da6a3ce929d0e0e4736-{span_id_of('1')}-00"
    assert (first["tracestate"], first["x-own"], second["x-own"]) == ("a=b", "1", "1")
    assert "traceparent" not in second


async def test_client_that_was_closed_answers_when_asked_again(wire: respx.MockRouter) -> None:
    """Connections are shared by all deployments and reopen."""
    wire.route().respond(json=answer())
    asked = client()
    await asked.aclose()
    await asked.complete(REQUEST, call())

    await asked.aclose()

    assert (await asked.complete(REQUEST, call())).usage == BILLED


async def test_hugging_face_is_asked_for_the_answer_and_for_nothing_else(wire: respx.MockRouter) -> None:
    """Litellm would look the model up first, offline or not."""
    wire.route().respond(json=answer())

    await client("huggingface/together/deepseek-ai/DeepSeek-R1", api_base=LOCAL["api_base"]).complete(REQUEST, call())

    assert [one.request.url.host for one in wire.calls] == ["model.test"]


def test_litellm_is_loaded_only_when_it_is_first_needed() -> None:
    """Building a client costs nothing; the import takes seconds."""
    code = (
        "import sys; from feedback_gateway.llm.litellm_client import LiteLLMClient;"
        "from feedback_gateway.llm.models import Deployment;"
        "LiteLLMClient(Deployment(alias='a', name='b', model='openai/c')); sys.exit('litellm' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_litellm_acts_on_no_account_of_its_own() -> None:
    """No callbacks, cache, budget or second owner of retries."""
    litellm: Any = load_litellm()

    assert (litellm.cache, litellm.num_retries, litellm.max_budget, litellm.drop_params) == (None, None, 0.0, False)
    # Its module for Gemini registers the cache that is None.
    assert {*litellm.callbacks, *litellm.success_callback, *litellm.failure_callback} <= {"cache"}
    assert litellm.suppress_debug_info
