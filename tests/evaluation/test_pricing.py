"""What calls that are yet to be made will cost, told beforehand."""

from decimal import Decimal

import pytest

from feedback_gateway.evaluation.pricing import Estimate, Pricing
from feedback_gateway.llm.models import CompletionRequest, Deployment, Message, Rates

CENT = Decimal("0.01")
PLACE = Deployment(alias="m", name="p", model="p", rates=Rates(input=CENT, output=CENT))
REQUEST = CompletionRequest(
    model="m", messages=(Message(role="user", content="a" * 300),), output_schema={}, max_tokens=50, task="t"
)


@pytest.mark.parametrize(("earlier", "counted"), [(0, 100), (12, 100), (130, 130)])
def test_an_earlier_share_of_a_pack_makes_no_call_look_cheap(earlier: int, counted: int) -> None:
    """A question counts by its length, unless one like it took more."""
    estimate = Estimate()

    Pricing(own=[PLACE], reachable=[PLACE], attempts=1).add(estimate, REQUEST, input_tokens=earlier, output_tokens=20)

    assert estimate.expected_usd == (counted + 20) * CENT
    assert estimate.expected_usd <= estimate.most_usd
