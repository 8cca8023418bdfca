"""Stores calls with their attempts and reads them back, newest first. Blocks: call it from a thread."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, insert, literal, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql import ColumnElement

from feedback_gateway.calls.models import Attempt, Call
from feedback_gateway.calls.reports import parse_moment
from feedback_gateway.calls.tables import attempts, calls
from feedback_gateway.errors import InvalidRequest, NotFound, Problem
from feedback_gateway.storage.columns import UtcDateTime
from feedback_gateway.storage.engine import storage_errors

MOST_ROWS = 200
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LARGEST_INTEGER = 2**31 - 1
DIGITS = re.compile(r"[0-9]{1,10}")
POSITION = re.compile(rb"(-?[0-9]{1,18}) ([0-9A-Za-z-]{1,64})")
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
NAMES = ("consumer", "task", "model", "deployment", "status")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """A stored attempt. Token counts are disjoint, but for `reasoning_tokens`; None where nobody knows them."""

    call_id: str
    number: int
    deployment: str
    model: str
    purpose: str
    status: str
    error: str | None
    http_status: int | None
    finish_reason: str | None
    started_at: datetime
    latency_ms: float
    uncached_input_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    usage_estimated: bool
    cost_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """A stored call. `input_tokens` counts the whole prompt; a `cost_usd` of None is unknown, not zero."""

    call_id: str
    created_at: datetime
    consumer: str
    task: str
    prompt_version: int
    model: str
    deployment: str | None
    status: str
    error: str | None
    cached: bool
    latency_ms: float
    dropped_evidence: int
    attempt_count: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    usage_estimated: bool
    cost_usd: Decimal | None
    saved_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilters:
    """Which calls are wanted: all of what is set must hold. `since` is included, `until` is not."""

    consumer: str | None = None
    task: str | None = None
    model: str | None = None
    deployment: str | None = None
    status: str | None = None
    cached: bool | None = None
    prompt_version: int | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of calls; `next_cursor` is None on the last."""

    data: tuple[CallRecord, ...]
    next_cursor: str | None


