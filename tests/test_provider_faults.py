"""Whatever a provider sends over a real connection, through LiteLLM and every wrapper: an answer or a clear error."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.errors import DeadlineExceeded, GatewayError, InvalidModelOutput, ProviderFailed
from feedback_gateway.llm.litellm_client import load_litellm
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import DeploymentParams, ModelEntry, RetrySettings, Settings
from feedback_gateway.tasks.models import Answer, CallOptions

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::UserWarning:pydantic")]

TEXT = "The export crashes since the update."
GOOD = {
    "label": "negative",
    "score": -0.8,
    "aspects": [],
    "evidence": [{"quote": "export crashes"}],
}
CALL_COST = Decimal(100) * Decimal("0.000001") + Decimal(20) * Decimal("0.000002")

Reply = Callable[[asyncio.StreamWriter], None] | None


def http(status: int, body: bytes, *headers: str) -> Reply:
    """A complete HTTP answer."""
    head = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "content-type: application/json", *headers]

    def write(writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join([*head, "", ""]).encode() + body)

    return write


def cut_short(writer: asyncio.StreamWriter) -> None:
    """Half an answer, then a dropped connection."""
    writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 900\r\ncontent-type: application/json\r\n\r\n{"choices": [')
    writer.close()


def completion(content: str | None, *, finish_reason: str = "stop", **message: Any) -> Reply:
    """An answer as OpenAI's protocol has it, 100 tokens in and 20 out."""
    choice = {
        "index": 0,
        "finish_reason": finish_reason,
        "message": {"role": "assistant", "content": content, **message},
    }
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    return chat([choice], usage)


def chat(choices: list[Any], usage: dict[str, int]) -> Reply:
    """An answer with these choices."""
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}
    return http(200, json.dumps(body).encode())


ANSWERED = completion(json.dumps(GOOD))


