"""The ledger's thread: many holds in one transaction, each with its own outcome, and one warning a period."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import Engine

from feedback_gateway.calls.models import Call
from feedback_gateway.calls.repository import CallRepository
from feedback_gateway.errors import Unavailable
from feedback_gateway.ledger.models import Budget, Grant, Hold, Refusal, Standing
from feedback_gateway.ledger.repository import LedgerRepository
from feedback_gateway.ledger.service import Ledger, exceeded, warning

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
DAY = Budget(limit_usd=Decimal(1), period="day")


def hold(call_id: str, amount: str, *, budget: Budget = DAY, owner: str = "test") -> Hold:
    """Money for one call of the team's."""
    return Hold(
        call_id=call_id,
        consumer="team",
        task="rate",
        prompt_version=1,
        model="default",
        created_at=NOW,
        owner=owner,
        amount_usd=Decimal(amount),
        budgets=(budget,),
    )


async def test_holds_that_come_together_share_a_transaction(engine: Engine) -> None:
    """The first goes alone; what comes meanwhile waits for the second."""
    money = LedgerRepository(engine)
    batches: list[int] = []

    def write(holds: Sequence[Hold]) -> list[Grant | Refusal]:
        batches.append(len(holds))
        return money.hold(holds)

    ledger = Ledger(write, owner="test")
    first = ledger.hold(hold("0", "0.1"))
    await asyncio.sleep(0)
    outcomes = await asyncio.gather(first, *(ledger.hold(hold(str(number), "0.1")) for number in range(1, 12)))
    await ledger.close()

    assert sum(batches) == 12
    assert len(batches) <= 2
    assert [isinstance(one, Grant) for one in outcomes] == [True] * 10 + [False] * 2
    assert len(money.holds()) == 10


async def test_failure_is_told_to_everybody_who_waits_and_to_each_in_an_error_of_their_own() -> None:
    """One error raised in many places would gather their frames."""

    def write(_: Sequence[Hold]) -> list[Grant | Refusal]:
        raise Unavailable("down", retry_after=2.0)

    ledger = Ledger(write, owner="test")
    told = await asyncio.gather(*(ledger.hold(hold(str(one), "0.1")) for one in range(3)), return_exceptions=True)
    await ledger.close()

    assert [(type(one), getattr(one, "retry_after", None)) for one in told] == [(Unavailable, 2.0)] * 3
    assert len({id(one) for one in told}) == 3


async def test_closing_waits_for_what_is_being_written(engine: Engine) -> None:
    """A hold that was begun is in the database when it returns."""
    money = LedgerRepository(engine)
    released = threading.Event()

    def write(holds: Sequence[Hold]) -> list[Grant | Refusal]:
        assert released.wait(30)
        return money.hold(holds)

    ledger = Ledger(write, owner="test")
    holding = ledger.hold(hold("1", "0.1"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(ledger.close())
    await asyncio.sleep(0)
    is_waiting = not closing.done()
    released.set()
    await closing

    assert is_waiting
    assert isinstance(await holding, Grant)
    assert len(money.holds()) == 1


async def test_closing_what_was_never_used_is_no_fault() -> None:
    """No worker, no wait."""
    await Ledger(lambda _: [], owner="test").close()


async def test_soft_limit_is_told_of_once_a_period(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever calls is warned each time; the log says it once for each budget and period."""
    ledger = Ledger(LedgerRepository(engine).hold, owner="test")

    outcomes = [
        await ledger.hold(hold("1", "0.79")),
        await ledger.hold(hold("2", "0.02")),
        await ledger.hold(hold("3", "0.02")),
    ]
    await ledger.close()

    assert [len(one.warnings) for one in outcomes if isinstance(one, Grant)] == [0, 1, 1]
    assert [record.getMessage() for record in caplog.records if record.name.endswith("ledger.service")] == [
        "consumer team: 81% of the budget of 1 USD a day: 0 are spent and 0.81 reserved for calls under way"
    ]


async def test_settling_is_hurried_where_only_calls_under_way_stand_in_the_way(engine: Engine) -> None:
    """Not for those who have room, nor for those whom no settling would help."""
    hurried: list[None] = []
    ledger = Ledger(LedgerRepository(engine).hold, owner="test", hurry=lambda: hurried.append(None))

    outcomes = [await ledger.hold(hold(name, amount)) for name, amount in (("1", "0.9"), ("2", "1.1"), ("3", "0.2"))]
    await ledger.close()

    assert [isinstance(one, Grant) or one.final for one in outcomes] == [True, True, False]
    assert len(hurried) == 1


@pytest.mark.parametrize(
    ("budget", "final", "words", "retry_after"),
    [
        (DAY, True, "it resets at 2026-03-05T00:00:00Z", None),
        (DAY, False, "ask again when those under way are over", 1.0),
        (Budget(limit_usd=Decimal(1), period="total", task="rate"), True, "1 USD in all for the task rate", None),
        (Budget(limit_usd=Decimal(1), period="total"), True, "it does not reset", None),
    ],
)
def test_refusal_says_how_the_budget_stands_and_when_to_ask_again(
    budget: Budget, *, final: bool, words: str, retry_after: float | None
) -> None:
    """In plain numbers."""
    resets_at = None if budget.period == "total" else datetime(2026, 3, 5, tzinfo=UTC)
    standing = Standing(budget=budget, spent_usd=Decimal("0.900"), reserved_usd=Decimal("1E-7"), resets_at=resets_at)

    error = exceeded(Refusal(standing=standing, final=final), amount=Decimal("0.2"))

    assert words in error.detail
    assert "0.9 are spent and 0.0000001 reserved" in error.detail
    assert "may cost up to 0.2" in error.detail
    assert error.retry_after == retry_after


def test_share_that_is_used_counts_what_is_spent_and_what_is_reserved() -> None:
    """A limit of nothing is used up from the start."""
    standing = Standing(budget=DAY, spent_usd=Decimal("0.5"), reserved_usd=Decimal("0.25"), resets_at=None)
    nothing = replace(standing, budget=replace(DAY, limit_usd=Decimal(0)), spent_usd=Decimal(0))

    assert (standing.used, standing.is_warning) == (Decimal("0.75"), False)
    assert (nothing.used, nothing.is_warning) == (Decimal(1), True)
    assert warning(standing).startswith("75% of the budget of 1 USD a day")


def test_hold_of_a_dead_process_whose_call_was_logged_is_let_go_and_stops_nobody(engine: Engine) -> None:
    """As after a hold that was committed later than anybody knew: other orphans are charged all the same."""
    money, log = LedgerRepository(engine), CallRepository(engine)
    logged = Call(
        call_id="1",
        consumer="team",
        task="rate",
        prompt_version=1,
        model="default",
        created_at=NOW,
        started=0.0,
        deadline=30.0,
        attempts_left=3,
        status="failed",
        error="unavailable",
    )
    log.add([logged])
    money.hold([hold("1", "0.1", owner="dead"), hold("2", "0.2", owner="dead"), hold("3", "0.3", owner="alive")])

    settled = log.settle_orphans(lambda owner: owner == "alive")

    assert settled == 1
    assert [one.call_id for one in money.holds()] == ["3"]
    assert [(line.call_id, line.kind, line.amount_usd) for line in money.entries()] == [("2", "orphan", Decimal("0.2"))]
    assert log.get("1")[0].error == "unavailable"
