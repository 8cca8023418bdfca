"""The call log over HTTP: newest first, page by page, and one call with its attempts."""

import json
from typing import Annotated, Any, Literal

from fastapi import Query as InQuery
from pydantic import Field, WithJsonSchema

from feedback_gateway.api.deps import CallerDep, Json, PageQuery, ServicesDep, in_thread, query_errors, settle, visible
from feedback_gateway.api.rendering import moment, money
from feedback_gateway.calls.repository import AttemptRecord, CallRecord, parse_filters
from feedback_gateway.ledger.models import Entry

Name = Annotated[str | None, Field(max_length=200, pattern=r"^[^\x00]*$")]
MOMENT_SCHEMA = {
    "description": "30m, 24h, 7d or 2w before now, a date, or a time",
    "anyOf": [
        {"type": "string", "pattern": "^[0-9]{1,4}[smhdw]$"},
        {"type": "string", "format": "date"},
        {"type": "string", "format": "date-time"},
    ],
}
Moment = Annotated[str | None, Field(max_length=40), WithJsonSchema(MOMENT_SCHEMA)]


class CallsQuery(PageQuery):
    """Filters by field name; all of them must hold. `since` is included, `until` is not."""

    consumer: Name = None
    task: Name = None
    model: Name = None
    deployment: Name = None
    client_call_id: Name = None
    purpose: Literal["answer", "shadow", "replay"] | None = None
    status: Literal["ok", "failed", "cancelled"] | None = None
    cached: Literal["true", "false"] | None = None
    prompt_version: Annotated[int | None, Field(ge=1, le=2**31 - 1)] = None
    taxonomy_version: Name = None
    since: Moment = None
    until: Moment = None


async def list_calls(services: ServicesDep, caller: CallerDep, query: Annotated[CallsQuery, InQuery()]) -> Json:
    """One page of the call log, newest first; a consumer sees its own."""
    wanted = query.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
    if (consumer := visible(caller, query.consumer)) is not None:
        wanted["consumer"] = consumer
    await settle(services)
    with query_errors():
        filters = parse_filters({name: str(value) for name, value in wanted.items()}, now=services.clock.now())
        page = await in_thread(services.books.calls.page, filters, limit=query.limit, cursor=query.cursor)
    return {"data": [call_json(record) for record in page.data], "next_cursor": page.next_cursor}


async def read_call(services: ServicesDep, caller: CallerDep, call_id: str) -> Json:
    """One call, every attempt made for it, what it was charged, and its texts as far as they are kept.

    By its id, or by the `x-call-id` that it was sent with: then the newest.
    """
    await settle(services)
    call, attempts = await in_thread(services.books.calls.get, call_id, consumer=caller.sees)
    payload = await in_thread(services.books.calls.payload, call.call_id)
    charges = await in_thread(services.books.ledger.entries, call_id=call.call_id)
    return call_json(call) | {
        "attempts": [attempt_json(attempt) for attempt in attempts],
        "charges": [charge_json(entry) for entry in reversed(charges)],
        "inputs": payload and json.loads(payload.inputs),
        "result": payload and payload.result and json.loads(payload.result),
    }


def call_json(call: CallRecord) -> dict[str, Any]:
    """A row of the log; `cost_usd` is None where it is unknown."""
    return {
        "call_id": call.call_id,
        "client_call_id": call.client_call_id,
        "created_at": moment(call.created_at),
        "consumer": call.consumer,
        "task": call.task,
        "prompt_version": call.prompt_version,
        "taxonomy_version": call.taxonomy_version,
        "model": call.model,
        "deployment": call.deployment,
        "status": call.status,
        "error": call.error,
        "cached": call.cached,
        "latency_ms": call.latency_ms,
        "attempt_count": call.attempt_count,
        "dropped_evidence": call.dropped_evidence,
        "usage": {
            "input_tokens": call.input_tokens,
            "cached_input_tokens": call.cached_input_tokens,
            "cache_write_tokens": call.cache_write_tokens,
            "output_tokens": call.output_tokens,
            "reasoning_tokens": call.reasoning_tokens,
            "estimated": call.usage_estimated,
            "cost_usd": money(call.cost_usd),
        },
        "saved_usd": money(call.saved_usd),
        "purpose": call.purpose,
        "beside": call.beside,
    }


def charge_json(entry: Entry) -> dict[str, Any]:
    """A line of the ledger about this call."""
    return {
        "kind": entry.kind,
        "amount_usd": money(entry.amount_usd),
        "created_at": moment(entry.created_at),
        "reason": entry.reason,
    }


def attempt_json(attempt: AttemptRecord) -> dict[str, Any]:
    """One request to one deployment; its input tokens are in disjoint parts, None where nobody knows them."""
    return {
        "number": attempt.number,
        "deployment": attempt.deployment,
        "model": attempt.model,
        "purpose": attempt.purpose,
        "status": attempt.status,
        "error": attempt.error,
        "http_status": attempt.http_status,
        "finish_reason": attempt.finish_reason,
        "started_at": moment(attempt.started_at),
        "latency_ms": attempt.latency_ms,
        "usage": {
            "uncached_input_tokens": attempt.uncached_input_tokens,
            "cache_read_tokens": attempt.cache_read_tokens,
            "cache_write_tokens": attempt.cache_write_tokens,
            "output_tokens": attempt.output_tokens,
            "reasoning_tokens": attempt.reasoning_tokens,
            "estimated": attempt.usage_estimated,
            "cost_usd": money(attempt.cost_usd),
        },
    }
