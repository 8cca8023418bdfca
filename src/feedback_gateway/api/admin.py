"""`/v1/admin`: consumers, their keys and the ledger. Every route here takes an admin key."""

from functools import partial
from typing import Annotated, Any

from fastapi import Query as InQuery
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from feedback_gateway.api.admin_bodies import (
    ConsumerBody,
    ConsumerChanges,
    CorrectionBody,
    KeyBody,
    KeyChanges,
    RotationBody,
    read_body,
)
from feedback_gateway.api.calls import Name
from feedback_gateway.api.deps import Json, PageQuery, ServicesDep, in_thread, settle
from feedback_gateway.api.rendering import moment, money
from feedback_gateway.consumers.models import Consumer, Key, NewKey
from feedback_gateway.errors import InvalidRequest, Problem
from feedback_gateway.ledger.models import Budget, Entry, Standing


class KeysQuery(PageQuery):
    """Whose keys."""

    consumer: Name = None


class LedgerQuery(PageQuery):
    """Which lines of the ledger."""

    consumer: Name = None
    call_id: Annotated[str | None, Field(max_length=40, pattern=r"^[^\x00]*$")] = None


async def create_consumer(request: Request, services: ServicesDep) -> Response:
    """Add a consumer."""
    body = await read_body(request, ConsumerBody)
    consumer = await in_thread(services.books.consumers.add, body.consumer())
    return JSONResponse(consumer_json(consumer), status_code=201)


async def list_consumers(services: ServicesDep, query: Annotated[PageQuery, InQuery()]) -> Json:
    """Consumers, in the order in which they were added."""
    found = await in_thread(services.books.consumers.list_consumers, after=query.cursor, limit=query.limit + 1)
    return page([consumer_json(one) for one in found], limit=query.limit)


async def read_consumer(services: ServicesDep, consumer: str) -> Json:
    """One consumer, by id or name, and how its budgets stand."""
    found = await in_thread(services.books.consumers.find, consumer)
    standings = await in_thread(services.books.ledger.standings, found.name, found.budgets, now=services.clock.now())
    return consumer_json(found) | {"standings": [standing_json(one) for one in standings]}


async def change_consumer(request: Request, services: ServicesDep, consumer: str) -> Json:
    """Change what is given; what is not stays."""
    body = await read_body(request, ConsumerChanges)
    changes = partial(body.changes, now=services.clock.now())
    return consumer_json(await in_thread(services.books.consumers.change, consumer, changes))


async def disable_consumer(services: ServicesDep, consumer: str) -> Response:
    """Refuse the consumer's keys from now on; what it did stays in the log."""
    await in_thread(services.books.consumers.disable, consumer)
    return Response(status_code=204)


async def create_key(request: Request, services: ServicesDep) -> Response:
    """Make a key; this is the only time that it is shown."""
    body = await read_body(request, KeyBody)
    refuse_past(body.expires_at is not None and body.expires_at <= services.clock.now())
    made = await in_thread(
        services.books.consumers.create_key, body.consumer, is_admin=body.admin, expires_at=body.expires_at
    )
    return JSONResponse(new_key_json(made), status_code=201)


async def list_keys(services: ServicesDep, query: Annotated[KeysQuery, InQuery()]) -> Json:
    """Keys, without what would let anybody in."""
    found = await in_thread(
        services.books.consumers.list_keys, consumer=query.consumer, after=query.cursor, limit=query.limit + 1
    )
    return page([key_json(one) for one in found], limit=query.limit)


async def read_key(services: ServicesDep, key_id: str) -> Json:
    """One key, without what would let anybody in."""
    return key_json(await in_thread(services.books.consumers.key, key_id))


async def change_key(request: Request, services: ServicesDep, key_id: str) -> Json:
    """Let a key end at another moment."""
    body = await read_body(request, KeyChanges)
    return key_json(await in_thread(services.books.consumers.change_key, key_id, expires_at=body.expires_at))


async def revoke_key(services: ServicesDep, key_id: str) -> Response:
    """Refuse a key from now on."""
    await in_thread(services.books.consumers.revoke_key, key_id)
    return Response(status_code=204)


async def rotate_key(request: Request, services: ServicesDep, key_id: str) -> Response:
    """Make a key in place of another, which ends after the grace time."""
    body = await read_body(request, RotationBody, is_optional=True)
    made = await in_thread(services.books.consumers.rotate_key, key_id, grace=body.grace)
    return JSONResponse(new_key_json(made), status_code=201)


