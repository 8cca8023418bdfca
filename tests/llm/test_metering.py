"""What a provider bills is noted, whether or not anyone waited for its answer."""

import asyncio
from decimal import Decimal

import pytest

from feedback_gateway.calls.models import Call
from feedback_gateway.clock import SystemClock
from feedback_gateway.errors import DeadlineExceeded, ProviderRejected, ProviderTimeout, ProviderUnavailable
from feedback_gateway.llm.deadline import DeadlineClient
from feedback_gateway.llm.health import Rules
from feedback_gateway.llm.health_watch import HealthWatch
from feedback_gateway.llm.metering import MeteringClient
from feedback_gateway.llm.models import Completion, CompletionRequest, Deployment, Rates
from feedback_gateway.llm.scripted import ScriptedClient, Step, answer
from tests.llm.calls import new_call

pytestmark = pytest.mark.anyio

REQUEST = CompletionRequest(model="default", messages=(), output_schema={}, max_tokens=10, task="rate")
RATES = Rates(input=Decimal("0.00001"), output=Decimal("0.00002"))
COST = 100 * RATES.input + 20 * RATES.output
CLOCK = SystemClock()


class Slow(ScriptedClient):
    """Answers once it is released."""

    def __init__(self, step: Step) -> None:
        super().__init__([step])
        self.asked = asyncio.Event()
        self.released = asyncio.Event()

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        self.asked.set()
        await self.released.wait()
        return await super().complete(request, call)


def metered(
    provider: ScriptedClient, *, timeout_s: float = 60.0, rates: Rates | None = RATES
) -> MeteringClient[CompletionRequest, Completion]:
    """The wrapper around `provider`."""
    deployment = Deployment(alias="default", name="p/m", model="p/m", timeout_s=timeout_s, rates=rates)
    health = HealthWatch([deployment], rules=Rules(), clock=CLOCK)
    return MeteringClient(provider, deployment, health=health, clock=CLOCK)


async def test_answer_is_booked_with_usage_cost_and_deployment() -> None:
    """The plain case."""
    call = new_call()

    completion = await metered(ScriptedClient([answer("{}")])).complete(REQUEST, call)

    assert completion.deployment == "p/m"
    assert (call.attempts[0].status, call.attempts[0].cost_usd, call.pending) == ("ok", COST, set())


async def test_unknown_price_leaves_the_cost_unknown() -> None:
    """Tokens are counted, but no price is no zero."""
    call = new_call()

    await metered(ScriptedClient([answer("{}")]), rates=None).complete(REQUEST, call)

    assert call.attempts[0].usage is not None
    assert call.receipt().cost_usd is None


async def test_answer_after_the_deadline_is_still_booked() -> None:
    """The caller is told in time; the provider's bill is known when it comes."""
    provider, call = Slow(answer("{}")), new_call(deadline_s=0.02)

    with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.02 s; asked: p/m"):
        await DeadlineClient(metered(provider), clock=CLOCK).complete(REQUEST, call)

    assert len(call.pending) == 1
    provider.released.set()
    await asyncio.gather(*call.pending)
    assert (call.attempts[0].status, call.attempts[0].cost_usd) == ("abandoned", COST)


async def test_caller_who_leaves_is_let_go_and_the_bill_is_still_booked() -> None:
    """Cancellation reaches the caller at once, not the request that costs money anyway."""
    provider, call = Slow(answer("{}")), new_call()
    asking = asyncio.create_task(metered(provider).complete(REQUEST, call))
    await provider.asked.wait()

    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    provider.released.set()
    await asyncio.gather(*call.pending)
    assert (call.attempts[0].status, call.attempts[0].cost_usd) == ("abandoned", COST)


async def test_request_that_costs_nothing_ends_with_its_caller() -> None:
    """Nobody waits behind an answer that nobody reads; what it cost is known."""
    provider, call = Slow(answer("{}")), new_call()
    free = Rates(input=Decimal(0), output=Decimal(0))
    asking = asyncio.create_task(metered(provider, rates=free).complete(REQUEST, call))
    await provider.asked.wait()

    asking.cancel()
    await asyncio.gather(asking, *call.pending, return_exceptions=True)

    assert not provider.released.is_set()
    assert (call.attempts[0].status, call.receipt().cost_usd) == ("abandoned", Decimal(0))


async def test_failure_after_the_caller_left_is_noted_and_raises_nowhere() -> None:
    """A late failure is a fact in the attempt, not an unhandled exception."""
    provider, call = Slow(ProviderUnavailable("gone", status=503)), new_call()
    asking = asyncio.create_task(metered(provider).complete(REQUEST, call))
    await provider.asked.wait()
    asking.cancel()

    provider.released.set()
    await asyncio.gather(asking, *call.pending, return_exceptions=True)

    assert (call.attempts[0].status, call.attempts[0].error) == ("abandoned", "provider-unavailable")


async def test_deployment_that_hangs_is_given_up_after_its_own_time_limit() -> None:
    """One attempt ends at `timeout_s`, however long the call may still last."""
    call = new_call()

    with pytest.raises(ProviderTimeout, match=r"no answer within 0\.01 s"):
        await metered(Slow(answer("{}")), timeout_s=0.01).complete(REQUEST, call)

    assert (call.attempts[0].status, call.attempts[0].error) == ("failed", "provider-timeout")
    assert call.attempts[0].latency_ms >= 10


async def test_client_that_cannot_load_says_why_in_an_attempt_that_costs_nothing() -> None:
    """A deployment of a provider that nobody knows: without the attempt, nobody would be told what is wrong with it."""

    class Unloadable(ScriptedClient):
        async def prepare(self) -> None:
            raise ProviderRejected("nobody knows this provider")

    call = new_call(CLOCK)
    with pytest.raises(ProviderRejected):
        await metered(Unloadable([answer("{}")])).complete(REQUEST, call)

    (attempt,) = call.attempts
    assert (attempt.status, attempt.error, attempt.detail) == (
        "failed",
        "provider-rejected",
        "nobody knows this provider",
    )
    assert call.owed() == ("charge", Decimal(0))
