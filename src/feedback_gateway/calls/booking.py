"""Writes finished calls with their attempts, payloads and charges, in the caller's transaction: all or nothing.

Also those of processes that died: what such a call held is charged in full, and marked.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, select

from feedback_gateway.calls.models import NOTHING, Attempt, Call, Payload
from feedback_gateway.calls.rollups import add_calls
from feedback_gateway.calls.suggestions import suggestions_of
from feedback_gateway.calls.tables import attempts, calls, category_suggestions, payloads
from feedback_gateway.ledger.models import Entry, Hold
from feedback_gateway.ledger.repository import book, entries_of, release
from feedback_gateway.ledger.tables import reservations
from feedback_gateway.storage.locks import lock_name
from feedback_gateway.storage.prepared import PreparedRows, one_of
from feedback_gateway.storage.upserts import insert_rows

DIED = "process-died"
UNKNOWN = "unknown"
MOST_ORPHANS = 1_000
STORED = PreparedRows(lambda _, count: select(calls.c.call_id).where(one_of(calls.c.call_id, count)), [calls.c.call_id])


@dataclass(frozen=True, slots=True)
class Rows:
    """What of calls goes into the log's tables."""

    calls: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    payloads: list[dict[str, Any]]
    suggestions: list[dict[str, Any]]


def rows_of(batch: Sequence[Call], kept: Mapping[str, Payload]) -> Rows:
    """The rows of calls that are over; `kept` has the payloads of those that keep one."""
    return Rows(
        [call_row(call) for call in batch],
        [attempt_row(call, attempt) for call in batch for attempt in call.attempts],
        [{"call_id": call_id, "inputs": one.inputs, "result": one.result} for call_id, one in kept.items()],
        suggestions_of(batch, kept),
    )


def insert_calls(connection: Connection, batch: Sequence[Call], rows: Rows) -> None:
    """Insert calls, charge them, and let go of what they held; `rows` are those of the batch, made before all wait."""
    held = [call.call_id for call in batch if call.is_held]
    taken_back, buried = unbury(connection, held)
    insert_rows(connection, calls, rows.calls)
    insert_rows(connection, attempts, rows.attempts)
    insert_rows(connection, payloads, rows.payloads)
    insert_rows(connection, category_suggestions, rows.suggestions)
    release(connection, held)
    book(connection, [entry for call in batch if (entry := entry_for(call, buried)) is not None])
    add_calls(connection, rows.calls, removed=taken_back)


def entry_for(call: Call, buried: Mapping[str, Decimal]) -> Entry | None:
    """The ledger's line for a call; for one that was charged as an orphan, what sets that right."""
    if call.call_id not in buried:
        return call.entry()
    charged = buried[call.call_id]
    _, amount = call.owed()
    reason = "its process lived after all"
    entry = replace(call.entry_of("correction", (amount or Decimal(0)) - charged), reason=reason)
    return entry if entry.amount_usd else None


def unbury(connection: Connection, call_ids: Sequence[str]) -> tuple[list[RowMapping], dict[str, Decimal]]:
    """Take back the rows of calls that were taken for orphans: those rows, and what each was charged."""
    if not STORED.read(connection, [{"call_id": call_id} for call_id in call_ids]):
        return [], {}
    query = select(calls).where(calls.c.call_id.in_(call_ids), calls.c.error == DIED)
    rows = list(connection.execute(query).mappings())
    if not rows:
        return [], {}
    found = [row["call_id"] for row in rows]
    connection.execute(delete(calls).where(calls.c.call_id.in_(found)))
    lines = entries_of(connection, found)
    charged = {one: sum((line.amount_usd or Decimal(0) for line in lines[one]), Decimal(0)) for one in found}
    return rows, charged


def owners(connection: Connection) -> list[str]:
    """The processes that hold money."""
    return list(connection.scalars(select(reservations.c.owner).distinct()))


