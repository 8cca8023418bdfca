"""Money is set aside before a provider is asked, for the dearest that may answer, and let go whatever comes of it."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from feedback_gateway.clock import ManualClock
from feedback_gateway.consumers.models import LOCAL_CONSUMER, Consumer
from feedback_gateway.errors import (
    BudgetExceeded,
    ContentRefused,
    GatewayError,
    InvalidModelOutput,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    Unavailable,
)
from feedback_gateway.ledger.models import Grant, Hold, Refusal
from feedback_gateway.llm.litellm_client import load_litellm
from feedback_gateway.llm.models import Completion, Rates
from tests.databases import OpenDatabase
from tests.ledger.till import BAD, COST, GOOD, ONE, USED, Gate, Step, Teller, Till, bound, open_till, team

pytestmark = pytest.mark.anyio

PLENTY = Decimal(1)
FREE = replace(ONE, name="free", rates=Rates(input=Decimal(0), output=Decimal(0)))
UNPRICED = replace(ONE, name="unpriced", rates=None)
DEAR = replace(
    ONE,
    name="dear",
    alias="spare",
    rates=Rates(input=Decimal("0.001"), output=Decimal("0.001"), cache_write=Decimal("0.002")),
)
Write = Callable[[Sequence[Hold]], list[Grant | Refusal]]


class Holds:
    """Every amount that was asked for, on its way to the database."""

    def __init__(self) -> None:
        self.amounts: list[Decimal | None] = []

    def __call__(self, write: Write) -> Write:
        """Stand before `write`."""

        def noting(holds: Sequence[Hold]) -> list[Grant | Refusal]:
            self.amounts += [hold.amount_usd for hold in holds]
            return write(holds)

        return noting


async def outcome(till: Till, consumer: Consumer, **fields: Any) -> GatewayError | None:
    """The error that a call ends in, None where it is answered."""
    try:
        await till.ask(consumer, **fields)
    except GatewayError as error:
        return error
    return None


async def test_dearest_deployment_that_may_answer_is_covered(engine: Engine) -> None:
    """Its fallback's too, with a price for writing to a cache that is dearer than that of other input."""
    holds = Holds()
    tellers = [(ONE, Teller(GOOD)), (DEAR, Teller(GOOD))]
    async with open_till(engine, tellers, fallbacks={"default": ["spare"]}, write=holds) as till:
        await till.ask(LOCAL_CONSUMER)

    assert holds.amounts == [bound(DEAR)]
    assert bound(DEAR) > 1000 * bound(ONE)


async def test_deployments_that_cannot_be_asked_are_not_covered(engine: Engine) -> None:
    """A dear one under another alias is nobody's fallback here."""
    holds = Holds()
    async with open_till(engine, [(ONE, Teller(GOOD)), (DEAR, Teller(GOOD))], write=holds) as till:
        await till.ask(LOCAL_CONSUMER)

    assert holds.amounts == [bound(ONE)]


async def test_model_without_a_price_is_refused_to_a_consumer_with_a_budget(engine: Engine) -> None:
    """By name, and before anybody is asked."""
    tellers = [(ONE, Teller(GOOD)), (UNPRICED, Teller(GOOD))]
    async with open_till(engine, tellers) as till:
        error = await outcome(till, team(PLENTY))

        assert isinstance(error, BudgetExceeded)
        assert "unpriced" in error.detail
        assert "input_cost_per_token" in error.detail
        assert [teller.requests for _, teller in tellers] == [[], []]
        assert till.money.holds() == []


async def test_model_without_a_price_serves_whoever_has_no_budget(engine: Engine) -> None:
    """Nobody knows the amount: that is what hold and ledger say, never 0."""
    holds = Holds()
    async with open_till(engine, [(UNPRICED, Teller(GOOD))], write=holds) as till:
        await till.ask(LOCAL_CONSUMER)
        await till.settle()
        (line,) = till.lines(LOCAL_CONSUMER)

    assert holds.amounts == [None]
    assert (line.kind, line.amount_usd) == ("charge", None)


async def test_free_deployments_hold_nothing_whatever_the_budget(engine: Engine) -> None:
    """Also a budget of 0."""
    holds = Holds()
    async with open_till(engine, [(FREE, Teller(GOOD))], write=holds) as till:
        await till.ask(team(Decimal(0)))

        assert till.money.entries() == []
    assert holds.amounts == []


async def test_consumer_without_a_budget_is_never_refused(engine: Engine) -> None:
    """However much was spent."""
    dear = replace(ONE, rates=Rates(input=Decimal(1000), output=Decimal(1000)))
    async with open_till(engine, [(dear, Teller(GOOD))]) as till:
        assert [await outcome(till, LOCAL_CONSUMER) for _ in range(3)] == [None] * 3
        await till.settle()
        assert sum(line.amount_usd or 0 for line in till.lines(LOCAL_CONSUMER)) == 3 * 120_000


