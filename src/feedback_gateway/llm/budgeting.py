"""Sets money aside before a provider is asked: for the whole call at first, for each further attempt that needs more.

What it is charged in the end is settled when the call is logged.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Generic, Protocol

from feedback_gateway.calls.models import Call
from feedback_gateway.clock import Clock
from feedback_gateway.errors import BudgetExceeded, Unavailable
from feedback_gateway.ledger.models import Grant, Hold, Refusal
from feedback_gateway.ledger.service import exceeded
from feedback_gateway.ledger.sharing import covering
from feedback_gateway.llm.models import AnswerT, Client, Deployment, Request, RequestT
from feedback_gateway.llm.prices import most_cost
from feedback_gateway.llm.tokens import most_input_tokens

FIRST_WAIT_S = 0.01
LONGEST_WAIT_S = 0.2


class Purse(Protocol):
    """Where money is set aside; `owner` names this process."""

    owner: str

    def hold(self, hold: Hold) -> "asyncio.Future[Grant | Refusal]":
        """Begin to set money aside: how that ends, or which budget has no room for it. Whoever waits must shield it."""
        ...


class ReservingClient(Generic[RequestT, AnswerT]):
    """Holds the most that the call's first attempt can cost at the dearest deployment that may answer it.

    Where a budget has no room only because of calls under way, it waits for them until the call's deadline.
    Raises BudgetExceeded, also where a deployment has no price and the consumer a budget.
    """

    def __init__(
        self,
        inner: Client[RequestT, AnswerT],
        purse: Purse,
        *,
        billed: Callable[[str], Sequence[Deployment]],
        clock: Clock,
    ) -> None:
        self._inner = inner
        self._purse = purse
        self._billed = billed
        self._clock = clock

    async def complete(self, request: RequestT, call: Call) -> AnswerT:
        """Hold, then complete. Nothing is held where every deployment that may answer is free."""
        if billed := self._billed(request.model):
            amount = amount_for(request, call, billed)
            if call.is_held or any(part.call.is_held for part in call.parts):  # for what was asked before
                _, owed = call.owed()
                await reserve(self._purse, call, owed, clock=self._clock)
                amount = None if amount is None or owed is None else owed + amount
            await reserve(self._purse, call, amount, clock=self._clock)
        return await self._inner.complete(request, call)


class CoveringClient(Generic[RequestT, AnswerT]):
    """Lets an attempt at one deployment begin only when what is held covers it, with all that went before.

    What an attempt that failed outright did not cost is there for the next one. Raises BudgetExceeded.
    """

    def __init__(self, inner: Client[RequestT, AnswerT], deployment: Deployment, purse: Purse, *, clock: Clock) -> None:
        self._inner = inner
        self._deployment = deployment
        self._is_free = deployment.is_free
        self._purse = purse
        self._clock = clock

    async def complete(self, request: RequestT, call: Call) -> AnswerT:
        """Cover, then complete."""
        if not self._is_free:
            bound = amount_for(request, call, [self._deployment])
            _, owed = call.owed()
            needed = None if bound is None or owed is None else owed + bound
            if not call.is_held or (needed is not None and needed > (call.held_usd or 0)):
                # Who waits for others holds no more than is owed, or two of them would wait for each other.
                if call.is_held and owed and owed < (call.held_usd or 0):
                    await reserve(self._purse, call, owed, clock=self._clock)
                await reserve(self._purse, call, needed, clock=self._clock)
        return await self._inner.complete(request, call)


def amount_for(request: Request, call: Call, deployments: Sequence[Deployment]) -> Decimal | None:
    """The most that one attempt at the dearest of `deployments` can cost, None where a price is not known.

    Raises BudgetExceeded where it is not known and the call is charged to a budget.
    """
    unpriced = [deployment.name for deployment in deployments if deployment.rates is None]
    if unpriced and call.budgets:
        raise BudgetExceeded(
            f"the price of {unpriced[0]} is not known, so no budget can cover the call; its operator can set "
            "input_cost_per_token and output_cost_per_token"
        )
    if unpriced:
        return None
    tokens = most_input_tokens(request)
    priced = [deployment.rates for deployment in deployments if deployment.rates is not None]
    return max(most_cost(rates, input_tokens=tokens, output_tokens=request.max_tokens) for rates in priced)


def bound_of(request: Request, deployment: Deployment) -> Decimal | None:
    """The most that one attempt at `deployment` can cost in USD, None where its price is not known."""
    if deployment.rates is None:
        return None
    if deployment.is_free:
        return Decimal(0)
    return most_cost(deployment.rates, input_tokens=most_input_tokens(request), output_tokens=request.max_tokens)


async def reserve(purse: Purse, call: Call, amount: Decimal | None, *, clock: Clock) -> None:
    """Hold `amount` for the call in all. Raises BudgetExceeded where that cannot be had before the deadline.

    A pack waits for nobody: there may be room for a smaller one.
    """
    parts = parts_of(call, amount)
    hold = Hold(
        call_id=call.call_id,
        consumer=call.consumer,
        task=call.task,
        prompt_version=call.prompt_version,
        model=call.model,
        created_at=call.created_at,
        owner=purse.owner,
        amount_usd=total(parts.values()) if parts else amount,
        purpose=call.purpose,
        budgets=call.budgets,
        parts=parts,
    )
    wait_s = FIRST_WAIT_S
    while isinstance(outcome := await hold_in_time(purse, hold, call, clock=clock), Refusal):
        if outcome.final or len(parts) > 1 or clock.monotonic() + wait_s >= call.deadline:
            raise exceeded(outcome, amount=amount or Decimal(0))
        await clock.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
    if parts:
        call.is_held, call.held_usd = True, amount


async def hold_in_time(purse: Purse, hold: Hold, call: Call, *, clock: Clock) -> Grant | Refusal:
    """Hold, but wait for a database that hangs no longer than the call may take. Raises Unavailable."""
    try:
        async with asyncio.timeout(call.deadline - clock.monotonic()):
            return await hold_to_the_end(purse, hold, call)
    except TimeoutError:
        raise Unavailable("the database was too slow to set money aside for the call", retry_after=1.0) from None


async def hold_to_the_end(purse: Purse, hold: Hold, call: Call) -> Grant | Refusal:
    """Hold, and let the call know of it even if whoever asked is cancelled meanwhile, so that it is settled.

    While nobody knows whether money was set aside, as after a commit that was not confirmed, it counts as held.
    """
    holders = [part.call for part in call.parts] or [call]
    were_held = [holder.is_held for holder in holders]
    for holder in holders:
        holder.is_held = True
    holding = purse.hold(hold)

    def note(_: object) -> None:
        if holding.cancelled() or holding.exception() is not None:
            return
        outcome = holding.result()
        for holder, was_held in zip(holders, were_held, strict=True):
            if isinstance(outcome, Grant):
                holder.held_usd, holder.warnings = hold.amounts[holder.call_id], outcome.warnings
            else:
                holder.is_held = was_held

    holding.add_done_callback(note)
    call.outlast(holding)
    return await asyncio.shield(holding)


def parts_of(call: Call, amount: Decimal | None) -> dict[str, Decimal | None]:
    """What each call of a pack is to hold: its part of `amount`, and what it owes for earlier packs."""
    if not call.parts:
        return {}
    if amount is None:
        return dict.fromkeys((part.call.call_id for part in call.parts), None)
    shares = covering(amount, [part.weight for part in call.parts])
    return {
        part.call.call_id: total([share, part.call.owed()[1]]) for part, share in zip(call.parts, shares, strict=True)
    }


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Their sum, None where one is not known."""
    known = list(amounts)
    return None if None in known else sum((one for one in known if one is not None), Decimal(0))
