"""A budget under any sequence of events: what is held and charged never exceeds it, and what fits is never refused."""

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from feedback_gateway.calls.corrections import Corrections
from feedback_gateway.calls.models import Call
from feedback_gateway.calls.repository import CallRepository
from feedback_gateway.clock import ManualClock
from feedback_gateway.ledger.models import Budget, Grant, Hold, Refusal
from feedback_gateway.ledger.periods import start_of
from feedback_gateway.ledger.repository import LedgerRepository
from feedback_gateway.llm.models import Deployment, Usage
from tests.databases import OpenDatabase

CENTS = st.integers(0, 60).map(lambda cents: Decimal(cents) / 100)
DEPLOYMENT = Deployment(alias="default", name="openai/small", model="openai/small")
ALL, ONE = Budget(limit_usd=Decimal(1), period="day"), Budget(limit_usd=Decimal("0.50"), period="week", task="a")


class Books(RuleBasedStateMachine):
    """One consumer with two budgets, and the same books kept by hand beside the database."""

    open_database: OpenDatabase

    @initialize()
    def begin(self) -> None:
        """An empty database on a Wednesday."""
        self.stack = ExitStack()
        engine = self.stack.enter_context(self.open_database())
        self.clock = ManualClock(datetime(2026, 3, 4, 22, tzinfo=UTC))
        self.money = LedgerRepository(engine)
        self.calls = CallRepository(engine)
        self.corrections = Corrections(engine, self.clock)
        self.held: dict[str, tuple[Hold, str]] = {}
        self.charged: dict[str, tuple[datetime, str, Decimal]] = {}

    def teardown(self) -> None:
        """Give the database back."""
        if hasattr(self, "stack"):
            self.stack.close()

    def used(self, budget: Budget, at: datetime) -> tuple[Decimal, Decimal]:
        """Spent and reserved, by hand."""
        start = start_of(budget.period, at)
        charged = [
            amount
            for moment, task, amount in self.charged.values()
            if start_of(budget.period, moment) == start and budget.task in (None, task)
        ]
        held = [
            hold.amount_usd or Decimal(0)
            for hold, _ in self.held.values()
            if start_of(budget.period, hold.created_at) == start and budget.task in (None, hold.task)
        ]
        return sum(charged, Decimal(0)), sum(held, Decimal(0))

    @rule(amount=CENTS, task=st.sampled_from("ab"), owner=st.sampled_from(["p1", "p2"]))
    def admit(self, amount: Decimal, task: str, owner: str) -> None:
        """A call asks for its bound: it gets it if and only if both budgets have room."""
        budgets = tuple(budget for budget in (ALL, ONE) if budget.task in (None, task))
        hold = Hold(
            call_id=self.clock.new_id(),
            consumer="team",
            task=task,
            prompt_version=1,
            model="default",
            created_at=self.clock.now(),
            owner=owner,
            amount_usd=amount,
            budgets=budgets,
        )
        before = {budget: self.used(budget, hold.created_at) for budget in budgets}

        (outcome,) = self.money.hold([hold])

        fits = all(sum(before[budget]) + amount <= budget.limit_usd for budget in budgets)
        assert isinstance(outcome, Grant if fits else Refusal)
        if isinstance(outcome, Refusal):
            spent, _ = before[outcome.standing.budget]
            assert outcome.final == (spent + amount > outcome.standing.budget.limit_usd)
        else:
            self.held[hold.call_id] = hold, owner

    @precondition(lambda self: self.held)
    @rule(data=st.data(), more=CENTS)
    def extend(self, data: st.DataObject, more: Decimal) -> None:
        """A repair turn needs more than was held."""
        call_id = data.draw(st.sampled_from(sorted(self.held)))
        known, owner = self.held[call_id]
        budgets = tuple(budget for budget in (ALL, ONE) if budget.task in (None, known.task))
        amount = (known.amount_usd or Decimal(0)) + more
        wanted = Hold(
            **{name: getattr(known, name) for name in Hold.__slots__} | {"amount_usd": amount, "budgets": budgets}
        )
        fits = all(sum(self.used(budget, known.created_at)) + more <= budget.limit_usd for budget in budgets)

        (outcome,) = self.money.hold([wanted])

        assert isinstance(outcome, Grant if fits else Refusal)
        if fits:
            self.held[call_id] = wanted, owner

    def finished(self, hold: Hold, **fields: Any) -> Call:
        """The call behind a hold, over."""
        return Call(
            call_id=hold.call_id,
            consumer=hold.consumer,
            task=hold.task,
            prompt_version=1,
            model=hold.model,
            created_at=hold.created_at,
            started=0.0,
            deadline=30.0,
            attempts_left=1,
            is_held=True,
            **fields,
        )

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        share=st.fractions(0, 1, max_denominator=100),
        outcome=st.sampled_from(["ok", "failed", "abandoned"]),
    )
    def settle(self, data: st.DataObject, share: Any, outcome: str) -> None:
        """The call ends: answered and billed, failed for nothing, or cancelled with nobody knowing its cost."""
        call_id = data.draw(st.sampled_from(sorted(self.held)))
        hold, _ = self.held.pop(call_id)
        bound = hold.amount_usd or Decimal(0)
        call = self.finished(hold, status="ok" if outcome == "ok" else "failed")
        attempt = call.start_attempt(DEPLOYMENT, started_at=hold.created_at, purpose="answer", bound_usd=bound)
        attempt.status = outcome  # type: ignore[assignment]
        cost = bound if outcome == "abandoned" else Decimal(0)
        if outcome == "ok":
            cost = bound * share.numerator // share.denominator
            attempt.usage, attempt.cost_usd = Usage(output_tokens=1), cost

        self.calls.add([call])
        self.calls.add([call])  # as after a commit that was not confirmed

        self.charged[call_id] = hold.created_at, hold.task, cost

    @rule(dead=st.sampled_from(["p1", "p2"]))
    def crash(self, dead: str) -> None:
        """A process dies; what it held is charged in full."""
        theirs = [call_id for call_id, (_, owner) in self.held.items() if owner == dead]

        settled = self.calls.settle_orphans(lambda owner: owner != dead)

        assert settled == len(theirs)
        for call_id in theirs:
            hold, _ = self.held.pop(call_id)
            self.charged[call_id] = hold.created_at, hold.task, hold.amount_usd or Decimal(0)

    @rule(amount=CENTS, owner=st.just("p3"))
    def return_from_the_dead(self, amount: Decimal, owner: str) -> None:
        """A process that was taken for dead settles after all: the ledger says what it really cost."""
        hold = Hold(
            call_id=self.clock.new_id(),
            consumer="other",
            task="a",
            prompt_version=1,
            model="default",
            created_at=self.clock.now(),
            owner=owner,
            amount_usd=Decimal("0.60"),
        )
        self.money.hold([hold])
        self.calls.settle_orphans(lambda one: one != owner)
        call = self.finished(hold)
        attempt = call.start_attempt(DEPLOYMENT, started_at=hold.created_at, purpose="answer")
        attempt.status, attempt.usage, attempt.cost_usd = "ok", Usage(output_tokens=1), amount

        self.calls.add([call])

        lines = self.money.entries(call_id=call.call_id)
        assert sum((line.amount_usd or Decimal(0) for line in lines), Decimal(0)) == amount
        assert self.calls.get(call.call_id)[0].cost_usd == amount

    @precondition(lambda self: self.charged)
    @rule(data=st.data(), amount=CENTS)
    def reprice(self, data: st.DataObject, amount: Decimal) -> None:
        """A correction is a line more, and counts in the period of its call."""
        call_id = data.draw(st.sampled_from(sorted(self.charged)))
        moment, task, known = self.charged[call_id]
        amount = min(amount, known)  # upwards a correction may pass the limit: then only the truth is told
        before = self.money.entries(call_id=call_id)

        self.corrections.correct(call_id, amount, by="test", reason="wrong price")

        after = self.money.entries(call_id=call_id)
        assert after[1:] == before or sorted(map(repr, after)) > sorted(map(repr, before))
        assert len(after) == len(before) + 1
        self.charged[call_id] = moment, task, amount

    @rule(hours=st.sampled_from([1, 3, 24, 24 * 7]))
    def let_time_pass(self, hours: int) -> None:
        """Into the next day or week: what is held belongs to the period in which it was."""
        self.clock.advance(timedelta(hours=hours).total_seconds())

    @invariant()
    def the_database_agrees(self) -> None:
        """To the last digit, for every budget; never above a limit; and nothing is held that nobody settles."""
        if not hasattr(self, "money"):
            return
        for standing in self.money.standings("team", [ALL, ONE], now=self.clock.now()):
            spent, reserved = self.used(standing.budget, self.clock.now())
            assert (standing.spent_usd, standing.reserved_usd) == (spent, reserved)
            assert standing.used == (spent + reserved) / standing.budget.limit_usd <= 1
        ours = [hold.call_id for hold in self.money.holds() if hold.consumer == "team"]
        assert ours == sorted(self.held)


def test_the_books_are_right_after_any_sequence_of_events(open_database: OpenDatabase) -> None:
    """Admit, extend, settle, fail, cancel, crash, return, reprice, roll over."""

    class Run(Books):
        pass

    Run.open_database = staticmethod(open_database)
    run_state_machine_as_test(Run, settings=settings(max_examples=25, stateful_step_count=25, deadline=None))