class Provider:
    """A loopback server that plays its replies one a request, the last one for ever; None hangs."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self.replies = list(replies)
        self.bodies: list[dict[str, Any]] = []
        self.close: Callable[[], None] = lambda: None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer every request of one connection."""
        while head := await self._head(reader):
            length = next(int(line.split(b":")[1]) for line in head if line.lower().startswith(b"content-length:"))
            self.bodies.append(json.loads(await reader.readexactly(length)))
            reply = self.reply()
            if reply is None:
                await reader.read()
                break
            reply(writer)
            if writer.is_closing():
                break
        writer.close()

    def reply(self) -> Reply:
        """What comes next."""
        return self.replies[min(len(self.bodies), len(self.replies)) - 1]

    async def _head(self, reader: asyncio.StreamReader) -> list[bytes]:
        try:
            return (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return []


Gateway = Callable[..., AbstractAsyncContextManager[tuple[Services, Provider]]]


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    """Opens the services over a provider that plays the given replies."""

    @asynccontextmanager
    async def opened(
        *replies: Reply, timeout_s: float = 30, attempts: int = 3
    ) -> AsyncIterator[tuple[Services, Provider]]:
        provider = Provider(replies)
        server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
        provider.close = server.close
        port = server.sockets[0].getsockname()[1]
        params = DeploymentParams.model_validate(
            {
                "model": "openai/m",
                "api_base": f"http://127.0.0.1:{port}/v1",
                "api_key": "sk-planted-secret-key",
                "timeout": timeout_s,
                "input_cost_per_token": "0.000001",
                "output_cost_per_token": "0.000002",
            }
        )
        settings = Settings(
            model_list=[ModelEntry(model_name="default", litellm_params=params)],
            database_url=f"sqlite:///{tmp_path}/faults.db",
            retry=RetrySettings.model_validate({"attempts": attempts, "backoff": "1ms", "max_backoff": "1ms"}),
        )
        try:
            async with open_services(settings) as services:
                yield services, provider
        finally:
            server.close()

    return opened


async def sentiment(services: Services, *, timeout_s: float | None = None) -> Answer:
    """One item through `sentiment`."""
    options = CallOptions(timeout_s=timeout_s)
    return await services.tasks.run("sentiment", {"text": TEXT}, consumer=LOCAL_CONSUMER, options=options)


@pytest.mark.parametrize(
    "reply",
    [
        ANSWERED,
        completion("```json\n" + json.dumps(GOOD) + "\n```"),
        completion("Sure! " + json.dumps(GOOD)),
        completion(json.dumps(GOOD | {"label": "Negative", "score": "-0.8", "mood": "bad"})),
    ],
    ids=["plain", "code fence", "among words", "other case"],
)
async def test_answer_with_one_reading_is_taken_at_once(gateway: Gateway, reply: Reply) -> None:
    """One request, one price, the source's own words."""
    async with gateway(reply) as (services, provider):
        outcome = await sentiment(services)

    assert outcome.result["label"] == "negative"
    assert outcome.result["evidence"] == [{"quote": "export crashes", "start": 4, "end": 18}]
    assert outcome.receipt.cost_usd == CALL_COST
    assert len(provider.bodies) == 1


@pytest.mark.parametrize(
    "first",
    [
        completion(json.dumps(GOOD)[:40], finish_reason="length"),
        completion(json.dumps(GOOD) + json.dumps(GOOD | {"label": "positive"})),
        completion(json.dumps(GOOD | {"label": "negativ"})),
        completion(json.dumps(GOOD | {"score": -7})),
        completion("I would say it is negative."),
    ],
    ids=["truncated", "two objects", "other language", "out of range", "prose"],
)
async def test_unusable_answer_is_repaired_once_and_both_are_paid(gateway: Gateway, first: Reply) -> None:
    """The model sees what was wrong, and the caller the price of both turns."""
    async with gateway(first, ANSWERED) as (services, provider):
        outcome = await sentiment(services)

    assert outcome.result["label"] == "negative"
    assert outcome.receipt.cost_usd == 2 * CALL_COST
    assert provider.bodies[1]["messages"][-1]["role"] == "user"
    assert "could not be used" in provider.bodies[1]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (http(500, b'{"error": {"message": "boom"}}'), ProviderFailed, "500"),
        (http(200, b"<html>bad gateway</html>"), ProviderFailed, "openai/m"),
        (http(200, b"{}"), ProviderFailed, "openai/m"),
        (chat([], {"prompt_tokens": 100, "completion_tokens": 0, "total_tokens": 100}), ProviderFailed, "openai/m"),
        (cut_short, ProviderFailed, "openai/m"),
        (completion(None), ProviderFailed, "openai/m"),
        (completion(None, refusal="I will not."), ProviderFailed, "content-refused"),
        (completion("", finish_reason="content_filter"), ProviderFailed, "content-refused"),
        (http(401, b'{"error": {"message": "bad key sk-planted-secret-key"}}'), ProviderFailed, "401"),
        (completion(json.dumps(GOOD | {"label": "great"})), InvalidModelOutput, "label: the value is not one of"),
    ],
    ids=["500", "html", "empty object", "no choice", "dropped", "no content", "refusal", "filter", "401", "invalid"],
)
async def test_what_cannot_be_used_is_an_error_that_says_so_within_the_attempts(
    gateway: Gateway, reply: Reply, kind: type[GatewayError], said: str
) -> None:
    """The error names who was asked and what came back; the key and the text are in no error; attempts are bounded."""
    async with gateway(reply) as (services, provider):
        with pytest.raises(kind) as failure:
            await sentiment(services)

    assert said in failure.value.detail
    assert "planted" not in failure.value.detail
    assert TEXT not in failure.value.detail
    assert len(provider.bodies) <= 3


def hang_up(writer: asyncio.StreamWriter) -> None:
    """No word of an answer, only a dropped connection."""
    writer.close()


@pytest.mark.parametrize("reply", [cut_short, hang_up], ids=["half an answer", "none"])
async def test_answer_that_was_lost_on_the_way_is_charged_at_its_bound(gateway: Gateway, reply: Reply) -> None:
    """The provider may have billed it: a budget that took it for free would be overshot."""
    async with gateway(reply) as (services, provider):
        with pytest.raises(ProviderFailed) as failure:
            await sentiment(services)
        await services.books.writer.flush()
        (line,) = services.books.ledger.entries()
        held = services.books.ledger.holds()
        call, attempts = services.books.calls.get(line.call_id)

    assert "is the server running" not in failure.value.detail
    assert len(attempts) == len(provider.bodies) > 0
    assert (line.kind, call.cost_usd, held) == ("bound", None, [])
    assert line.amount_usd is not None
    assert line.amount_usd > 0


async def test_request_that_never_left_costs_nothing(gateway: Gateway) -> None:
    """A refused connection is no bill."""
    async with gateway(ANSWERED) as (services, provider):
        provider.close()
        with pytest.raises(ProviderFailed) as failure:
            await sentiment(services)
        await services.books.writer.flush()

        assert "is the server running" in failure.value.detail
        assert services.books.ledger.entries() == []
        assert services.books.ledger.holds() == []


