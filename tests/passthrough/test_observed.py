"""Requests that are passed on are counted, traced and found like any other."""

from typing import Any

import httpx
import pytest

from feedback_gateway.observability.models import span_id_of
from tests.passthrough.conftest import MARKS, Gateway

pytestmark = MARKS
HELLO: Any = [{"role": "user", "content": "Hello!"}]
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("stream", [False, True])
async def test_trace_and_id_of_the_caller_reach_provider_and_log(gateway: Gateway, *, stream: bool) -> None:
    """OpenAI's client sends them as headers; it reads the gateway's own id as `_request_id`."""
    raw = await gateway.client.chat.completions.with_raw_response.create(
        model="default",
        messages=HELLO,
        stream=stream,
        extra_headers={"traceparent": PARENT, "tracestate": "a=b", "x-call-id": "mine"},
    )
    await raw.http_response.aread()

    (row,) = await gateway.calls()
    (heard,) = gateway.provider.heard
    assert (raw.headers["x-call-id"], raw.headers["x-request-id"]) == ("mine", row.call_id)
    assert row.client_call_id == "mine"
    assert heard.headers["traceparent"] == f"00-4bf92f3577b34da6a3ce929d0e0e4736-{span_id_of(row.call_id, 1)}-01"
    assert heard.headers["tracestate"] == "a=b"


async def test_chats_and_embeddings_are_tasks_of_their_own(gateway: Gateway) -> None:
    """And their routes have a label each."""
    answer = await gateway.client.chat.completions.create(model="default", messages=HELLO)
    await gateway.client.embeddings.create(model="default", input="Hello!")
    await gateway.calls()
    async with httpx.AsyncClient() as client:
        shown = (await client.get(f"{gateway.url}/metrics")).text

    assert answer._request_id is not None
    assert 'calls_total{cached="false",model="default",status="ok",task="chat"} 1.0' in shown
    assert 'calls_total{cached="false",model="default",status="ok",task="embeddings"} 1.0' in shown
    assert 'http_requests_total{method="POST",route="/v1/chat/completions",status="2xx"} 1.0' in shown
    assert 'http_requests_total{method="POST",route="/v1/embeddings",status="2xx"} 1.0' in shown
    assert "Hello" not in shown
