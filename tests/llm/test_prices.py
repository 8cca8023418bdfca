"""Money is exact, and an unknown price stays unknown."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.errors import ConfigurationError
from feedback_gateway.ledger.amounts import format_usd
from feedback_gateway.llm.models import Rates, Usage
from feedback_gateway.llm.prices import cost, merge, rates_from

counts = st.integers(min_value=0, max_value=10**9)
rate = st.decimals(min_value=0, max_value=1, places=15, allow_nan=False, allow_infinity=False)
maybe_rate = st.none() | rate
flat = st.builds(Rates, input=rate, output=rate, cache_read=maybe_rate, cache_write=maybe_rate, reasoning=maybe_rate)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Usage with reasoning within the output."""
    output = draw(counts)
    return Usage(
        uncached_input_tokens=draw(counts),
        cache_read_tokens=draw(counts),
        cache_write_tokens=draw(counts),
        output_tokens=output,
        reasoning_tokens=draw(st.integers(0, output)),
    )


def exact(usage: Usage, rates: Rates) -> Fraction:
    """The same cost in fractions."""
    prompt, completion = Fraction(rates.input), Fraction(rates.output)
    read = prompt if rates.cache_read is None else Fraction(rates.cache_read)
    written = prompt if rates.cache_write is None else Fraction(rates.cache_write)
    thought = completion if rates.reasoning is None else Fraction(rates.reasoning)
    spoken = usage.output_tokens - usage.reasoning_tokens
    inputs = usage.uncached_input_tokens * prompt + usage.cache_read_tokens * read + usage.cache_write_tokens * written
    return inputs + spoken * completion + usage.reasoning_tokens * thought


@given(usages(), flat)
def test_cost_is_what_fractions_say(usage: Usage, rates: Rates) -> None:
    """No digit is lost, and no float takes part."""
    total = cost(usage, rates)

    assert type(total) is Decimal
    assert Fraction(total) == exact(usage, rates)


@given(usages(), usages(), flat)
def test_cost_of_two_parts_is_the_sum_of_their_costs(first: Usage, second: Usage, rates: Rates) -> None:
    """Disjoint parts add up."""
    both = Usage(
        uncached_input_tokens=first.uncached_input_tokens + second.uncached_input_tokens,
        cache_read_tokens=first.cache_read_tokens + second.cache_read_tokens,
        cache_write_tokens=first.cache_write_tokens + second.cache_write_tokens,
        output_tokens=first.output_tokens + second.output_tokens,
        reasoning_tokens=first.reasoning_tokens + second.reasoning_tokens,
    )

    assert Fraction(cost(both, rates)) == Fraction(cost(first, rates)) + Fraction(cost(second, rates))


@given(flat, flat, usages(), st.integers(0, 10**9))
def test_all_input_tokens_choose_the_tier_of_the_whole_completion(
    below: Rates, above: Rates, usage: Usage, threshold: int
) -> None:
    """Cached tokens count towards the threshold, and the threshold itself is still below."""
    rates = Rates(input=below.input, output=below.output, tiers=((threshold, above),))

    total = cost(usage, rates)

    assert Fraction(total) == exact(usage, above if usage.input_tokens > threshold else rates)


@pytest.mark.parametrize("written", [7.5e-08, "7.5e-08", "0.000000075", Decimal("7.5E-8")])
def test_a_price_is_exact_however_it_is_written(written: object) -> None:
    """A float means its shortest form, not its binary one."""
    rates = rates_from({"input_cost_per_token": written, "output_cost_per_token": 0})

    assert rates is not None
    assert rates.input == Decimal("0.000000075")


@pytest.mark.parametrize("wrong", [-1e-6, "-1", float("nan"), "inf", "cheap", True, [1]])
def test_a_price_that_is_none_is_refused_by_name(wrong: object) -> None:
    """The operator learns which setting is wrong."""
    with pytest.raises(ConfigurationError, match="output_cost_per_token"):
        rates_from({"input_cost_per_token": 1, "output_cost_per_token": wrong})


@pytest.mark.parametrize("entry", [{}, {"input_cost_per_token": 1e-6}, {"output_cost_per_token": 1e-6}])
def test_half_a_price_is_unknown_and_not_zero(entry: dict[str, Any]) -> None:
    """A call without a known price must not look free."""
    assert rates_from(entry) is None