async def list_ledger(services: ServicesDep, query: Annotated[LedgerQuery, InQuery()]) -> Json:
    """Lines of the ledger, newest first."""
    await settle(services)
    found = await in_thread(
        services.books.ledger.entries,
        call_id=query.call_id,
        consumer=query.consumer,
        after=query.cursor,
        limit=query.limit + 1,
    )
    rows = [entry_json(one) for one in found]
    return page(rows, limit=query.limit)


async def correct(request: Request, services: ServicesDep) -> Response:
    """Append what makes a call's charges sum up to `cost_usd`; nothing that was written is changed."""
    body = await read_body(request, CorrectionBody)
    entry = await in_thread(
        services.books.corrections.correct,
        body.call_id,
        body.cost_usd,
        by=request.state.caller.consumer.name,
        reason=body.reason,
    )
    return JSONResponse(entry_json(entry), status_code=201)


def page(rows: list[Json], *, limit: int) -> Json:
    """One page of a list whose rows were asked for with one more than `limit`."""
    return {"data": rows[:limit], "next_cursor": rows[limit - 1]["id"] if len(rows) > limit else None}


def refuse_past(is_past: bool) -> None:  # noqa: FBT001 one question
    """Raises InvalidRequest for a key that would be dead at birth."""
    if is_past:
        message = "lies in the past"
        raise InvalidRequest(f"expires_at: {message}", problems=[Problem(("expires_at",), message)])


def consumer_json(consumer: Consumer) -> dict[str, Any]:
    """A consumer as it is stored."""
    shared = [budget for budget in consumer.budgets if budget.task is None]
    return {
        "id": consumer.id,
        "name": consumer.name,
        "created_at": None if consumer.created_at is None else moment(consumer.created_at),
        "disabled_at": None if consumer.disabled_at is None else moment(consumer.disabled_at),
        "budget": budget_json(shared[0]) if shared else None,
        "task_budgets": {one.task: budget_json(one) for one in consumer.budgets if one.task is not None},
        "limits": {
            "requests_per_minute": consumer.limits.requests_per_minute,
            "tokens_per_minute": consumer.limits.tokens_per_minute,
        },
        "scopes": {
            "tasks": None if consumer.scopes.tasks is None else sorted(consumer.scopes.tasks),
            "models": None if consumer.scopes.models is None else sorted(consumer.scopes.models),
        },
    }


def budget_json(budget: Budget) -> dict[str, Any]:
    """A budget in the words in which it is given."""
    return {"limit_usd": money(budget.limit_usd), "period": budget.period, "warn_at": float(budget.warn_at)}


def standing_json(standing: Standing) -> dict[str, Any]:
    """How a budget stands; `used` is (spent + reserved) / limit."""
    return budget_json(standing.budget) | {
        "task": standing.budget.task,
        "spent_usd": money(standing.spent_usd),
        "reserved_usd": money(standing.reserved_usd),
        "used": float(standing.used),
        "warning": standing.is_warning,
        "resets_at": None if standing.resets_at is None else moment(standing.resets_at),
    }


def key_json(key: Key) -> dict[str, Any]:
    """A key without its secret and its hash."""
    return {
        "id": key.id,
        "consumer": key.consumer,
        "prefix": key.prefix,
        "admin": key.is_admin,
        "created_at": moment(key.created_at),
        "expires_at": None if key.expires_at is None else moment(key.expires_at),
        "revoked_at": None if key.revoked_at is None else moment(key.revoked_at),
    }


def new_key_json(made: NewKey) -> dict[str, Any]:
    """A key with its secret, once."""
    return key_json(made.key) | {"key": made.secret}


def entry_json(entry: Entry) -> dict[str, Any]:
    """A line of the ledger; an amount of None is one that nobody knows."""
    return {
        "id": entry.entry_id,
        "call_id": entry.call_id,
        "kind": entry.kind,
        "amount_usd": money(entry.amount_usd),
        "consumer": entry.consumer,
        "task": entry.task,
        "model": entry.model,
        "booked_at": moment(entry.booked_at),
        "created_at": moment(entry.created_at),
        "by": entry.by,
        "reason": entry.reason,
    }
