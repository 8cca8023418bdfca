"""A caller's own id for its call, and its trace, from the request to the answer, the log and the provider."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from feedback_gateway.app import create_app
from feedback_gateway.calls.models import Call
from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.scripted import ScriptedClient
from feedback_gateway.observability.models import span_id_of
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings
from tests.api.conftest import fill_in
from tests.observability.collector import Collector, attributes, collecting

pytestmark = pytest.mark.anyio

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Noting(ScriptedClient):
    """A provider that keeps what it was told of the trace."""

    def __init__(self) -> None:
        super().__init__([fill_in])
        self.told: list[dict[str, str]] = []

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Answer."""
        self.told.append(call.trace_headers())
        return await super().complete(request, call)


@pytest.fixture
def provider() -> Noting:
    """What answers."""
    return Noting()


async def test_id_of_the_caller_comes_back_and_finds_the_call(client: httpx.AsyncClient) -> None:
    """The gateway's own id is `x-request-id`, and what the body says."""
    answer = await client.post("/v1/mood", json={"text": "fine"}, headers={"x-call-id": "order-66.a"})

    found = await client.get("/v1/calls/order-66.a")
    listed = await client.get("/v1/calls", params={"client_call_id": "order-66.a"})
    assert answer.headers["x-call-id"] == "order-66.a"
    assert answer.headers["x-request-id"] == answer.json()["call_id"] == found.json()["call_id"]
    assert found.json()["client_call_id"] == "order-66.a"
    assert (len(found.json()["attempts"]), len(found.json()["charges"])) == (1, 1)
    assert [call["call_id"] for call in listed.json()["data"]] == [answer.json()["call_id"]]


async def test_call_without_an_id_of_the_caller_has_the_gateways(client: httpx.AsyncClient) -> None:
    """In both headers."""
    answer = await client.post("/v1/mood", json={"text": "fine"})

    found = await client.get(f"/v1/calls/{answer.headers['x-call-id']}")
    assert answer.headers["x-call-id"] == answer.headers["x-request-id"]
    assert found.json()["client_call_id"] is None


@pytest.mark.parametrize("odd", ["x" * 65, "a b", "../../etc", "a\tb", "", "é"])
async def test_odd_id_is_ignored(client: httpx.AsyncClient, odd: str) -> None:
    """The request is answered all the same, under the gateway's id."""
    answer = await client.post("/v1/mood", json={"text": "fine"}, headers=[(b"x-call-id", odd.encode("latin-1"))])

    assert answer.status_code == 200
    assert answer.headers["x-call-id"] == answer.json()["call_id"]


async def test_same_id_again_is_another_call(client: httpx.AsyncClient) -> None:
    """Both are in the log; the id alone finds the newest."""
    headers = {"x-call-id": "again"}
    first = await client.post("/v1/mood", json={"text": "fine"}, headers=headers)
    second = await client.post("/v1/mood", json={"items": [{"text": "a"}, {"text": "b"}]}, headers=headers)

    listed = await client.get("/v1/calls", params={"client_call_id": "again"})
    found = await client.get("/v1/calls/again")
    ids = [call["call_id"] for call in listed.json()["data"]]
    assert len(ids) == 3
    assert first.json()["call_id"] in ids
    assert found.json()["call_id"] == ids[0] != first.json()["call_id"]
    assert second.status_code == 200


async def test_id_of_anothers_call_finds_nothing_of_it(client: httpx.AsyncClient) -> None:
    """Whoever guesses an id, ours or the other's, learns nothing and changes nothing."""
    keys = {}
    for name in ("acme", "mallory"):
        await client.post("/v1/admin/consumers", json={"name": name})
        made = await client.post("/v1/admin/keys", json={"consumer": name})
        keys[name] = {"x-api-key": made.json()["key"]}
    theirs = await client.post("/v1/mood", json={"text": "fine"}, headers=keys["acme"] | {"x-call-id": "order-66"})
    call_id = theirs.json()["call_id"]

    own = await client.post("/v1/mood", json={"text": "mine"}, headers=keys["mallory"] | {"x-call-id": call_id})
    by_theirs = await client.get("/v1/calls/order-66", headers=keys["mallory"])
    by_ours = await client.get(f"/v1/calls/{call_id}", headers=keys["mallory"])
    untouched = await client.get(f"/v1/calls/{call_id}", headers=keys["acme"])

    assert by_theirs.status_code == 404
    assert by_ours.json()["call_id"] == own.json()["call_id"]
    assert untouched.json()["call_id"] == call_id
    assert untouched.json()["inputs"] == {"text": "fine"}


