"""Ten thousand calls under one budget: none that fits is refused, and the books agree with the provider's bill."""

import asyncio
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import Engine

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import GatewayError, ProviderUnavailable
from feedback_gateway.ledger.models import Budget
from feedback_gateway.ledger.periods import PERIODS
from feedback_gateway.llm.models import Completion, CompletionRequest, Usage
from tests.ledger.till import GOOD, ONE, RATES, Teller, Till, bound, open_till, request, team

pytestmark = pytest.mark.anyio

CALLS, CONCURRENCY = 10_000, 32
EVERY_FAILURE, EVERY_CANCEL, EVERY_LOOK = 50, 97, 500


def question(number: int) -> CompletionRequest:
    """One of many lengths; its number says which."""
    return request(f"{number} {'x' * (number % 700)}", max_tokens=50 + number % 150)


def number_of(asked: CompletionRequest) -> int:
    """Which question it was."""
    return int(asked.messages[-1].content.split()[0])


def usage_of(asked: CompletionRequest) -> Usage:
    """What the provider bills: some share of the bound, up to all of it."""
    number = number_of(asked)
    most = bound(ONE, of=replace(asked, max_tokens=0)) / RATES.input
    return Usage(
        uncached_input_tokens=int(most * (number % 101) / 100), output_tokens=asked.max_tokens * (number % 3) // 2
    )


def cost_of(usage: Usage) -> Decimal:
    """By hand."""
    return usage.uncached_input_tokens * RATES.input + usage.output_tokens * RATES.output


class Bill:
    """The provider's own books."""

    def __init__(self) -> None:
        self.costs: dict[str, list[Decimal]] = defaultdict(list)
        self._failed: set[int] = set()
        self.asked: dict[int, asyncio.Event] = defaultdict(asyncio.Event)

    async def __call__(self, asked: CompletionRequest, call: Call) -> Completion:
        """Fail outright now and then, else bill and answer."""
        number = number_of(asked)
        if number % EVERY_FAILURE == 0 and number not in self._failed:
            self._failed.add(number)
            raise ProviderUnavailable("down")
        self.asked[number].set()
        await asyncio.sleep(0)
        usage = usage_of(asked)
        self.costs[call.call_id].append(cost_of(usage))
        return replace(GOOD, usage=usage)


async def test_ten_thousand_calls_spend_a_budget_to_the_last_cent_and_none_that_fits_is_refused(engine: Engine) -> None:
    """Room for one bound beside the real costs, 32 at once: the others wait, whoever fails, leaves or is retried."""
    questions = [question(number) for number in range(CALLS)]
    total = sum((cost_of(usage_of(asked)) for asked in questions), Decimal(0))
    consumer = team(total + max(bound(ONE, of=asked) for asked in questions))
    (budget,) = consumer.budgets
    bill = Bill()
    refused: list[GatewayError] = []
    over: list[Decimal] = []

    async def look(till: Till) -> None:
        standing = await asyncio.to_thread(till.standing, consumer)
        over.append(standing.spent_usd + standing.reserved_usd)

    async with open_till(engine, [(ONE, Teller(bill))]) as till:
        waiting = iter(questions)

        async def caller() -> None:
            for asked in waiting:
                number = number_of(asked)
                making = asyncio.create_task(till.ask(consumer, wanted=asked))
                if number % EVERY_CANCEL == 1:
                    begun = asyncio.create_task(bill.asked[number].wait())
                    await asyncio.wait({begun, making}, return_when=asyncio.FIRST_COMPLETED)
                    begun.cancel()
                    making.cancel()
                try:
                    await making
                except GatewayError as error:
                    refused.append(error)
                except asyncio.CancelledError:
                    pass
                if number % EVERY_LOOK == 0:
                    await look(till)

        await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
        await till.settle()
        lines = till.lines(consumer)
        everything = [Budget(limit_usd=budget.limit_usd, period=period) for period in PERIODS]
        sums = {one.spent_usd for one in till.money.standings(consumer.name, everything, now=till.clock.now())}
        left = till.money.holds()

    assert [error.detail for error in refused] == []
    assert left == []
    assert {line.call_id: line.amount_usd for line in lines if line.amount_usd} == {
        call_id: cost for call_id, (cost,) in bill.costs.items() if cost
    }
    assert sum((line.amount_usd or 0 for line in lines), Decimal(0)) == total
    assert sums == {total}
    assert len(over) == CALLS // EVERY_LOOK
    assert max(over) <= budget.limit_usd