async def test_hold_of_an_attempt_that_failed_outright_serves_the_next(engine: Engine) -> None:
    """Room for one bound is room for three attempts, as long as nobody bills."""
    holds = Holds()
    teller = Teller(ProviderUnavailable("down"), ProviderUnavailable("down"), GOOD)
    async with open_till(engine, [(ONE, teller)], write=holds) as till:
        await till.ask(team(bound()))

        await till.settle()
        assert till.standing(team(bound())).spent_usd == COST
    assert holds.amounts == [bound()]
    assert len(teller.requests) == 3


async def test_repair_turn_after_a_billed_answer_extends_the_hold(engine: Engine) -> None:
    """By what the answer cost and the longer question may cost; let go first, so that nobody waits in a ring."""
    holds = Holds()
    teller = Teller(BAD, GOOD)
    async with open_till(engine, [(ONE, teller)], write=holds) as till:
        await till.ask(team(PLENTY))

        await till.settle()
        assert till.standing(team(PLENTY)).spent_usd == 2 * COST
        assert till.money.holds() == []
    assert holds.amounts == [bound(), COST, COST + bound(of=teller.requests[1])]


async def test_timed_out_attempt_keeps_its_bound_beside_the_next(engine: Engine) -> None:
    """Nobody knows whether it was billed."""
    holds = Holds()
    async with open_till(engine, [(ONE, Teller(ProviderTimeout("late"), GOOD))], write=holds) as till:
        await till.ask(team(PLENTY))
        await till.settle()
        (line,) = till.lines(team())

    assert holds.amounts == [bound(), 2 * bound()]
    assert (line.kind, line.amount_usd) == ("bound", bound() + COST)


async def test_repair_that_the_budget_cannot_cover_is_not_sent(engine: Engine) -> None:
    """The caller learns both; what was billed is charged."""
    consumer = team(bound())
    teller = Teller(BAD, GOOD)
    async with open_till(engine, [(ONE, teller)]) as till:
        error = await outcome(till, consumer)

        assert isinstance(error, InvalidModelOutput)
        assert "the budget of" in error.detail
        assert len(teller.requests) == 1
        await till.settle()
        assert till.standing(consumer).spent_usd == COST
        assert till.money.holds() == []


async def test_second_attempt_that_the_budget_cannot_cover_is_not_sent(engine: Engine) -> None:
    """A refusal that was billed leaves too little for a retry elsewhere."""
    consumer = team(bound())
    billed = ContentRefused("no", status=200, usage=USED)
    tellers = [(ONE, Teller(billed)), (replace(ONE, name="two"), Teller(billed))]
    async with open_till(engine, tellers) as till:
        error = await outcome(till, consumer)

        assert isinstance(error, BudgetExceeded)
        assert sum(len(teller.requests) for _, teller in tellers) == 1
        await till.settle()
        assert till.standing(consumer).spent_usd == COST
        assert till.money.holds() == []


async def test_spend_of_a_call_is_visible_to_the_next(engine: Engine) -> None:
    """A budget for exactly four answers and one bound answers exactly five, one after the other."""
    consumer = team(4 * COST + bound())
    teller = Teller(GOOD)
    async with open_till(engine, [(ONE, teller)]) as till:
        seen = []
        while await outcome(till, consumer) is None:
            await till.settle()
            seen.append(till.standing(consumer).spent_usd)

    assert seen == [COST * count for count in range(1, 6)]
    assert len(teller.requests) == 5


async def test_final_refusal_comes_at_once_and_names_the_reset(engine: Engine) -> None:
    """Nothing that is under way could help."""
    clock = ManualClock()
    teller = Teller(GOOD)
    async with open_till(engine, [(ONE, teller)], clock=clock) as till:
        error = await outcome(till, team(bound() - Decimal("0.000001")))

    assert isinstance(error, BudgetExceeded)
    assert "it resets at 2026-01-02T00:00:00Z" in error.detail
    assert (error.retry_after, clock.slept, teller.requests) == (None, [], [])


async def test_call_waits_for_those_under_way_instead_of_being_refused(engine: Engine) -> None:
    """Room for one bound; the second gets it when the first has ended."""
    consumer = team(bound() + COST)
    first = Gate()
    async with open_till(engine, [(ONE, Teller(first, GOOD))]) as till:
        begun = asyncio.create_task(till.ask(consumer))
        await first.reached.wait()
        waiting = asyncio.create_task(till.ask(consumer))
        await asyncio.wait({waiting}, timeout=0.05)
        is_waiting = not waiting.done()

        first.opened.set()
        answers = await asyncio.gather(begun, waiting)

        assert is_waiting
        assert [one.value for one in answers] == [{"label": "good"}] * 2
        await till.settle()
        assert till.standing(consumer).spent_usd == 2 * COST