async def test_trace_goes_on_to_the_provider(client: httpx.AsyncClient, provider: Noting) -> None:
    """Under the span of its attempt, and with no collector anywhere."""
    headers = {"traceparent": PARENT, "tracestate": "congo=t61rc"}
    answer = await client.post("/v1/mood", json={"text": "fine"}, headers=headers)

    (told,) = provider.told
    span_id = span_id_of(answer.json()["call_id"], 1)
    assert told == {"traceparent": f"00-4bf92f3577b34da6a3ce929d0e0e4736-{span_id}-01", "tracestate": "congo=t61rc"}


async def test_odd_trace_is_replaced(client: httpx.AsyncClient, provider: Noting) -> None:
    """By a new one, that nobody keeps."""
    await client.post("/v1/mood", json={"text": "fine"}, headers={"traceparent": "00-nonsense", "tracestate": "a=b"})

    (told,) = provider.told
    assert list(told) == ["traceparent"]
    assert told["traceparent"].endswith("-00")


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """Somebody who takes traces."""
    with collecting() as collector:
        yield collector


@asynccontextmanager
async def caller_of(settings: Settings, provider: ScriptedClient) -> AsyncIterator[httpx.AsyncClient]:
    """A caller of a gateway that is closed afterwards."""
    async with open_services(settings, provider=lambda _: provider) as services:
        transport = httpx.ASGITransport(app=create_app(settings, services))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield client


async def ask(settings: Settings, provider: ScriptedClient, **headers: str) -> httpx.Response:
    """One call to a gateway that is closed after it."""
    async with caller_of(settings, provider) as client:
        return await client.post("/v1/mood", json={"text": "what the user wrote"}, headers=headers)


def telling(settings: Settings, collector: Collector, **telemetry: object) -> Settings:
    """Settings with a collector."""
    return Settings.model_validate(
        settings.model_dump() | {"telemetry": {"endpoint": collector.endpoint} | telemetry, "log": {"payloads": "none"}}
    )


async def test_request_call_and_attempt_are_one_trace(
    settings: Settings, provider: Noting, collector: Collector
) -> None:
    """Sent by the time that the gateway has ended, with nothing that the user wrote."""
    answer = await ask(telling(settings, collector), provider, traceparent=PARENT, **{"x-call-id": "mine"})

    request, call, attempt = (collector.named(name) for name in ("POST /v1/{task}", "call mood", "chat one"))
    assert {span.trace_id.hex() for span in collector.spans} == {"4bf92f3577b34da6a3ce929d0e0e4736"}
    assert request.parent_span_id.hex() == "00f067aa0ba902b7"
    assert (call.parent_span_id, attempt.parent_span_id) == (request.span_id, call.span_id)
    assert provider.told[0]["traceparent"].split("-")[2] == attempt.span_id.hex()
    assert attributes(request)["feedback_gateway.client_call_id"] == "mine"
    assert attributes(call)["feedback_gateway.call_id"] == answer.json()["call_id"]
    assert attributes(attempt)["gen_ai.provider.name"] == "scripted"
    assert request.start_time_unix_nano <= call.start_time_unix_nano + 10**8
    assert b"wrote" not in b"".join(collector.bodies)


async def test_share_of_traces_is_sent(settings: Settings, provider: Noting, collector: Collector) -> None:
    """None of ours, all of those that their senders keep."""
    silent = telling(settings, collector, sample_ratio=0.0)

    await ask(silent, provider)
    none = len(collector.spans)
    await ask(silent, provider, traceparent=PARENT)

    assert (none, len(collector.spans)) == (0, 3)


async def test_stuck_collector_holds_up_no_request(settings: Settings, provider: Noting, collector: Collector) -> None:
    """It gets the spans when it takes them."""
    collector.free.clear()
    async with caller_of(telling(settings, collector), provider) as client:
        answers = [await client.post("/v1/mood", json={"text": f"fine {number}"}) for number in range(3)]
        held = len(collector.spans)
        collector.free.set()

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert (held, len(collector.spans)) == (0, 9)
