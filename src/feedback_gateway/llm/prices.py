"""Money: what a completion cost, exact in Decimal, and how a row of prices becomes rates. No I/O and no floats."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any

from feedback_gateway.errors import ConfigurationError
from feedback_gateway.llm.models import Rates, Usage

EXACT = Context(prec=200, traps=[Inexact, InvalidOperation])
"""Wide enough for any price times any count; rounding would raise rather than lose a digit."""

ZERO = Decimal(0)

FIELDS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "reasoning": "output_cost_per_reasoning_token",
}
ABOVE = re.compile(rf"(?:{'|'.join(FIELDS.values())})_above_(\d+)(k?)_tokens")
INCLUSIVE = frozenset({"xai"})
"""Providers whose dearer tier begins at its threshold, not above it."""

CACHE_READ_SHARE = {"fireworks_ai": Decimal("0.5")}
"""Providers that charge cached input at a share of other input where no price of its own is listed."""


@dataclass(frozen=True, slots=True)
class Level:
    """The prices of one row above `threshold` input tokens, as they are written."""

    threshold: int
    prices: Mapping[str, Decimal]


def cost(usage: Usage, rates: Rates) -> Decimal:
    """USD for `usage`, exact; the tier is chosen by all input tokens, and the whole completion is charged at it."""
    for threshold, dearer in rates.tiers:
        if usage.input_tokens > threshold:
            rates = dearer
    cache_read = rates.input if rates.cache_read is None else rates.cache_read
    cache_write = rates.input if rates.cache_write is None else rates.cache_write
    reasoning = rates.output if rates.reasoning is None else rates.reasoning
    total = EXACT.multiply(usage.uncached_input_tokens, rates.input)
    total = EXACT.fma(usage.cache_read_tokens, cache_read, total)
    total = EXACT.fma(usage.cache_write_tokens, cache_write, total)
    total = EXACT.fma(usage.output_tokens - usage.reasoning_tokens, rates.output, total)
    return EXACT.fma(usage.reasoning_tokens, reasoning, total)


def most_cost(rates: Rates, *, input_tokens: int, output_tokens: int) -> Decimal:
    """The most that so many tokens can cost in USD, whichever of them are cached, written to a cache or thought."""
    dearest = ZERO
    for level in (rates, *(dearer for threshold, dearer in rates.tiers if input_tokens > threshold)):
        inputs = max(level.input, level.cache_read or ZERO, level.cache_write or ZERO)
        outputs = max(level.output, level.reasoning or ZERO)
        dearest = max(dearest, EXACT.fma(input_tokens, inputs, EXACT.multiply(output_tokens, outputs)))
    return dearest


def rates_from(entry: Mapping[str, Any]) -> Rates | None:
    """The rates of a row of LiteLLM's price table, or of `litellm_params` or `model_info` with prices in them.

    None where the price of input or of output is unknown; an explicit 0 is a price. Raises ConfigurationError for
    a price that is no finite number of USD, or below zero.
    """
    base = prices_of(entry, suffix="")
    levels = [*threshold_levels(entry), *listed_levels(entry)]
    if levels and levels[0].threshold == 0:
        base = {**base, **levels.pop(0).prices}
    if "input" not in base or "output" not in base:
        return None
    share = CACHE_READ_SHARE.get(str(entry.get("litellm_provider")))
    if share is not None:
        base.setdefault("cache_read", EXACT.multiply(base["input"], share))
    tiers = tuple((level.threshold, Rates(**{**base, **level.prices})) for level in levels)
    return Rates(**base, tiers=tiers)


def merge(*entries: Mapping[str, Any] | None) -> dict[str, Any]:
    """One row of prices from several, later ones over earlier.

    A price that is given replaces its tiers too, and that of output also replaces that of reasoning.
    """
    merged: dict[str, Any] = {}
    for entry in entries:
        given: dict[str, Any] = {k: v for k, v in (entry or {}).items() if v is not None and is_price(k)}
        replaced = [f"{key}_above_" for key in given]
        replaced += ["tiered_pricing"] if given else []
        replaced += [FIELDS["reasoning"]] if FIELDS["output"] in given else []
        merged = {key: value for key, value in merged.items() if not key.startswith(tuple(replaced))} | given
    return merged


def is_price(key: str) -> bool:
    """Whether a key of a row says what tokens cost."""
    named = key in FIELDS.values() or key in ("tiered_pricing", "litellm_provider")
    return named or ABOVE.fullmatch(key) is not None


def prices_of(entry: Mapping[str, Any], *, suffix: str) -> dict[str, Any]:
    """The prices that `entry` gives under LiteLLM's names plus `suffix`, by our names."""
    return {
        name: price(entry[key + suffix], key=key + suffix)
        for name, key in FIELDS.items()
        if entry.get(key + suffix) is not None
    }


def threshold_levels(entry: Mapping[str, Any]) -> list[Level]:
    """Tiers written as `input_cost_per_token_above_200k_tokens`, cheapest first."""
    inclusive = int(entry.get("litellm_provider") in INCLUSIVE)
    found = {(match[1], match[2]) for key in entry if (match := ABOVE.fullmatch(key))}
    levels = [
        Level(
            int(number) * (1000 if thousand else 1) - inclusive,
            prices_of(entry, suffix=f"_above_{number}{thousand}_tokens"),
        )
        for number, thousand in found
    ]
    return sorted(levels, key=lambda level: level.threshold)


def listed_levels(entry: Mapping[str, Any]) -> list[Level]:
    """Tiers written as `tiered_pricing: [{range: [0, 32000], input_cost_per_token: …}, …]`, cheapest first."""
    rows = entry.get("tiered_pricing") or []
    try:
        levels = [Level(int(row["range"][0]), prices_of(row, suffix="")) for row in rows]
    except (TypeError, ValueError, LookupError, AttributeError):
        shape = "[{range: [0, 32000], input_cost_per_token: 0.000001}, …]"
        raise ConfigurationError(f"tiered_pricing: must be a list such as {shape}") from None
    return sorted(levels, key=lambda level: level.threshold)


def price(value: object, *, key: str) -> Decimal:
    """USD a token as it was written: the shortest form of a float, so that 7.5e-08 stays 7.5e-08."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ConfigurationError(f"{key}: a price must be a number of USD a token, not {value!r}")
    try:
        exact = Decimal(str(value).strip())
    except InvalidOperation:
        raise ConfigurationError(f"{key}: a price must be a number of USD a token, not {value!r}") from None
    if not exact.is_finite() or exact < 0:
        raise ConfigurationError(f"{key}: a price must be 0 or more USD a token, not {value!r}")
    return exact