def test_an_explicit_zero_is_a_price() -> None:
    """A model that costs nothing is known to cost nothing."""
    rates = rates_from({"input_cost_per_token": 0, "output_cost_per_token": 0.0})

    assert rates is not None
    assert cost(Usage(uncached_input_tokens=5, output_tokens=5), rates) == 0


def test_tiers_are_read_in_both_spellings() -> None:
    """`_above_200k_tokens` and `tiered_pricing` say the same."""
    base = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    dearer = {"input_cost_per_token": 3e-6, "output_cost_per_token": 4e-6}
    spelled = rates_from(base | {f"{key}_above_200k_tokens": value for key, value in dearer.items()})
    listed = rates_from({"tiered_pricing": [dearer | {"range": [200000.0, 1e6]}, base | {"range": [0, 200000.0]}]})

    assert spelled == listed
    assert spelled is not None
    assert spelled.tiers == ((200_000, Rates(input=Decimal("0.000003"), output=Decimal("0.000004"))),)


def test_a_tier_keeps_the_base_price_of_what_it_does_not_name() -> None:
    """Only the input gets dearer here."""
    rates = rates_from(
        {"input_cost_per_token": 1, "output_cost_per_token": 2, "input_cost_per_token_above_128k_tokens": 3}
    )

    assert rates is not None
    assert cost(Usage(uncached_input_tokens=128_001, output_tokens=1), rates) == 3 * 128_001 + 2


def test_tier_that_includes_its_threshold_begins_there() -> None:
    """The dearer tier of xAI is charged at the threshold itself."""
    entry = {"input_cost_per_token": 1, "output_cost_per_token": 0, "input_cost_per_token_above_200k_tokens": 2}
    rates = rates_from({**entry, "litellm_provider": "xai"})

    assert rates is not None
    assert cost(Usage(uncached_input_tokens=199_999), rates) == 199_999
    assert cost(Usage(uncached_input_tokens=200_000), rates) == 400_000


def test_reasoning_has_its_own_price_where_it_is_listed() -> None:
    """Some models charge thinking dearer than speaking."""
    rates = rates_from({"input_cost_per_token": 0, "output_cost_per_token": 2, "output_cost_per_reasoning_token": "5"})

    assert rates is not None
    assert cost(Usage(output_tokens=10, reasoning_tokens=4), rates) == 6 * 2 + 4 * 5


def test_an_override_replaces_the_price_and_its_tiers_and_leaves_the_others() -> None:
    """The operator's price holds at every size; what is not overridden comes from the table."""
    table = {
        "input_cost_per_token": 1,
        "input_cost_per_token_above_200k_tokens": 9,
        "output_cost_per_token": 2,
        "cache_read_input_token_cost": "0.5",
        "max_tokens": 4096,
    }

    rates = rates_from(merge(table, {"input_cost_per_token": "0.25", "output_cost_per_token": None, "rpm": 5}))

    assert rates == Rates(input=Decimal("0.25"), output=Decimal(2), cache_read=Decimal("0.5"))


def test_an_override_of_output_also_holds_for_reasoning() -> None:
    """The table's price of reasoning went with the table's price of output."""
    table = {"input_cost_per_token": 1, "output_cost_per_token": 2, "output_cost_per_reasoning_token": 3}

    assert rates_from(merge(table, {"output_cost_per_token": 7})) == Rates(input=Decimal(1), output=Decimal(7))


@given(st.decimals(min_value=0, max_value=10**6, places=18, allow_nan=False, allow_infinity=False))
def test_money_is_written_plainly_and_reads_back_exactly(value: Decimal) -> None:
    """No exponent, no trailing zeros, no digit lost."""
    text = format_usd(value)

    assert Decimal(text) == value
    assert "E" not in text
    assert "." not in text or not text.endswith(("0", "."))


@pytest.mark.parametrize(
    ("value", "text"),
    [("0E-8", "0"), ("0.0001935", "0.0001935"), ("1.50", "1.5"), ("1E+2", "100"), ("1E-12", "0.000000000001")],
)
def test_money_looks_as_people_write_it(value: str, text: str) -> None:
    """The contract's form of `cost_usd`."""
    assert format_usd(Decimal(value)) == text
