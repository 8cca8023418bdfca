"""Holds, charges and sums in the database, each change one transaction. Blocks: call it from a thread."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, literal, select, tuple_

from feedback_gateway.errors import NotFound
from feedback_gateway.ledger.models import Budget, Entry, Grant, Hold, Refusal, Standing
from feedback_gateway.ledger.periods import PERIODS, end_of, start_of
from feedback_gateway.ledger.tables import ledger, reservations, spend
from feedback_gateway.storage.columns import EXACT, ListOfAmounts, UtcDateTime, UtcDay, exact_sum
from feedback_gateway.storage.engine import storage_errors, writing_in_passing
from feedback_gateway.storage.locks import lock_name
from feedback_gateway.storage.prepared import Prepared, PreparedRows, one_of
from feedback_gateway.storage.upserts import delete_rows, insert_or_update, insert_rows

ZERO = Decimal(0)
DAY = UtcDay(reservations.c.created_at)
HELD = tuple(column.name for column in reservations.columns)
BOOKED = tuple(column.name for column in ledger.columns)
RESERVED = Prepared(
    select(reservations.c.task, DAY, ListOfAmounts(reservations.c.amount_usd))
    .where(reservations.c.consumer == bindparam("consumer"))
    .group_by(reservations.c.task, DAY)
)
HELD_BY = PreparedRows(
    lambda _, count: select(reservations.c.call_id, reservations.c.amount_usd).where(
        one_of(reservations.c.call_id, count)
    ),
    [reservations.c.call_id],
)
SPENT = Prepared(
    select(spend.c.task, spend.c.spent_usd).where(
        spend.c.consumer == bindparam("consumer"),
        spend.c.period == bindparam("period"),
        spend.c.starts_at == bindparam("starts_at"),
    )
)


class LedgerRepository:
    """The money in the database. Raises ConfigurationError or Unavailable where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def hold(self, holds: Sequence[Hold]) -> list[Grant | Refusal]:
        """Set money aside for each of `holds` whose budgets leave room for it, in their order.

        A hold of a call that has one replaces it. What others hold at the same time, in whichever process, comes
        before or after all of `holds`.
        """
        with writing_in_passing(self._engine) as connection:
            limited = sorted({hold.consumer for hold in holds if hold.budgets})
            for consumer in limited:
                lock_name(connection, f"budget {consumer}")
            accounts = Accounts(connection, limited, holds=holds)
            outcomes = [accounts.hold(hold) for hold in holds]
            granted = {
                hold.call_id: hold for hold, outcome in zip(holds, outcomes, strict=True) if isinstance(outcome, Grant)
            }
            rows = [row for hold in granted.values() for row in rows_of(hold)]
            insert_or_update(connection, reservations, rows, replace=["amount_usd"])
        return outcomes

    def standings(self, consumer: str, budgets: Iterable[Budget], *, now: datetime) -> list[Standing]:
        """How each of the consumer's budgets stands."""
        with storage_errors(self._engine), self._engine.connect() as connection:
            accounts = Accounts(connection, [consumer])
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

    Holds are read before charges: what is settled in between counts twice for a moment rather than not at all. All
    periods are whole days in UTC, so holds are added up by task and day.
    """

    def __init__(self, connection: Connection, consumers: Iterable[str], *, holds: Sequence[Hold] = ()) -> None:
        self._connection = connection
        self._reserved: dict[str, dict[tuple[str, str], Decimal]] = {}
        self._spent: dict[tuple[str, Budget, datetime], Decimal] = {}
        self._known: dict[str, Decimal] = {}
        for consumer in consumers:
            rows = RESERVED.read(connection, consumer=consumer)
            self._reserved[consumer] = {
                (task, day): exact_sum(map(Decimal, amounts.split(","))) for task, day, amounts in rows if amounts
            }
        asked = [{"call_id": one} for hold in holds if hold.consumer in self._reserved for one in hold.amounts]
        for call_id, amount in HELD_BY.read(connection, asked):
            self._known[call_id] = ZERO if amount is None else Decimal(amount)

    def hold(self, hold: Hold) -> Grant | Refusal:
        """Take `hold` in, or say which budget has no room for it."""
        amount = hold.amount_usd or ZERO
        known = exact_sum(self._known.get(one, ZERO) for one in hold.amounts)
        warnings = []
        for budget in hold.budgets:
            found = self.standing(hold.consumer, budget, at=hold.created_at)
            found = replace(found, reserved_usd=EXACT.subtract(found.reserved_usd, known)) if known else found
            if found.spent_usd + found.reserved_usd + amount > budget.limit_usd:
                return Refusal(standing=found, final=found.spent_usd + amount > budget.limit_usd)
            if (with_it := replace(found, reserved_usd=found.reserved_usd + amount)).is_warning:
                warnings.append(with_it)
        if hold.consumer in self._reserved:
            place, reserved = (hold.task, day_of(hold.created_at)), self._reserved[hold.consumer]
            reserved[place] = EXACT.add(reserved.get(place, ZERO), EXACT.subtract(amount, known))
            self._known |= {one: part or ZERO for one, part in hold.amounts.items()}
        return Grant(warnings=tuple(warnings))

    def standing(self, consumer: str, budget: Budget, *, at: datetime) -> Standing:
        """How a budget stands in the period of `at`."""
        start, end = start_of(budget.period, at), end_of(budget.period, at)
        first, after = day_of(start), None if end is None else day_of(end)
        reserved = [
            amount
            for (task, day), amount in self._reserved[consumer].items()
            if budget.task in (None, task) and day >= first and (after is None or day < after)
        ]
        return Standing(
            budget=budget,
            spent_usd=self._spent_in(consumer, budget, start),
            reserved_usd=exact_sum(reserved),
            resets_at=end,
        )

    def _spent_in(self, consumer: str, budget: Budget, start: datetime) -> Decimal:
        key = (consumer, budget, start)
        if key not in self._spent:
            sums = SPENT.read(self._connection, consumer=consumer, period=budget.period, starts_at=start)
            self._spent[key] = exact_sum(Decimal(spent) for task, spent in sums if budget.task in (None, task))
        return self._spent[key]


def rows_of(hold: Hold) -> list[dict[str, Any]]:
    """What is stored of a hold: a row for each of its calls."""
    row = {name: getattr(hold, name) for name in HELD}
    return [row | {"call_id": one, "amount_usd": amount} for one, amount in hold.amounts.items()]


def day_of(moment: datetime) -> str:
    """Its day in UTC, as `UtcDay` has it."""
    return moment.astimezone(UTC).date().isoformat()


def release(connection: Connection, call_ids: Iterable[str]) -> None:
    """Let go of what was set aside for calls that are over, in the caller's transaction."""
    delete_rows(connection, reservations.c.call_id, call_ids)


def book(connection: Connection, entries: Sequence[Entry]) -> None:
    """Add lines to the ledger, and their amounts to the sums of their periods, in the caller's transaction."""
    if not entries:
        return
    insert_rows(connection, ledger, [{name: getattr(entry, name) for name in BOOKED} for entry in entries])
    days: dict[tuple[str, str, datetime], Decimal] = defaultdict(lambda: ZERO)
    for entry in entries:
        if entry.amount_usd:
            key = entry.consumer, entry.task, start_of("day", entry.booked_at)
            days[key] = EXACT.add(days[key], entry.amount_usd)
    sums: dict[tuple[Any, ...], Decimal] = defaultdict(lambda: ZERO)
    for (consumer, task, day), amount in days.items():
        for period in PERIODS:
            place = consumer, period, start_of(period, day), task
            sums[place] = EXACT.add(sums[place], amount)
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
