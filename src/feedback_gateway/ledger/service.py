"""Sets money aside before a provider is asked. Requests that come together are answered in one transaction."""

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial

from feedback_gateway.errors import BudgetExceeded, GatewayError, Unavailable
from feedback_gateway.ledger.amounts import format_usd
from feedback_gateway.ledger.models import Budget, Grant, Hold, Refusal, Standing

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 1.0
REMEMBERED_S = 0.25
"""How long who has nothing left is refused without a look into the database."""
MOST_REMEMBERED = 1_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """A hold, and where its outcome goes."""

    hold: Hold
    outcome: "asyncio.Future[Grant | Refusal]"

    def settle(self, outcome: Grant | Refusal | GatewayError) -> None:
        """Give the outcome, or raise the error, where it is awaited."""
        if self.outcome.done():
            return
        if isinstance(outcome, GatewayError):
            self.outcome.set_exception(type(outcome)(outcome.detail, retry_after=outcome.retry_after))
        else:
            self.outcome.set_result(outcome)


class Ledger:
    """Holds in batches, by a thread of its own: `write` takes them all in one transaction.

    `owner` names this process, as whoever settles what it holds; `hurry` is called where only calls under way stand
    in somebody's way, so that those which are over are settled now.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Hold]], list[Grant | Refusal]],
        *,
        owner: str,
        hurry: Callable[[], None] = lambda: None,
    ) -> None:
        self.owner = owner
        self._write = write
        self._hurry = hurry
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._waiting: deque[Waiting] = deque()
        self._writing: asyncio.Future[list[Grant | Refusal]] | None = None
        self._warned: set[tuple[str, Budget, datetime | None]] = set()
        self._refused: dict[tuple[str, tuple[Budget, ...]], tuple[Refusal, float]] = {}

    def hold(self, hold: Hold) -> "asyncio.Future[Grant | Refusal]":
        """Begin to set money aside, so that it outlives this process: done, or which budget has no room for it.

        A caller that is cancelled may have its money set aside all the same: shield it. Unavailable if it cannot be.
        """
        outcome: asyncio.Future[Grant | Refusal] = asyncio.get_running_loop().create_future()
        if (refusal := self._refusal_of(hold)) is not None:
            outcome.set_result(refusal)
            return outcome
        self._waiting.append(Waiting(hold, outcome))
        if self._writing is None:
            self._begin()
        return outcome

    def forget(self) -> None:
        """Look into the database again for everybody: what was charged has been set right. Safe in threads."""
        self._refused.clear()

    def _refusal_of(self, hold: Hold) -> Refusal | None:
        """What was said a moment ago to the same consumer, where that holds for this amount as well."""
        refusal, until = self._refused.get((hold.consumer, hold.budgets), (None, 0.0))
        if refusal is None or hold.amount_usd is None or asyncio.get_running_loop().time() >= until:
            return None
        standing = refusal.standing
        is_over = standing.resets_at is not None and hold.created_at >= standing.resets_at
        has_room = standing.spent_usd + hold.amount_usd <= standing.budget.limit_usd
        return None if is_over or has_room else refusal

    def _begin(self) -> None:
        """Hand all that waits to the thread."""
        taken = list(self._waiting)
        self._waiting.clear()
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(self._thread, self._write, [one.hold for one in taken])
        self._writing.add_done_callback(partial(self._end, taken))

    def _end(self, taken: Sequence[Waiting], writing: "asyncio.Future[list[Grant | Refusal]]") -> None:
        """Tell those who waited, and begin with those who came meanwhile."""
        self._writing = None
        if self._waiting:
            self._begin()
        fault = asyncio.CancelledError() if writing.cancelled() else writing.exception()
        if fault is None:
            for one, outcome in zip(taken, writing.result(), strict=True):
                one.settle(outcome)
                self._note(one.hold, outcome)
            return
        if not isinstance(fault, GatewayError):
            report(fault)
            fault = Unavailable("no money could be set aside; the gateway's log has the cause")
        for one in taken:
            one.settle(fault)

    def _note(self, hold: Hold, outcome: Grant | Refusal) -> None:
        """Say once a period that a budget has reached its soft limit; hurry where there may soon be room."""
        if isinstance(outcome, Refusal):
            if not outcome.final:
                self._hurry()
                return
            if len(self._refused) >= MOST_REMEMBERED:
                self._refused.clear()
            until = asyncio.get_running_loop().time() + REMEMBERED_S
            self._refused[hold.consumer, hold.budgets] = (outcome, until)
            return
        for standing in outcome.warnings:
            warned = (hold.consumer, standing.budget, standing.resets_at)
            if warned not in self._warned:
                self._warned.add(warned)
                logger.warning("consumer %s: %s", hold.consumer, warning(standing))

    async def close(self) -> None:
        """End when what waits is done."""
        while self._writing is not None:
            await asyncio.wait({self._writing})
        self._thread.shutdown(wait=True)


def report(fault: BaseException) -> None:
    """Log a fault of ours where it happened, without its text."""
    frames = "".join(traceback.format_tb(fault.__traceback__))
    logger.error("setting money aside failed: %s\n%s", type(fault).__name__, frames)


def exceeded(refusal: Refusal, *, amount: Decimal) -> BudgetExceeded:
    """The refusal in words, with when it is worth another try."""
    standing = refusal.standing
    detail = f"the budget of {described(standing)}; this call may cost up to {format_usd(amount)}"
    if not refusal.final:
        return BudgetExceeded(f"{detail}; ask again when those under way are over", retry_after=RETRY_AFTER_S)
    if standing.resets_at is None:
        return BudgetExceeded(f"{detail}; it does not reset")
    return BudgetExceeded(f"{detail}; it resets at {standing.resets_at:%Y-%m-%dT%H:%M:%SZ}")


def warning(standing: Standing) -> str:
    """That a soft limit is reached, in words."""
    return f"{standing.used:.0%} of the budget of {described(standing)}"


def described(standing: Standing) -> str:
    """A budget and what is gone of it."""
    budget = standing.budget
    task = "" if budget.task is None else f" for the task {budget.task}"
    spent, reserved = format_usd(standing.spent_usd), format_usd(standing.reserved_usd)
    limit = format_usd(budget.limit_usd)
    return f"{limit} USD {budget.span}{task}: {spent} are spent and {reserved} reserved for calls under way"
