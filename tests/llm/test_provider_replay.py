"""What real providers answered is read as they meant it: text, reason to stop, tokens, cost and errors."""

from collections import Counter

import pytest

from feedback_gateway.llm.price_table import load_price_table
from tests.llm.replay import Exchange, exchanges, prepare, replay

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier:UserWarning")]

EXCHANGES = exchanges()
TABLE = load_price_table()
COMPLETIONS = [each for each in EXCHANGES if each.excluded is None]
PROVIDERS = (
    "anthropic azure bedrock cerebras cohere deepseek gemini groq huggingface mistral ollama openai openrouter vertex"
)


@pytest.mark.parametrize("exchange", COMPLETIONS, ids=lambda each: f"{each.provider}-{each.id}")
async def test_recorded_exchange_is_read_as_the_provider_meant_it(exchange: Exchange) -> None:
    """Content, finish reason, every part of the tokens and the cost agree with the recording."""
    prepare()

    outcome = await replay(exchange, TABLE)

    assert (outcome.answer, outcome.tokens) == (True, True), outcome.notes
    assert outcome.cost in (True, None)


def test_every_recording_is_replayed_or_named_with_its_reason() -> None:
    """Nothing is left out silently."""
    excluded = {each.id: each.excluded for each in EXCHANGES if each.excluded}

    assert len(EXCHANGES) == 258
    assert len(COMPLETIONS) == 251
    assert Counter(excluded.values()) == {
        "counts tokens, asks no model": 3,
        "compacts a conversation, answers nothing": 2,
        "embeds texts": 2,
    }
    assert {each.provider for each in COMPLETIONS} == set(PROVIDERS.split())


@pytest.mark.parametrize("change", [{"prompt_tokens": 1}, {"completion_tokens": 1}])
async def test_a_difference_would_be_noticed(change: dict[str, int]) -> None:
    """The comparison is no formality: what the wire said otherwise, it says so."""
    prepare()
    exchange = next(each for each in COMPLETIONS if each.provider == "mistral")
    usage = {**exchange.body["usage"], **change}

    outcome = await replay(exchange, TABLE, answered={**exchange.body, "usage": usage})

    assert (outcome.answer, outcome.tokens, outcome.cost) == (True, False, False)
