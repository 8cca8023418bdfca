"""Corrects what calls were charged, by lines that are added to the ledger. Blocks: call it from a thread."""

from collections.abc import Callable
from decimal import Decimal

from sqlalchemy import Engine, select

from feedback_gateway.calls.rollups import change_cost
from feedback_gateway.calls.tables import calls
from feedback_gateway.clock import Clock
from feedback_gateway.errors import NotFound
from feedback_gateway.ledger.models import Entry
from feedback_gateway.ledger.repository import book, entries_of
from feedback_gateway.storage.engine import writing
from feedback_gateway.storage.locks import lock_name

ZERO = Decimal(0)


class Corrections:
    """Sets right what a call was charged: a wrong price, or a bound whose real cost became known.

    `corrected` is told of each that is stored.
    """

    def __init__(self, engine: Engine, clock: Clock, *, corrected: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        self._clock = clock
        self._corrected = corrected

    def correct(self, call_id: str, cost_usd: Decimal, *, by: str, reason: str) -> Entry:
        """Append what makes the call's lines sum up to `cost_usd`, in the periods of the call. Raises NotFound."""
        with writing(self._engine) as connection:
            lock_name(connection, f"call {call_id}")
            call = connection.execute(select(calls).where(calls.c.call_id == call_id)).mappings().first()
            if call is None:
                raise NotFound(f"there is no call {call_id} in the log")
            lines = entries_of(connection, [call_id])[call_id]
            charged = sum((one.amount_usd or ZERO for one in lines), ZERO)
            is_corrected = any(one.kind == "correction" and one.by is not None for one in lines)
            entry = Entry(
                entry_id=self._clock.new_id(),
                call_id=call_id,
                kind="correction",
                amount_usd=cost_usd - charged,
                consumer=call["consumer"],
                task=call["task"],
                model=call["model"],
                booked_at=call["created_at"],
                created_at=self._clock.now(),
                by=by,
                reason=reason,
            )
            book(connection, [entry])
            before = charged if is_corrected else call["cost_usd"]
            change_cost(connection, call, before=before, after=cost_usd)
        self._corrected()
        return entry
