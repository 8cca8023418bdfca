"""A second deployment is asked where the first takes longer than most answers did; both are billed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import BudgetExceeded, GatewayError, ProviderFailed
from feedback_gateway.ledger.models import Grant, Hold, Refusal
from feedback_gateway.llm.choosing import Routing
from feedback_gateway.llm.health import Outcome
from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.scripted import OpenPurse
from tests.llm.bench import BAD_LABEL, GOOD, RATES, Bench, outage
from tests.llm.calls import until

pytestmark = pytest.mark.anyio

COST = 100 * RATES.input + 20 * RATES.output


class Held:
    """A bench with a first deployment that is slow until it is released; the second takes no share of its own."""

    def __init__(self, *, samples: int = 20, attempts: int = 3, first: Completion | GatewayError = GOOD) -> None:
        self.bench = Bench(
            {"default/a": [first], "default/b": [GOOD]},
            weights={"default/a": 1, "default/b": 0},
            routing=Routing(hedge=True),
            attempts=attempts,
        )
        self.released = asyncio.Event()
        self.first = first
        self.bench.clients["default/a"].complete = self._hang  # type: ignore[method-assign]
        for count in range(samples):
            measured = Outcome(kind="success", latency_ms=1_000.0 + count, output_tokens=20)
            self.bench.health["default/a"].settle(0, measured, now=0)

    async def _hang(self, request: CompletionRequest, call: Call) -> Completion:
        self.bench.clients["default/a"].requests.append(request)
        await self.released.wait()
        if isinstance(self.first, GatewayError):
            raise self.first
        return self.first

    @asynccontextmanager
    async def ended(self, call: Call) -> AsyncIterator[None]:
        """Let the slow one end when all was looked at."""
        yield
        self.released.set()
        await asyncio.gather(*call.pending, return_exceptions=True)


async def test_slow_answer_is_overtaken_by_a_second_deployment() -> None:
    """After the time that 95 % of the latest answers took, and not before."""
    held = Held()
    call = held.bench.call()

    async with held.ended(call):
        completion = await held.bench.complete(call)

        assert completion.deployment == call.deployment == "default/b"
        assert held.bench.clock.slept == [1.019]
        assert [attempt.status for attempt in call.attempts] == ["abandoned", "ok"]


async def test_both_are_billed_when_the_slow_one_has_come_too() -> None:
    """Its answer is not waited for, but what it costs is known."""
    held = Held()
    call = held.bench.call()

    async with held.ended(call):
        await held.bench.complete(call)
        assert len(call.pending) == 1

    assert [attempt.cost_usd for attempt in call.attempts] == [COST, COST]
    assert held.bench.health["default/a"].in_flight == 0


async def test_quick_answer_has_no_company() -> None:
    """One request, one bill."""
    held = Held()
    held.released.set()

    call = held.bench.call()
    await held.bench.complete(call)

    assert [attempt.deployment for attempt in call.attempts] == ["default/a"]


@pytest.mark.parametrize(("samples", "attempts"), [(19, 3), (20, 1)])
async def test_without_measures_or_attempts_there_is_no_company(samples: int, attempts: int) -> None:
    """Nobody knows what is slow after nineteen answers; attempts are one budget."""
    held = Held(samples=samples, attempts=attempts)
    call = held.bench.call()

    running = asyncio.create_task(held.bench.complete(call))
    for _ in range(50):
        await asyncio.sleep(0)
    held.released.set()
    completion = await running

    assert completion.deployment == "default/a"
    assert len(call.attempts) == 1


async def test_company_that_fails_leaves_the_first_to_answer() -> None:
    """A good answer is waited for as long as anybody may give one."""
    held = Held()
    held.bench.clients["default/b"].play([outage()])
    call = held.bench.call()

    running = asyncio.create_task(held.bench.complete(call))
    await until(lambda: len(call.attempts) == 2 and call.attempts[1].status == "failed")
    held.released.set()

    assert (await running).deployment == "default/a"


async def test_both_failing_is_a_failure_of_both() -> None:
    """Neither is asked again in the same round."""
    held = Held(attempts=2, first=outage())
    held.bench.clients["default/b"].play([outage()])
    call = held.bench.call()

    running = asyncio.create_task(held.bench.complete(call))
    await until(lambda: len(call.attempts) == 2)
    held.released.set()

    with pytest.raises(ProviderFailed, match=r"default/a: .*; default/b: "):
        await running
    assert len(call.attempts) == 2


async def test_invalid_answer_of_the_company_is_repaired_by_it() -> None:
    """The flaw is noted at the attempt that answered, which is not the slow one."""
    held = Held()
    held.bench.clients["default/b"].play([BAD_LABEL, GOOD])
    call = held.bench.call()

    async with held.ended(call):
        completion = await held.bench.complete(call)

        assert completion.deployment == "default/b"
        assert [(one.deployment, one.purpose, one.error) for one in call.attempts] == [
            ("default/a", "answer", None),
            ("default/b", "answer", "invalid-model-output"),
            ("default/b", "repair", None),
        ]


async def test_company_that_no_budget_covers_does_not_come() -> None:
    """It is covered before it begins, beside what the first may cost; the first goes on without it."""
    held = Held()
    purse = Tight()
    held.bench.purse.hold = purse.hold  # type: ignore[method-assign]
    call = held.bench.call()

    running = asyncio.create_task(held.bench.complete(call))
    await until(lambda: purse.refused > 0)
    held.released.set()

    assert (await running).deployment == "default/a"
    assert len(call.attempts) == 1


class Tight(OpenPurse):
    """Has money for one attempt."""

    def __init__(self) -> None:
        self.first: Hold | None = None
        self.refused = 0

    def hold(self, hold: Hold) -> "asyncio.Future[Grant | Refusal]":
        """Grant what the first hold asked for."""
        outcome = super().hold(hold)
        self.first = self.first or hold
        if hold.amount_usd is not None and hold.amount_usd > (self.first.amount_usd or 0):
            self.refused += 1
            outcome = asyncio.get_running_loop().create_future()
            outcome.set_exception(BudgetExceeded("no room"))
        return outcome


async def test_caller_who_leaves_takes_both_along() -> None:
    """And what both cost is still booked."""
    held = Held()
    waiting = asyncio.Event()

    async def hang(request: CompletionRequest, call: Call) -> Completion:
        await waiting.wait()
        return replace(GOOD)

    held.bench.clients["default/b"].complete = hang  # type: ignore[method-assign]
    call = held.bench.call()
    running = asyncio.create_task(held.bench.complete(call))
    await until(lambda: len(call.attempts) == 2)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert [attempt.status for attempt in call.attempts] == ["abandoned", "abandoned"]
    waiting.set()
    async with held.ended(call):
        pass
    assert [attempt.cost_usd for attempt in call.attempts] == [COST, COST]
