"""What a request that is passed on may cost at most: no budget is overshot, whatever is asked for."""

from decimal import Decimal
from typing import Any

import openai
import pytest

from feedback_gateway.consumers.models import Consumer
from feedback_gateway.ledger.models import Budget
from feedback_gateway.llm.scripted_server import Play
from feedback_gateway.passthrough.service import DEFAULT_MAX_TOKENS
from tests.passthrough.conftest import MARKS, Gateway, new_key

pytestmark = MARKS
HELLO: Any = [{"role": "user", "content": "Hello!"}]


def payer(gateway: Gateway, limit: str) -> openai.AsyncOpenAI:
    """OpenAI's client with the key of somebody who has so much."""
    budget = Budget(limit_usd=Decimal(limit), period="month")
    return gateway.as_caller(new_key(gateway.services, "payer", budgets=(budget,)))


async def test_request_without_a_bound_is_given_one_where_a_budget_pays(gateway: Gateway) -> None:
    """And goes out as it is where none does."""
    await payer(gateway, "1").chat.completions.create(model="default", messages=HELLO)
    await gateway.client.chat.completions.create(model="default", messages=HELLO)

    charged, free = (heard.body for heard in gateway.provider.heard)
    assert charged["max_tokens"] == DEFAULT_MAX_TOKENS
    assert "max_tokens" not in free


@pytest.mark.parametrize("asked", [{"max_tokens": 400}, {"max_completion_tokens": 400}, {"max_tokens": 40, "n": 10}])
async def test_answer_that_could_cost_more_than_there_is_is_not_asked_for(gateway: Gateway, asked: Any) -> None:
    """400 tokens may cost $0.0008, and the input more than $0.001."""
    with pytest.raises(openai.APIStatusError) as caught:
        await payer(gateway, "0.0018").chat.completions.create(model="default", messages=HELLO, **asked)

    assert caught.value.status_code == 402
    assert gateway.provider.heard == []


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
    ],
)
async def test_what_has_no_bound_is_paid_by_no_budget(gateway: Gateway, part: Any) -> None:
    """Sound and files cost what their contents say, which nobody reads here."""
    asked: Any = [{"role": "user", "content": [part]}]

    with pytest.raises(openai.APIStatusError) as caught:
        await payer(gateway, "100").chat.completions.create(model="default", messages=asked)

    assert caught.value.status_code == 402


async def test_picture_is_bounded_by_the_most_that_one_costs_not_by_its_bytes(gateway: Gateway) -> None:
    """A small one may cost as much as a large one."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    asked: Any = [{"role": "user", "content": [picture]}]

    with pytest.raises(openai.APIStatusError) as caught:
        await payer(gateway, "0.04").chat.completions.create(model="default", messages=asked, max_tokens=1)

    assert caught.value.status_code == 402


async def test_failed_and_refused_streams_leave_nothing_held(gateway: Gateway) -> None:
    """After any mix of ends."""
    client = payer(gateway, "1")
    plays = [Play(cuts=True), Play(breaks_after=3), Play(status=400, body={"error": {"message": "no"}}), Play()]
    script = iter(plays)
    gateway.provider.script = lambda _: next(script)
    for _ in plays:
        try:
            stream: Any = await client.chat.completions.create(model="default", messages=HELLO, stream=True)
            _ = [chunk async for chunk in stream]
        except openai.APIError:
            continue

    rows = await gateway.calls()
    assert len(rows) == 4
    assert gateway.services.books.ledger.holds() == []


async def test_consumer_of_a_disabled_key_reaches_nobody(gateway: Gateway) -> None:
    """The same admission as for tasks."""
    consumer = gateway.services.books.consumers.add(Consumer(name="gone"))
    key = gateway.services.books.consumers.create_key(consumer.name, is_admin=False, expires_at=None)
    gateway.services.books.consumers.revoke_key(key.key.id)

    with pytest.raises(openai.AuthenticationError):
        await gateway.as_caller(key.secret).chat.completions.create(model="default", messages=HELLO)
