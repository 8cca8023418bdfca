"""Answers and failures as callers see them; sums that are exact."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.api.rendering import answer_json, failure_json, many_json, total
from feedback_gateway.calls.models import Receipt
from feedback_gateway.errors import ProviderFailed
from feedback_gateway.tasks.models import Answer, Failure

COSTS = st.decimals(min_value=0, max_value=1_000, places=10, allow_nan=False)


def receipt(cost: str | None = "0.0001935") -> Receipt:
    """What one call used."""
    return Receipt(
        input_tokens=310, cached_input_tokens=10, output_tokens=58, cost_usd=None if cost is None else Decimal(cost)
    )


def answer(cost: str | None = "0.0001935") -> Answer:
    """One answer."""
    return Answer(
        call_id="01J",
        task="classify",
        prompt_version=1,
        taxonomy_version="f8d6c69e3d41",
        model="default",
        deployment="openai/gpt-5-mini",
        id="a",
        result={"category": "bug"},
        cached=False,
        latency_ms=412.7123,
        receipt=receipt(cost),
    )


def test_answer_has_the_shape_of_the_contract() -> None:
    """Field by field."""
    assert answer_json(answer()) == {
        "call_id": "01J",
        "task": "classify",
        "prompt_version": 1,
        "taxonomy_version": "f8d6c69e3d41",
        "model": "default",
        "deployment": "openai/gpt-5-mini",
        "id": "a",
        "result": {"category": "bug"},
        "cached": False,
        "latency_ms": 412.7,
        "usage": {"input_tokens": 310, "cached_input_tokens": 10, "output_tokens": 58, "cost_usd": "0.0001935"},
    }


def test_failure_is_its_id_and_a_problem() -> None:
    """The problem names the call that failed."""
    rendered = failure_json(Failure(id="b", error=ProviderFailed("no luck", retryable=False), call_id="01K"))

    assert (rendered["id"], rendered["error"]["status"], rendered["error"]["call_id"]) == ("b", 502, "01K")


def test_failed_items_that_were_billed_count() -> None:
    """A failure's attempts cost money too; an item that was never asked cost none."""
    failed = Failure(id=None, error=ProviderFailed("x", retryable=False), call_id="01K", receipt=receipt("0.1"))
    refused = Failure(id=None, error=ProviderFailed("x", retryable=False))

    assert many_json([answer(), failed, refused])["usage"] == {
        "input_tokens": 620,
        "cached_input_tokens": 20,
        "output_tokens": 116,
        "cost_usd": "0.1001935",
    }


def test_one_unknown_cost_makes_the_sum_unknown() -> None:
    """Unknown is never counted as zero."""
    assert many_json([answer(), answer(None)])["usage"]["cost_usd"] is None


@given(st.lists(COSTS))
def test_sum_is_exact(costs: list[Decimal]) -> None:
    """To the last digit, in any order."""
    receipts = [receipt(str(cost)) for cost in costs]

    assert total(receipts).cost_usd == total(reversed(receipts)).cost_usd == sum(costs)