def billed_as(**usage: Any) -> Reply:
    """A good answer with an odd account of its tokens."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": json.dumps(GOOD)}}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return http(200, json.dumps(body).encode())


@pytest.mark.parametrize("tokens", [10**30, -5], ids=["huge", "negative"])
async def test_absurd_account_of_tokens_is_no_account(gateway: Gateway, tokens: float) -> None:
    """The answer is given, and the row is written."""
    async with gateway(billed_as(prompt_tokens=tokens, completion_tokens=20, total_tokens=20)) as (services, _):
        outcome = await sentiment(services)
        await services.books.writer.flush()
        record, _ = services.books.calls.get(outcome.call_id)

    assert record.input_tokens < 10_000
    assert record.cost_usd == outcome.receipt.cost_usd


@pytest.mark.parametrize("tokens", [float("nan"), float("inf")])
async def test_answer_that_is_no_json_costs_its_own_item_only(gateway: Gateway, tokens: float) -> None:
    """NaN among the tokens fails one call, and the items beside it have their answers."""
    odd = billed_as(prompt_tokens=tokens, completion_tokens=20, total_tokens=20)
    async with gateway(odd, ANSWERED, attempts=1) as (services, _):
        outcomes = await asyncio.gather(*(sentiment(services) for _ in range(4)), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes if not isinstance(outcome, Answer)] == [ProviderFailed]


async def test_redirect_is_not_followed(gateway: Gateway) -> None:
    """A redirect would be a request that nobody counts, with the key, to wherever the answer points."""
    async with gateway(http(307, b"", "location: /v1/elsewhere")) as (services, provider):
        with pytest.raises(ProviderFailed, match="307"):
            await sentiment(services)

    assert len(provider.bodies) == 1


ENDLESS = b'{"x": "' + b"a" * (24 * 1024 * 1024) + b'"}'


@pytest.mark.parametrize(
    "reply",
    [http(200, ENDLESS), http(200, gzip.compress(ENDLESS, 1), "content-encoding: gzip")],
    ids=["plain", "gzip"],
)
async def test_answer_without_measure_is_not_kept(gateway: Gateway, reply: Reply) -> None:
    """It is an error that says so, and neither shown to the model again nor repeated in the detail."""
    async with gateway(reply, attempts=1) as (services, provider):
        with pytest.raises(ProviderFailed, match="larger than 16 MiB") as failure:
            await sentiment(services)

    assert len(failure.value.detail) < 500
    assert len(provider.bodies) == 1


async def test_invalid_answer_is_shown_again_in_part(gateway: Gateway) -> None:
    """The repair turn costs no more than what it takes to see the flaw."""
    async with gateway(completion("nothing " * 100_000), ANSWERED) as (services, provider):
        await sentiment(services)

    assert len(provider.bodies[1]["messages"][-2]["content"]) == 20_000


async def test_calls_side_by_side_learn_together_that_a_model_takes_no_schema(gateway: Gateway) -> None:
    """Each asks the next way once the way it asked was refused, however many are refused at the same time."""
    refused = http(400, b'{"error": {"message": "response_format json_schema is not supported"}}')
    async with gateway() as (services, provider):
        provider.reply = lambda: refused if takes_a_schema(provider.bodies[-1]) else ANSWERED  # type: ignore[method-assign]
        calls = [
            services.tasks.run(
                "sentiment", {"text": f"{TEXT} {number}"}, consumer=LOCAL_CONSUMER, options=CallOptions()
            )
            for number in range(12)
        ]
        outcomes = await asyncio.gather(*calls)

    assert [type(outcome) for outcome in outcomes] == [Answer] * 12
    assert any(takes_a_schema(body) for body in provider.bodies)


def takes_a_schema(body: dict[str, Any]) -> bool:
    """Whether a request asks for an answer by a schema."""
    return bool((body.get("response_format") or {}).get("type") == "json_schema")


async def test_recovered_provider_answers_after_its_failures(gateway: Gateway) -> None:
    """A dropped connection and a 500 cost attempts, not the call."""
    async with gateway(cut_short, http(500, b"{}"), ANSWERED) as (services, provider):
        outcome = await sentiment(services)

    assert outcome.result["label"] == "negative"
    assert len(provider.bodies) == 3


async def test_provider_that_hangs_is_given_up_at_the_deadline(gateway: Gateway) -> None:
    """The caller is told in time, and the attempt is in the log."""
    await asyncio.to_thread(load_litellm)
    async with gateway(None, timeout_s=0.5) as (services, _):
        with pytest.raises(DeadlineExceeded) as failure:
            await sentiment(services, timeout_s=0.2)
        await services.books.recorder.drain(5)
        await services.books.writer.flush()
        record, attempts = services.books.calls.get(failure.value.call_id or "")

    assert record.error == "deadline-exceeded"
    assert [attempt.status for attempt in attempts] == ["abandoned"]
