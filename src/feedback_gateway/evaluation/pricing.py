"""What calls that are yet to be made will cost: what is likely, and what they cost at most. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from feedback_gateway.llm.models import CompletionRequest, Deployment, Usage
from feedback_gateway.llm.prices import cost, most_cost
from feedback_gateway.llm.tokens import most_input_tokens, token_estimate


@dataclass(slots=True, kw_only=True)
class Estimate:
    """Calls and their cost in USD: `expected_usd` and `most_usd` leave out the `unpriced` ones."""

    calls: int = 0
    expected_usd: Decimal = Decimal(0)
    most_usd: Decimal = Decimal(0)
    unpriced: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """The deployments that answer for an alias (`own`) and all that may (`reachable`), for `attempts` at most."""

    own: Sequence[Deployment]
    reachable: Sequence[Deployment]
    attempts: int

    def add(self, estimate: Estimate, request: CompletionRequest, *, input_tokens: int, output_tokens: int) -> None:
        """Count one call, with the tokens that an earlier one like it took.

        Where the request's length tells of more input tokens, it counts: the earlier one may have shared a pack's.
        """
        estimate.calls += 1
        rates = [deployment.rates for deployment in self.reachable]
        if any(rate is None for rate in rates):
            estimate.unpriced += 1
            return
        most = most_input_tokens(request)
        dearest = [most_cost(rate, input_tokens=most, output_tokens=request.max_tokens) for rate in rates if rate]
        estimate.most_usd += self.attempts * max(dearest, default=Decimal(0))
        usage = Usage(
            uncached_input_tokens=max(input_tokens, token_estimate(request) - request.max_tokens),
            output_tokens=min(output_tokens, request.max_tokens),
        )
        weights = [(cost(usage, one.rates), Decimal(str(one.weight))) for one in self.own if one.rates is not None]
        whole = sum(weight for _, weight in weights) or Decimal(1)
        estimate.expected_usd += sum((usd * weight for usd, weight in weights), Decimal(0)) / whole
