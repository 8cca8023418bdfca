"""`POST /v1/embeddings` and `GET /v1/models` as OpenAI's own client sees them, over both roads."""

from decimal import Decimal
from typing import Any

import openai
import pytest

from feedback_gateway.consumers.models import Scopes
from feedback_gateway.llm.scripted_server import DIMENSIONS
from tests.passthrough.conftest import MARKS, Gateway, new_key

pytestmark = MARKS


@pytest.mark.parametrize("given", ["Hello!", ["Hello!", "Bye!"], [[1, 2, 3]]])
async def test_texts_and_tokens_are_embedded(gateway: Gateway, given: Any) -> None:
    """OpenAI's client asks for base64 and gets numbers out of it; floats are floats."""
    packed = await gateway.client.embeddings.create(model="default", input=given)
    plain = await gateway.client.embeddings.create(model="default", input=given, encoding_format="float")

    assert len(packed.data) == (2 if len(given) == 2 else 1)
    assert len(packed.data[0].embedding) == DIMENSIONS
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, rel=1e-6)
    assert packed.model == "default"
    rows = await gateway.calls()
    tokens = packed.usage.prompt_tokens
    assert [(row.task, row.input_tokens, row.cost_usd) for row in rows] == [
        ("embeddings", tokens, tokens * Decimal("0.000001"))
    ] * 2


async def test_models_are_the_aliases_that_a_key_may_ask(gateway: Gateway) -> None:
    """A list in OpenAI's shape, and each by its name."""
    other = new_key(gateway.services, "other", scopes=Scopes(models=frozenset({"nothing"})))

    assert [model.id async for model in gateway.client.models.list()] == ["default"]
    assert (await gateway.client.models.retrieve("default")).object == "model"
    assert [model.id async for model in gateway.as_caller(other).models.list()] == []
    with pytest.raises(openai.NotFoundError):
        await gateway.as_caller(other).models.retrieve("default")