async def test_wait_for_room_ends_with_the_call_s_time(engine: Engine) -> None:
    """A refusal that says when to come back, no hang and no mere deadline."""
    consumer = team(bound() + COST)
    clock = ManualClock()
    first = Gate()
    async with open_till(engine, [(ONE, Teller(first))], clock=clock) as till:
        begun = asyncio.create_task(till.ask(consumer))
        await first.reached.wait()

        error = await outcome(till, consumer, timeout_s=5.0)

        first.opened.set()
        await begun
        assert isinstance(error, BudgetExceeded)
        assert error.retry_after == 1.0
        assert "calls under way" in error.detail
        assert 4.0 < sum(clock.slept) < 5.0


async def test_nobody_is_asked_while_the_database_is_down(engine: Engine) -> None:
    """The caller hears 503; the next call is answered again."""
    down = [Unavailable("the database is down", retry_after=1.0)]

    def failing(write: Write) -> Write:
        def hold(holds: Sequence[Hold]) -> list[Grant | Refusal]:
            if down:
                raise down.pop()
            return write(holds)

        return hold

    teller = Teller(GOOD)
    async with open_till(engine, [(ONE, teller)], write=failing) as till:
        error = await outcome(till, team(PLENTY))
        asked = len(teller.requests)
        again = await outcome(till, team(PLENTY))

    assert isinstance(error, Unavailable)
    assert (asked, again) == (0, None)


async def test_hold_whose_commit_was_not_confirmed_is_let_go(engine: Engine) -> None:
    """The money was set aside, the answer to that was lost: the failed call's row releases it."""

    def lost(write: Write) -> Write:
        def hold(holds: Sequence[Hold]) -> list[Grant | Refusal]:
            write(holds)
            raise Unavailable("the connection is lost")

        return hold

    async with open_till(engine, [(ONE, Teller(GOOD))], write=lost) as till:
        error = await outcome(till, team(PLENTY))
        await till.settle()

        assert isinstance(error, Unavailable)
        assert till.money.holds() == []
        assert till.money.entries() == []


async def test_database_that_hangs_costs_a_call_no_more_than_its_time(engine: Engine) -> None:
    """And what it sets aside afterwards is let go."""
    released = threading.Event()

    def hanging(write: Write) -> Write:
        def hold(holds: Sequence[Hold]) -> list[Grant | Refusal]:
            assert released.wait(30)
            return write(holds)

        return hold

    teller = Teller(GOOD)
    async with open_till(engine, [(ONE, teller)], write=hanging) as till:
        error = await outcome(till, team(PLENTY), timeout_s=0.05)
        released.set()
        await till.settle()

        assert isinstance(error, Unavailable)
        assert teller.requests == []
        assert till.money.holds() == []


async def test_caller_who_leaves_while_money_is_set_aside_leaves_nothing_behind(engine: Engine) -> None:
    """The hold comes about, and goes with the call's row."""
    reached, released = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(write: Write) -> Write:
        def hold(holds: Sequence[Hold]) -> list[Grant | Refusal]:
            loop.call_soon_threadsafe(reached.set)
            assert released.wait(30)
            return write(holds)

        return hold

    teller = Teller(GOOD)
    async with open_till(engine, [(ONE, teller)], write=slow) as till:
        asking = asyncio.create_task(till.ask(team(PLENTY)))
        await reached.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        released.set()
        await till.settle()

        assert teller.requests == []
        assert (till.money.holds(), till.money.entries()) == ([], [])
        assert [call.status for call in till.made] == ["cancelled"]


async def test_caller_who_leaves_while_waiting_for_room_takes_none(engine: Engine) -> None:
    """The call under way is not disturbed."""
    consumer = team(bound() + COST)
    first = Gate()
    async with open_till(engine, [(ONE, Teller(first, GOOD))]) as till:
        begun = asyncio.create_task(till.ask(consumer))
        await first.reached.wait()
        waiting = asyncio.create_task(till.ask(consumer))
        await asyncio.wait({waiting}, timeout=0.03)
        waiting.cancel()
        first.opened.set()
        await begun
        await till.settle()

        assert waiting.cancelled()
        assert till.money.holds() == []
        assert till.standing(consumer).spent_usd == COST