class CallRepository:
    """The call log in the database. Raises ConfigurationError or Unavailable where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, batch: Sequence[Call]) -> None:
        """Write calls with their attempts, all or none. A call that is stored already is left as it is.

        So a batch whose commit was not confirmed may be added again. Raises SQLAlchemyError for a row that the
        database refuses for what it holds.
        """
        with storage_errors(self._engine):
            try:
                self._insert(batch)
            except IntegrityError:
                stored = self._stored(batch)
                if not stored:
                    raise
                self._insert([call for call in batch if call.call_id not in stored])

    def page(self, filters: CallFilters, *, limit: int = 50, cursor: str | None = None) -> Page:
        """Up to `limit` (1 to 200) calls, newest first, from where `cursor` points.

        Walking the pages gives every call that was there at the start once, whatever is added meanwhile.
        Raises InvalidRequest for a limit or cursor that cannot be.
        """
        if not 1 <= limit <= MOST_ROWS:
            raise _invalid("limit", f"must be from 1 to {MOST_ROWS}")
        query = select(calls).order_by(calls.c.created_at.desc(), calls.c.call_id.desc()).limit(limit + 1)
        query = query.where(*_conditions(filters))
        if cursor is not None:
            created_at, call_id = decode_cursor(cursor)
            position = tuple_(literal(created_at, UtcDateTime), literal(call_id))
            query = query.where(tuple_(calls.c.created_at, calls.c.call_id) < position)
        with storage_errors(self._engine), self._engine.connect() as connection:
            rows = [CallRecord(**row) for row in connection.execute(query).mappings()]
        data = tuple(rows[:limit])
        return Page(data, encode_cursor(data[-1]) if len(rows) > limit else None)

    def get(self, call_id: str, *, consumer: str | None = None) -> tuple[CallRecord, tuple[AttemptRecord, ...]]:
        """The call and its attempts in order; of `consumer` only, where one is named. Raises NotFound."""
        if not is_storable(call_id):
            raise NotFound("no such call")
        query = select(calls).where(calls.c.call_id == call_id)
        if consumer is not None:
            query = query.where(calls.c.consumer == consumer)
        tried = select(attempts).where(attempts.c.call_id == call_id).order_by(attempts.c.number)
        with storage_errors(self._engine), self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
            if row is None:
                raise NotFound(
                    f"no call {call_id}; a request that was turned away is none, and one under way is not there yet"
                )
            return CallRecord(**row), tuple(AttemptRecord(**one) for one in connection.execute(tried).mappings())

    def _insert(self, batch: Sequence[Call]) -> None:
        if not batch:
            return
        tried = [attempt_row(call, attempt) for call in batch for attempt in call.attempts]
        with self._engine.begin() as connection:
            connection.execute(insert(calls), [call_row(call) for call in batch])
            if tried:
                connection.execute(insert(attempts), tried)

    def _stored(self, batch: Sequence[Call]) -> set[str]:
        query = select(calls.c.call_id).where(calls.c.call_id.in_([call.call_id for call in batch]))
        with self._engine.connect() as connection:
            return set(connection.scalars(query))


def call_row(call: Call) -> dict[str, Any]:
    """The row of a call that is over: its tokens and cost are the sums over its attempts."""
    usages = [attempt.usage for attempt in call.attempts if attempt.usage is not None]
    receipt = call.receipt()
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
        "cache_write_tokens": sum(usage.cache_write_tokens for usage in usages),
        "output_tokens": receipt.output_tokens,
        "reasoning_tokens": sum(usage.reasoning_tokens for usage in usages),
        "usage_estimated": any(usage.estimated for usage in usages),
        "cost_usd": receipt.cost_usd,
        "saved_usd": Decimal(0),
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


def parse_filters(values: Mapping[str, str], *, now: datetime) -> CallFilters:
    """Read filters as they stand in a query string, `since` and `until` as in `parse_moment`.

    Raises InvalidRequest that names every unknown filter and every value that cannot be.
    """
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in values.items():
        try:
            found[name] = _filter_value(name, value, now=now)
        except InvalidRequest as error:
            problems += error.problems
    if problems:
        raise InvalidRequest("; ".join(f"{problem.loc[0]}: {problem.msg}" for problem in problems), problems=problems)
    return CallFilters(**found)


def encode_cursor(record: CallRecord) -> str:
    """The position after `record`, opaque to whoever gets it."""
    microseconds = (record.created_at - EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(f"{microseconds} {record.call_id}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[datetime, str]:
    """The moment and id that `encode_cursor` wrote. Raises InvalidRequest for anything else."""
    try:
        plain = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        if position := POSITION.fullmatch(plain):
            return EPOCH + timedelta(microseconds=int(position[1])), position[2].decode()
    except (binascii.Error, ValueError, OverflowError):
        pass
    raise _invalid("cursor", "is none that this gateway gave out; begin again without one")


def is_storable(value: str) -> bool:
    """Whether every database can hold `value`: no NUL, and no half of a surrogate pair."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def _filter_value(name: str, value: str, *, now: datetime) -> object:
    match name:
        case "since" | "until":
            return parse_moment(value, now=now, name=name)
        case "cached" if value.lower() in BOOLEANS:
            return BOOLEANS[value.lower()]
        case "cached":
            raise _invalid(name, "must be true or false")
        case "prompt_version" if DIGITS.fullmatch(value) and int(value) <= LARGEST_INTEGER:
            return int(value)
        case "prompt_version":
            raise _invalid(name, "must be a whole number")
        case _ if name not in NAMES:
            raise _invalid(name, f"unknown filter; there are {', '.join(CallFilters.__slots__)}")
        case _ if not is_storable(value):
            raise _invalid(name, "holds characters that no name has")
    return value


def _conditions(filters: CallFilters) -> list[ColumnElement[bool]]:
    wanted = asdict(filters)
    since, until = wanted.pop("since"), wanted.pop("until")
    conditions: list[ColumnElement[bool]] = []
    conditions += [calls.c[name] == value for name, value in wanted.items() if value is not None]
    if since is not None:
        conditions.append(calls.c.created_at >= since)
    if until is not None:
        conditions.append(calls.c.created_at < until)
    return conditions


def _invalid(name: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{name}: {message}", problems=[Problem((name,), message)])
