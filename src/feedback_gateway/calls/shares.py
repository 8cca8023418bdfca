"""Shares out what a pack costs over its calls, to the last token and the last digit. Pure arithmetic."""

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import starmap

from feedback_gateway.calls.models import Attempt, Call
from feedback_gateway.errors import InvalidModelOutput
from feedback_gateway.ledger.sharing import split, split_usd
from feedback_gateway.llm.models import Usage

KEPT = frozenset({"number", "place"})
"""What of a share is not as in the attempt that is shared."""


def share_out(pack: Call) -> None:
    """Give each of the pack's calls its shares of the attempts as they stand; what it got before is replaced."""
    if not pack.parts:
        return
    weights = [part.weight for part in pack.parts]
    shared = [shares_of(attempt, weights) for attempt in pack.attempts]
    for place, part in enumerate(pack.parts):
        for number, shares in enumerate(shared):
            share = replace(shares[place], place=place)
            if number < len(part.shares):
                update(part.shares[number], share)
            else:
                share.number = len(part.call.attempts) + 1
                part.shares.append(share)
                part.call.attempts.append(share)
        if part.flaw is not None and part.shares and part.shares[-1].error is None:
            part.shares[-1].error, part.shares[-1].detail = InvalidModelOutput.code, part.flaw


def shares_of(attempt: Attempt, weights: Sequence[int]) -> list[Attempt]:
    """The attempt once for each weight, with its share of tokens and money."""
    usages = [None] * len(weights) if attempt.usage is None else split_usage(attempt.usage, weights)
    costs, bounds = (
        [None] * len(weights) if amount is None else split_usd(amount, weights)
        for amount in (attempt.cost_usd, attempt.bound_usd)
    )
    return [
        replace(attempt, usage=usage, cost_usd=cost, bound_usd=bound)
        for usage, cost, bound in zip(usages, costs, bounds, strict=True)
    ]


def split_usage(usage: Usage, weights: Sequence[int]) -> list[Usage]:
    """Each kind of tokens by itself; what was thought stays a part of the output."""
    counts = (
        usage.uncached_input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.output_tokens - usage.reasoning_tokens,
        usage.reasoning_tokens,
    )

    def usage_of(uncached: int, read: int, written: int, said: int, thought: int) -> Usage:
        return Usage(
            uncached_input_tokens=uncached,
            cache_read_tokens=read,
            cache_write_tokens=written,
            output_tokens=said + thought,
            reasoning_tokens=thought,
            estimated=usage.estimated,
        )

    return list(starmap(usage_of, zip(*(split(count, weights) for count in counts), strict=True)))


def update(share: Attempt, newer: Attempt) -> None:
    """Let an attempt that is in a call's list say what is known by now."""
    for one in fields(Attempt):
        if one.name not in KEPT:
            setattr(share, one.name, getattr(newer, one.name))
