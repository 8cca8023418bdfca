"""Personal data and secrets, planted wherever text comes in: they reach their caller, and no log, table or error."""

import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import respx
from sqlalchemy import text

from feedback_gateway.app import create_app
from feedback_gateway.calls.models import Call
from feedback_gateway.errors import ProviderRejected
from feedback_gateway.llm.litellm_client import load_litellm
from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.scripted import answer
from feedback_gateway.observability.logs import JsonFormatter
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings
from feedback_gateway.storage.engine import open_engine
from tests.api.conftest import fill
from tests.observability.collector import Collector, collecting
from tests.redaction.canaries import key

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::UserWarning:pydantic")]

PROVIDER_KEY = key("planted-provider-", 24)
EMAIL = "mallory.quimby@canary.example"
CANARIES = {
    "email": EMAIL,
    "phone": "+1 541-714-1388",
    "card": "4111 1111 1111 1111",
    "iban": "GB29 NWBK 6016 1331 9268 19",
    "ssn": "123-45-6789",
    "ip": "10.250.19.102",
    "token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_DEF-123",
    "provider's key": key("sk-proj-", 32),
    "our key": key("fg_", 43),
    "url": "https://admin:hunter2-canary@inner.example/x",
}
SAID = "It crashes. " + "; ".join(f"my {name}: {value}" for name, value in CANARIES.items()) + ". Thanks."
NEEDLES = [*CANARIES.values(), PROVIDER_KEY, "mallory.quimby", "hunter2-canary"]
REFUSED = "refuse-this-row"
Respond = Callable[[CompletionRequest], Completion]


class Played:
    """A provider that does what the text asks for."""

    def __init__(self) -> None:
        self.requests: list[CompletionRequest] = []

    async def prepare(self) -> None:
        """Nothing to load."""

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Fail with the text in its words, answer with it, or as it should."""
        self.requests.append(request)
        asked = request.messages[-1].content
        if "please break" in asked:
            message = f"a fault with {SAID}"
            raise RuntimeError(message)
        if "please reject" in asked:
            raise ProviderRejected(f"you sent {SAID}", status=400)
        if "please err" in asked:
            return answer(json.dumps({SAID: 1, "label": SAID}))
        return answer(json.dumps(quoting(request)))


def quoting(request: CompletionRequest) -> Any:
    """A value of the schema in which every free string is what the user wrote."""

    def said(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: said(one) for name, one in value.items()}
        return SAID if isinstance(value, str) and set(value) == {"x"} else value

    return said(fill(request.output_schema))


def settings_for(url: str, *, model: str = "openai/gpt-4o-mini", **changes: Any) -> Settings:
    """One priced deployment with a key, and no second attempt."""
    params = {
        "model": model,
        "api_key": PROVIDER_KEY,
        "api_base": "http://model.test/v1",
        "input_cost_per_token": "0.000001",
        "output_cost_per_token": "0.000001",
    }
    return Settings.model_validate(
        {
            "model_list": [{"model_name": "default", "litellm_params": params}],
            "database_url": url,
            "retry": {"attempts": 2, "backoff": "1ms"},
        }
        | changes
    )


@asynccontextmanager
async def opened(settings: Settings, provider: Any = None) -> AsyncIterator[tuple[httpx.AsyncClient, Services]]:
    """The application and a caller; with LiteLLM where there is no `provider`."""
    factory = None if provider is None else lambda _: provider
    async with open_services(settings, provider=factory) as services:
        app = create_app(settings, services)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
        ):
            yield client, services


def stored(url: str) -> str:
    """All that the database holds: the bytes of its files, or every row of every table as text."""
    if url.startswith("sqlite"):
        file = Path(url.removeprefix("sqlite:///"))
        return "".join(one.read_bytes().decode("latin-1") for one in file.parent.glob(f"{file.name}*"))
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = [connection.execute(f'SELECT one::text FROM "{name}" AS one').fetchall() for (name,) in tables]
    return json.dumps(rows)


def refuse_rows(url: str) -> None:
    """Let the database refuse what holds REFUSED; PostgreSQL then quotes the whole row."""
    statement = f"ALTER TABLE payloads ADD CONSTRAINT refused CHECK (inputs NOT LIKE '%{REFUSED}%')"
    if url.startswith("sqlite"):
        statement = (
            f"CREATE TRIGGER refused BEFORE INSERT ON payloads WHEN NEW.inputs LIKE '%{REFUSED}%' "
            "BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def found(where: str) -> list[str]:
    """The canaries in a text."""
    return [needle for needle in NEEDLES if needle in where or needle.replace(" ", "") in where.replace(" ", "")]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """All that was logged, by every logger and at every level, but for what the test's own client says.

    As text, and once more as JSON.
    """
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger="sqlalchemy"):
        formatters = (logging.Formatter(), JsonFormatter())

        def said() -> str:
            records = [
                one for one in caplog.records if not (one.name == "httpx" and "http://gateway" in one.getMessage())
            ]
            return "\n".join(formatter.format(one) for formatter in formatters for one in records)

        yield said


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Somebody who takes traces."""
    with collecting() as collector:
        yield collector