@pytest.mark.parametrize(
    ("then", "cost"), [(GOOD, COST), (ProviderUnavailable("down"), Decimal(0))], ids=["ok", "down"]
)
async def test_caller_who_leaves_is_charged_what_the_provider_says_later(
    engine: Engine, then: Completion | GatewayError, cost: Decimal
) -> None:
    """Until then the bound stays set aside."""
    consumer = team(PLENTY)
    gate = Gate(then)
    async with open_till(engine, [(ONE, Teller(gate))]) as till:
        asking = asyncio.create_task(till.ask(consumer))
        await gate.reached.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        meanwhile = till.standing(consumer)
        gate.opened.set()
        await till.settle()

        assert (meanwhile.spent_usd, meanwhile.reserved_usd) == (Decimal(0), bound())
        assert (till.standing(consumer).spent_usd, till.standing(consumer).reserved_usd) == (cost, Decimal(0))
        assert [line.kind for line in till.lines(consumer)] == ["charge"] * bool(cost)


async def test_late_answer_that_never_comes_is_charged_at_its_bound(engine: Engine) -> None:
    """Shutting down does not wait for ever, and does not let it go for nothing either."""
    consumer = team(PLENTY)
    gate = Gate()
    async with open_till(engine, [(ONE, Teller(gate))]) as till:
        asking = asyncio.create_task(till.ask(consumer))
        await gate.reached.wait()
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        await till.recorder.drain(0)
        await till.writer.flush()

        (line,) = till.lines(consumer)
        assert (line.kind, line.amount_usd) == ("bound", bound())
        assert till.money.holds() == []


async def test_fault_of_the_ledger_fails_its_calls_and_not_those_after(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever waits is told, nobody is taken for cancelled, and the worker begins anew."""
    faults = [ZeroDivisionError("a fault of ours")]

    def faulty(write: Write) -> Write:
        def hold(holds: Sequence[Hold]) -> list[Grant | Refusal]:
            if faults:
                raise faults.pop()
            return write(holds)

        return hold

    async with open_till(engine, [(ONE, Teller(GOOD))], write=faulty) as till:
        error = await outcome(till, team(PLENTY))
        again = await outcome(till, team(PLENTY))

    assert isinstance(error, Unavailable)
    assert again is None
    assert "ZeroDivisionError" in caplog.text
    assert "a fault of ours" not in caplog.text


def test_litellm_counts_no_budget_of_its_own() -> None:
    """A second counter in the process would refuse what ours allows, and never reset."""
    litellm: Any = load_litellm()

    assert litellm.max_budget == 0


STEPS: dict[str, Step] = {
    "answer": GOOD,
    "invalid": BAD,
    "down": ProviderUnavailable("down"),
    "late": ProviderTimeout("late"),
    "rejected": ProviderRejected("no"),
    "refused": ContentRefused("no", status=200, usage=USED),
}
AFTER = st.one_of(st.none(), st.integers(0, 60))
"""Steps of the event loop after which a caller leaves; None is never."""


@pytest.fixture(scope="module")
def shared_engine(open_database: OpenDatabase) -> Iterator[Engine]:
    """One database for all examples."""
    with open_database() as engine:
        yield engine


@given(
    script=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=8),
    callers=st.lists(AFTER, min_size=1, max_size=4),
    room=st.integers(1, 4),
)
@settings(max_examples=25, deadline=None)
def test_nothing_stays_reserved_after_any_mix_of_errors_and_departures(
    shared_engine: Engine, script: list[str], callers: list[int | None], room: int
) -> None:
    """Every answer that was billed is charged, nothing more than its bound, and never above the limit."""

    async def run() -> None:
        tellers = [(ONE, Teller(*(STEPS[name] for name in script)))]
        async with open_till(shared_engine, tellers) as till:
            consumer = team(room * bound(), name=f"team {till.clock.new_id()}")
            asking = [asyncio.create_task(till.ask(consumer, timeout_s=5.0)) for _ in callers]
            for task, after in zip(asking, callers, strict=True):
                if after is not None:
                    for _ in range(after):
                        await asyncio.sleep(0)
                    task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            await till.settle()

            standing = till.standing(consumer)
            attempts = [attempt for call in till.made for attempt in call.attempts]
            lines = till.lines(consumer)
            assert till.money.holds() == []
            assert standing.reserved_usd == 0
            assert standing.spent_usd <= standing.budget.limit_usd
            assert standing.spent_usd == sum((line.amount_usd or 0 for line in lines), Decimal(0))
            known = sum((attempt.cost_usd or 0 for attempt in attempts), Decimal(0))
            unknown = sum((bound_of_unanswered(attempt) for attempt in attempts), Decimal(0))
            assert standing.spent_usd == known + unknown
            assert len(attempts) == len(tellers[0][1].requests)

    asyncio.run(run())


def bound_of_unanswered(attempt: Any) -> Decimal:
    """By hand: what an attempt is charged of which nobody knows the cost."""
    is_unknown = attempt.usage is None and attempt.error == "provider-timeout"
    return attempt.bound_usd if is_unknown else Decimal(0)
