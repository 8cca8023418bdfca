"""A model's price is found in litellm's bundled table, and another provider's price never stands in for it."""

import math
import subprocess
import sys
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from feedback_gateway.errors import ConfigurationError
from feedback_gateway.llm import price_table
from feedback_gateway.llm.litellm_client import load_litellm
from feedback_gateway.llm.models import Usage
from feedback_gateway.llm.price_table import PriceTable, deployment_rates, find_rates, find_row, load_price_table
from feedback_gateway.llm.prices import cost

pytestmark = pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier:UserWarning")

TIME_OF_DAY = "off_peak_pricing"


@cache
def table() -> PriceTable:
    """The bundled table, read once."""
    return load_price_table()


def test_table_is_read_without_importing_litellm() -> None:
    """The import takes seconds that `--help` and the embedded default do not have."""
    code = (
        "import sys; from feedback_gateway.llm.price_table import load_price_table;"
        "sys.exit(len(load_price_table()) < 1000 or 'litellm' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("model", "row"),
    [
        ("openai/gpt-5-mini", "gpt-5-mini"),
        ("gpt-5-mini-2025-08-07", "gpt-5-mini-2025-08-07"),
        ("openai/gpt-5-mini-2031-01-01", "gpt-5-mini"),
        ("openai/responses/gpt-5", "gpt-5"),
        ("anthropic/claude-haiku-4-5", "claude-haiku-4-5"),
        ("azure/gpt-5-mini", "azure/gpt-5-mini"),
        ("gemini/gemini-2.5-flash", "gemini/gemini-2.5-flash"),
        ("vertex_ai/gemini-2.5-flash", "gemini-2.5-flash"),
        ("bedrock/converse/us.anthropic.claude-opus-4-8", "us.anthropic.claude-opus-4-8"),
        ("cohere_chat/command-r7b-12-2024", "command-r7b-12-2024"),
        ("mistral/mistral-large-latest", "mistral/mistral-large-latest"),
    ],
)
def test_model_is_found_under_the_name_that_its_provider_has_in_the_table(model: str, row: str) -> None:
    """Some providers' models are listed bare, others with the provider."""
    assert find_row(model, table()) is table()[row]


@pytest.mark.parametrize("model", ["openrouter/gpt-5-mini", "groq/claude-haiku-4-5", "embedded/student", "nobody/x"])
def test_the_price_of_another_provider_is_not_taken(model: str) -> None:
    """The same model costs something else elsewhere: unknown is the honest answer."""
    assert find_rates(model, table()) is None


def test_own_prices_stand_over_the_table_and_params_over_model_info() -> None:
    """The nearest word of the operator counts."""
    rates = deployment_rates(
        "openai/gpt-5-mini",
        table(),
        params={"output_cost_per_token": "3"},
        info={"input_cost_per_token": 2, "output_cost_per_token": 1},
    )

    assert rates is not None
    assert (rates.input, rates.output) == (Decimal(2), Decimal(3))


def test_base_model_names_the_row_of_a_deployment_with_a_name_of_its_own() -> None:
    """Azure's deployments are called what their owner likes."""
    rates = deployment_rates("azure/ours", table(), params={}, info={"base_model": "azure/gpt-5-mini"})

    assert rates == find_rates("azure/gpt-5-mini", table())


def test_missing_table_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The detail says what to do."""
    monkeypatch.setattr(price_table, "FILE", "no-such-table.json")

    with pytest.raises(ConfigurationError, match="price table"):
        load_price_table()


def test_costs_agree_with_litellm_for_every_chat_model_of_the_table() -> None:
    """Same rows, same rule; litellm computes in floats, hence the tolerance."""
    litellm: Any = load_litellm()
    parts = Usage(uncached_input_tokens=600, cache_read_tokens=300, cache_write_tokens=100, output_tokens=50)
    long = Usage(uncached_input_tokens=500_000, cache_read_tokens=300_000, output_tokens=50)
    differing = []
    compared = 0
    for name, row in table().items():
        rates = find_rates(name, table()) if is_comparable(name, row) else None
        if rates is None:
            continue
        for usage in (parts, long):
            ours, theirs = cost(usage, rates), litellm_cost(litellm, name, row["litellm_provider"], usage)
            compared += 1
            if not math.isclose(float(ours), theirs, rel_tol=1e-12, abs_tol=1e-18):
                differing.append((name, ours, theirs))

    assert compared > 3000
    assert differing == []


def is_comparable(name: str, row: Any) -> bool:
    """Whether litellm prices this row by tokens alone, at any time of day, under the name that it has."""
    is_shadowed = f"{row['litellm_provider']}/{name}" in table() or "-exp-" in name
    return row.get("mode") == "chat" and TIME_OF_DAY not in row and not is_shadowed


def litellm_cost(litellm: Any, name: str, provider: str, usage: Usage) -> float:
    """What litellm says that `usage` costs."""
    reported = litellm.Usage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        cache_read_input_tokens=usage.cache_read_tokens,
        cache_creation_input_tokens=usage.cache_write_tokens,
    )
    prompt, completion = litellm.cost_per_token(model=name, custom_llm_provider=provider, usage_object=reported)
    return float(prompt + completion)