def requests() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Requests that hold every canary in every place, and come to every end."""
    task = "/v1/sentiment"
    yield "POST", task, {"json": {"text": SAID, "id": EMAIL, "metadata": {"who": SAID}}}
    yield "POST", "/v1/summarize", {"json": {"texts": [{"id": EMAIL, "text": SAID}, {"id": "b", "text": SAID}]}}
    yield "POST", "/v1/reply-draft", {"json": {"text": SAID, "knowledge": [{"id": "a", "title": SAID, "text": SAID}]}}
    yield "POST", "/v1/root-cause-suggest", {"json": {"text": SAID, "logs": SAID}}
    named = {"categories": [{"name": EMAIL, "description": SAID}, {"name": "other", "description": "rest"}]}
    yield "POST", "/v1/categorize", {"json": {"text": SAID, "taxonomy": named}}
    yield (
        "POST",
        task,
        {"json": {"items": [{"text": SAID, "id": EMAIL}, {"text": 1, SAID: SAID}, {"text": "please break"}]}},
    )
    for wish in ("please break", "please reject", "please err", REFUSED):
        yield "POST", task, {"json": {"text": f"{wish}: {SAID}"}}
    yield "POST", task, {"json": {"text": [SAID], "id": [SAID]}}
    yield "POST", task, {"json": {"text": "x", SAID: SAID, EMAIL: 1}}
    yield "POST", task, {"json": {"text": "x", "options": {"model": SAID, SAID: 1}}}
    yield "POST", task, {"json": {"items": [], SAID: 1}}
    yield "POST", task, {"content": f'{{"{EMAIL}": 1, "{EMAIL}": 2}}', "headers": {"content-type": "application/json"}}
    yield "POST", task, {"content": SAID, "headers": {"content-type": "application/json"}}
    yield "POST", task, {"content": "{}", "headers": {"content-type": f"text/{EMAIL}"}}
    yield "POST", task, {"json": {"text": "x"}, "params": {EMAIL: SAID}}
    yield "POST", f"/v1/{EMAIL}", {"json": {"text": SAID}}
    yield "GET", f"/{EMAIL}", {"params": {"q": SAID}}
    yield "GET", "/v1/calls", {"params": {EMAIL: SAID, "cursor": SAID, "since": SAID, "cached": SAID}}
    yield "GET", "/v1/usage", {"params": {"group_by": EMAIL, "since": SAID, SAID: "1"}}
    yield "GET", f"/v1/calls/{EMAIL}", {}
    yield "POST", task, {"json": {"text": SAID}, "headers": {"authorization": f"Bearer {CANARIES['our key']}"}}
    yield (
        "POST",
        task,
        {"json": {"text": SAID}, "headers": {"x-call-id": EMAIL, "traceparent": SAID, "tracestate": SAID}},
    )
    yield "POST", task, {"json": {"text": SAID}, "headers": {"x-call-id": CANARIES["our key"]}}
    yield "POST", task, {"json": {"text": SAID}, "headers": {"x-call-id": CANARIES["token"]}}
    yield "FETCH", f"/{EMAIL}", {}
    yield "POST", task, {"json": {"text": SAID}, "headers": {"x-api-key": SAID, "user-agent": SAID, "cookie": SAID}}


async def test_nothing_of_what_was_planted_is_stored_logged_or_told_in_an_error(
    database_url: str,
    logged: Callable[[], str],
    collector: Collector,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    """The answers hold it, as they should: their caller wrote it. Nor is it in metrics, traces or lines of JSON."""
    refuse_rows(database_url)
    provider = Played()
    statuses, leaks = [], []
    settings = settings_for(database_url, telemetry={"endpoint": collector.endpoint})
    async with opened(settings, provider) as (client, services):
        for method, path, rest in requests():
            response = await client.request(method, path, **rest)
            statuses.append(response.status_code)
            told = [response.text] if response.is_error else []
            if response.is_success and "items" in rest.get("json", {}):
                told = [json.dumps(one["error"]) for one in response.json()["results"] if "error" in one]
            leaks += [(path, leak, one) for one in told for leak in found(one)]
        await services.books.writer.flush()
        rejected = services.books.writer.state.rejected
        kept = stored(database_url)
        answers = [await client.post("/v1/reply-draft", json={"text": SAID})]
        metrics = await client.get("/metrics")

    assert leaks == []
    assert found(metrics.text) == []
    assert found(b"".join(collector.bodies).decode("latin-1")) == []
    assert "calls_total" in metrics.text
    assert {"call sentiment", "chat gpt-4o-mini"} <= {span.name for span in collector.spans}
    assert '"logger": "feedback_gateway.requests"' in logged()
    assert found(kept + stored(database_url)) == []
    assert found(logged()) == []
    assert found("".join(capfd.readouterr())) == []
    assert found(" ".join(str(one.message) for one in recwarn)) == []
    assert "<EMAIL_1>" in kept
    assert all(found(one.text) for one in answers)
    assert rejected == 1
    assert {200, 400, 401, 404, 415, 422, 500, 502} <= set(statuses)
    assert "RuntimeError" in logged()
    assert "the store refused" in logged()


async def test_provider_that_quotes_prompt_and_key_is_not_repeated(
    database_url: str, logged: Callable[[], str], capfd: pytest.CaptureFixture[str]
) -> None:
    """Through LiteLLM and HTTP, in errors of each kind and in answers that cannot be used."""
    litellm: Any = load_litellm()
    litellm.disable_aiohttp_transport = True

    def quoted(status: int) -> Callable[[httpx.Request], httpx.Response]:
        def respond(request: httpx.Request) -> httpx.Response:
            told = f"bad {request.headers['authorization']}: {request.content.decode()} {SAID}"
            return httpx.Response(status, json={"error": {"message": told, "type": "invalid_request_error"}})

        return respond

    def answered(content: str) -> Callable[[httpx.Request], httpx.Response]:
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
        return lambda _: httpx.Response(200, json=body)

    ends = [quoted(status) for status in (400, 401, 404, 422, 429, 500, 503)]
    ends += [answered(SAID), answered(json.dumps({SAID: SAID})), lambda _: httpx.Response(200, text=SAID)]
    leaks, statuses = [], []
    with respx.mock(assert_all_called=False) as wire:
        for end in ends:  # each to a gateway of its own, or the deployment would be left alone after a few
            async with opened(settings_for(database_url, model="deepinfra/gpt-4o-mini")) as (client, services):
                wire.route(host="model.test").mock(side_effect=end)
                response = await client.post("/v1/sentiment", json={"text": SAID})
                statuses.append(response.status_code)
                leaks += [(response.text, leak) for leak in found(response.text)]
                await services.books.writer.flush()
        asked = len(wire.calls)

    assert leaks == []
    assert all(status in (429, 502) for status in statuses)
    assert asked >= len(ends)
    assert found(stored(database_url)) == []
    assert found(logged()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("payloads", "is_kept"), [("none", False), ("full", True)])
async def test_log_keeps_of_the_texts_what_it_is_told_to(database_url: str, *, payloads: str, is_kept: bool) -> None:
    """All or nothing, where that is wanted; a caller's id is in none of it."""
    async with opened(settings_for(database_url, log={"payloads": payloads}), Played()) as (client, services):
        response = await client.post("/v1/reply-draft", json={"text": SAID, "id": "ticket-77"})
        await services.books.writer.flush()
        kept = stored(database_url)

    assert response.json()["id"] == "ticket-77"
    assert "ticket-77" not in kept
    assert (len(found(kept)) >= len(CANARIES)) == is_kept
    assert ("It crashes" in kept) == is_kept


