"""`POST /v1/chat/completions` as OpenAI's own client sees it."""

from decimal import Decimal
from typing import Any

import pytest

from tests.passthrough.conftest import Gateway

pytestmark = pytest.mark.anyio
HELLO: Any = [{"role": "user", "content": "Hello!"}]


async def test_chat_completion_is_passed_on_and_costs_what_its_tokens_do(gateway: Gateway) -> None:
    """The answer, the alias in it, the headers and the row of the log."""
    raw = await gateway.client.chat.completions.with_raw_response.create(
        model="default", messages=HELLO, extra_body={"top_k": 5}
    )
    answer = raw.parse()

    sent = gateway.provider.heard[0]
    assert answer.choices[0].message.content == "This is what the scripted model says."
    assert answer.model == "default"
    assert raw.headers["x-cost-usd"] == "0.00014"
    assert sent.body == {"messages": HELLO, "model": "scripted", "top_k": 5}
    assert sent.headers["authorization"] == "Bearer sk-of-the-provider-1234"
    [row] = await gateway.calls()
    assert (row.call_id, row.task, row.status) == (raw.headers["x-call-id"], "chat", "ok")


async def test_stream_arrives_in_parts_and_costs_the_same(gateway: Gateway) -> None:
    """Streamed and buffered cost are equal for the same usage."""
    stream = await gateway.client.chat.completions.create(model="default", messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "This is what the scripted model says."
    assert {chunk.model for chunk in chunks} == {"default"}
    assert all(chunk.usage is None for chunk in chunks)
    [row] = await gateway.calls()
    assert row.cost_usd == Decimal("0.00014")