def settle_orphans(connection: Connection, dead: Iterable[str]) -> int:
    """Charge in full what the processes `dead` hold, with a row for each of those calls; how many.

    A call that is in the log was charged with it: only what it held still is let go.
    """
    lock_name(connection, "orphans")
    query = select(reservations).where(reservations.c.owner.in_(list(dead))).limit(MOST_ORPHANS)
    left = [orphan(Hold(**row)) for row in connection.execute(query).mappings()]
    release(connection, [call.call_id for call in left])
    logged = set(connection.scalars(select(calls.c.call_id).where(calls.c.call_id.in_([one.call_id for one in left]))))
    orphans = [call for call in left if call.call_id not in logged]
    if orphans:
        rows = [call_row(call) for call in orphans]
        insert_rows(connection, calls, rows)
        insert_rows(connection, attempts, [attempt_row(call, call.attempts[0]) for call in orphans])
        amounts = [(call, call.owed()[1]) for call in orphans]
        lines = [call.entry_of("orphan", amount) for call, amount in amounts if amount is None or amount]
        book(connection, [replace(line, entry_id=f"{line.call_id}/orphan") for line in lines])
        add_calls(connection, rows)
    return len(orphans)


def orphan(hold: Hold) -> Call:
    """The call behind a hold as far as anybody knows it: whom it asked, and what that cost, went with its process."""
    call = Call(
        call_id=hold.call_id,
        consumer=hold.consumer,
        task=hold.task,
        prompt_version=hold.prompt_version,
        model=hold.model,
        created_at=hold.created_at,
        started=0.0,
        deadline=0.0,
        attempts_left=0,
        status="failed",
        error=DIED,
        purpose=hold.purpose,
    )
    call.attempts.append(
        Attempt(
            number=1,
            deployment=UNKNOWN,
            model=UNKNOWN,
            purpose="answer",
            started_at=hold.created_at,
            status="abandoned",
            bound_usd=hold.amount_usd,
        )
    )
    return call


def call_row(call: Call) -> dict[str, Any]:
    """The row of a call that is over: its tokens and cost are the sums over its attempts."""
    usages = [attempt.usage for attempt in call.attempts if attempt.usage is not None]
    receipt = call.receipt() if call.attempts else NOTHING
    return {
        "call_id": call.call_id,
        "created_at": call.created_at,
        "consumer": call.consumer,
        "task": call.task,
        "prompt_version": call.prompt_version,
        "model": call.model,
        "deployment": call.deployment,
        "status": call.status,
        "error": call.error,
        "cached": call.cached,
        "latency_ms": round(call.latency_ms, 3),
        "dropped_evidence": call.dropped_evidence,
        "attempt_count": len(call.attempts),
        "input_tokens": receipt.input_tokens,
        "cached_input_tokens": receipt.cached_input_tokens,
        "cache_write_tokens": sum([usage.cache_write_tokens for usage in usages]),
        "output_tokens": receipt.output_tokens,
        "reasoning_tokens": sum([usage.reasoning_tokens for usage in usages]),
        "usage_estimated": any(usage.estimated for usage in usages),
        "cost_usd": receipt.cost_usd,
        "saved_usd": call.saved_usd,
        "client_call_id": None if call.origin is None else call.origin.client_call_id,
        "purpose": call.purpose,
        "beside": call.beside,
        "taxonomy_version": call.taxonomy_version,
    }


def attempt_row(call: Call, attempt: Attempt) -> dict[str, Any]:
    """The row of an attempt of `call`; its tokens are NULL where the usage is unknown."""
    usage = attempt.usage
    return {
        "call_id": call.call_id,
        "number": attempt.number,
        "deployment": attempt.deployment,
        "model": attempt.model,
        "purpose": attempt.purpose,
        "status": attempt.status,
        "error": attempt.error,
        "http_status": attempt.http_status,
        "finish_reason": attempt.finish_reason,
        "started_at": attempt.started_at,
        "latency_ms": round(attempt.latency_ms, 3),
        "uncached_input_tokens": usage and usage.uncached_input_tokens,
        "cache_read_tokens": usage and usage.cache_read_tokens,
        "cache_write_tokens": usage and usage.cache_write_tokens,
        "output_tokens": usage and usage.output_tokens,
        "reasoning_tokens": usage and usage.reasoning_tokens,
        "usage_estimated": usage is not None and usage.estimated,
        "cost_usd": attempt.cost_usd,
    }