async def test_call_whose_texts_cannot_be_redacted_is_charged_and_logged_without_them(
    database_url: str, logged: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of a detector costs neither the row, nor the money, nor the secret."""

    def faulty(text: str) -> Iterator[Any]:
        raise ValueError(text)

    async with opened(settings_for(database_url), Played()) as (client, services):
        gates = [*services.books.redactor._gated, (re.compile(""), (faulty,))]
        monkeypatch.setattr(services.books.redactor, "_gated", tuple(gates))
        response = await client.post("/v1/sentiment", json={"text": SAID})
        await services.books.writer.flush()
        (line,) = services.books.ledger.entries()
        state = services.books.writer.state

    assert response.status_code == 200
    assert line.amount_usd == Decimal("0.00012")
    assert (state.written, state.rejected) == (1, 0)
    assert found(stored(database_url)) == []
    assert found(logged()) == []
    assert "is logged without its texts: ValueError" in logged()


async def test_text_that_cannot_be_masked_reaches_no_provider(
    database_url: str, logged: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed, not open: the call fails, and says nothing of why to its caller."""

    def faulty(text: str) -> Iterator[Any]:
        raise ValueError(text)

    provider = Played()
    async with opened(settings_for(database_url, redaction={"before_provider": True}), provider) as (client, services):
        gates = [*services.books.redactor._gated, (re.compile(""), (faulty,))]
        monkeypatch.setattr(services.books.redactor, "_gated", tuple(gates))
        response = await client.post("/v1/sentiment", json={"text": SAID})

    assert response.status_code == 500
    assert provider.requests == []
    assert found(response.text + logged()) == []
