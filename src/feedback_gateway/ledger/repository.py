"""Holds, charges and sums in the database, each change one transaction. Blocks: call it from a thread."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, insert, literal, select, tuple_

from feedback_gateway.errors import NotFound
from feedback_gateway.ledger.models import Budget, Entry, Grant, Hold, Refusal, Standing
from feedback_gateway.ledger.periods import PERIODS, end_of, start_of
from feedback_gateway.ledger.tables import ledger, reservations, spend
from feedback_gateway.storage.columns import ExactSum, UtcDateTime
from feedback_gateway.storage.engine import storage_errors, writing
from feedback_gateway.storage.locks import lock_name
from feedback_gateway.storage.upserts import insert_or_update

ZERO = Decimal(0)
HELD = tuple(column.name for column in reservations.columns)
BOOKED = tuple(column.name for column in ledger.columns)


class LedgerRepository:
    """The money in the database. Raises ConfigurationError or Unavailable where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def hold(self, holds: Sequence[Hold]) -> list[Grant | Refusal]:
        """Set money aside for each of `holds` whose budgets leave room for it, in their order.

        A hold of a call that has one replaces it. What others hold at the same time, in whichever process, comes
        before or after all of `holds`.
        """
        with writing(self._engine) as connection:
            limited = {hold.consumer for hold in holds if hold.budgets}
            for consumer in sorted(limited):
                lock_name(connection, f"budget {consumer}")
            accounts = Accounts(connection, limited)
            outcomes = [accounts.hold(hold) for hold in holds]
            granted = {
                hold.call_id: hold for hold, outcome in zip(holds, outcomes, strict=True) if isinstance(outcome, Grant)
            }
            rows = [{name: getattr(hold, name) for name in HELD} for hold in granted.values()]
            insert_or_update(connection, reservations, rows, replace=["amount_usd"])
        return outcomes

    def standings(self, consumer: str, budgets: Iterable[Budget], *, now: datetime) -> list[Standing]:
        """How each of the consumer's budgets stands."""
        with storage_errors(self._engine), self._engine.connect() as connection:
            accounts = Accounts(connection, {consumer})
            return [accounts.standing(consumer, budget, at=now) for budget in budgets]

    def entries(
        self,
        *,
        call_id: str | None = None,
        consumer: str | None = None,
        after: str | None = None,
        limit: int = 200,
    ) -> list[Entry]:
        """Lines of the ledger, newest first, from the one `after` that id on. Raises NotFound for an unknown id."""
        query = select(ledger).order_by(ledger.c.created_at.desc(), ledger.c.entry_id.desc()).limit(limit)
        if call_id is not None:
            query = query.where(ledger.c.call_id == call_id)
        if consumer is not None:
            query = query.where(ledger.c.consumer == consumer)
        with storage_errors(self._engine), self._engine.connect() as connection:
            if after is not None:
                last = connection.execute(select(ledger).where(ledger.c.entry_id == after)).mappings().first()
                if last is None:
                    raise NotFound("the cursor is none that this gateway gave out, or its line is gone; begin again")
                position = tuple_(literal(last["created_at"], UtcDateTime), literal(last["entry_id"]))
                query = query.where(tuple_(ledger.c.created_at, ledger.c.entry_id) < position)
            return [Entry(**row) for row in connection.execute(query).mappings()]

    def holds(self) -> list[Hold]:
        """Everything that is set aside at this moment, in the order of the calls."""
        with storage_errors(self._engine), self._engine.connect() as connection:
            rows = connection.execute(select(reservations).order_by(reservations.c.call_id)).mappings()
            return [Hold(**row) for row in rows]


class Accounts:
    """What some consumers hold and have spent, as one transaction sees it.

    Holds are read before charges: what is settled in between counts twice for a moment rather than not at all.
    """

    def __init__(self, connection: Connection, consumers: Iterable[str]) -> None:
        self._connection = connection
        self._held: dict[str, dict[str, Hold]] = defaultdict(dict)
        self._spent: dict[tuple[str, Budget, datetime], Decimal] = {}
        query = select(reservations).where(reservations.c.consumer.in_(set(consumers)))
        for row in connection.execute(query).mappings():
            self._held[row["consumer"]][row["call_id"]] = Hold(**row)

    def hold(self, hold: Hold) -> Grant | Refusal:
        """Take `hold` in, or say which budget has no room for it."""
        amount = hold.amount_usd or ZERO
        warnings = []
        for budget in hold.budgets:
            found = self.standing(hold.consumer, budget, at=hold.created_at, without=hold.call_id)
            if found.spent_usd + found.reserved_usd + amount > budget.limit_usd:
                return Refusal(standing=found, final=found.spent_usd + amount > budget.limit_usd)
            if (with_it := replace(found, reserved_usd=found.reserved_usd + amount)).is_warning:
                warnings.append(with_it)
        self._held[hold.consumer][hold.call_id] = hold
        return Grant(warnings=tuple(warnings))

    def standing(self, consumer: str, budget: Budget, *, at: datetime, without: str | None = None) -> Standing:
        """How a budget stands in the period of `at`, but for what the call `without` holds."""
        start, end = start_of(budget.period, at), end_of(budget.period, at)
        reserved = [
            one.amount_usd
            for one in self._held[consumer].values()
            if one.amount_usd is not None
            and one.call_id != without
            and budget.task in (None, one.task)
            and one.created_at >= start
            and (end is None or one.created_at < end)
        ]
        return Standing(
            budget=budget,
            spent_usd=self._spent_in(consumer, budget, start),
            reserved_usd=sum(reserved, ZERO),
            resets_at=end,
        )

    def _spent_in(self, consumer: str, budget: Budget, start: datetime) -> Decimal:
        key = (consumer, budget, start)
        if key not in self._spent:
            query = select(ExactSum(spend.c.spent_usd)).where(
                spend.c.consumer == consumer, spend.c.period == budget.period, spend.c.starts_at == start
            )
            if budget.task is not None:
                query = query.where(spend.c.task == budget.task)
            self._spent[key] = self._connection.scalar(query) or ZERO
        return self._spent[key]


def release(connection: Connection, call_ids: Iterable[str]) -> None:
    """Let go of what was set aside for calls that are over, in the caller's transaction."""
    gone = [{"gone": call_id} for call_id in call_ids]
    if gone:
        connection.execute(delete(reservations).where(reservations.c.call_id == bindparam("gone")), gone)


def book(connection: Connection, entries: Sequence[Entry]) -> None:
    """Add lines to the ledger, and their amounts to the sums of their periods, in the caller's transaction."""
    if not entries:
        return
    connection.execute(insert(ledger), [{name: getattr(entry, name) for name in BOOKED} for entry in entries])
    sums: dict[tuple[Any, ...], Decimal] = defaultdict(lambda: ZERO)
    for entry in entries:
        for period in PERIODS:
            sums[entry.consumer, period, start_of(period, entry.booked_at), entry.task] += entry.amount_usd or ZERO
    names = ("consumer", "period", "starts_at", "task", "spent_usd")
    rows = [dict(zip(names, (*key, amount), strict=True)) for key, amount in sums.items()]
    insert_or_update(connection, spend, rows, add=["spent_usd"])


def entries_of(connection: Connection, call_ids: Iterable[str]) -> dict[str, list[Entry]]:
    """By call, what was written down for it, first to last."""
    query = select(ledger).where(ledger.c.call_id.in_(list(call_ids))).order_by(ledger.c.created_at, ledger.c.entry_id)
    found: dict[str, list[Entry]] = defaultdict(list)
    for row in connection.execute(query).mappings():
        found[row["call_id"]].append(Entry(**row))
    return found
