"""Stores calls with their attempts and reads them back, newest first. Blocks: call it from a thread."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, literal, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql import ColumnElement

from feedback_gateway.calls.booking import insert_calls, owners, rows_of, settle_orphans
from feedback_gateway.calls.models import Call, Payload
from feedback_gateway.calls.reports import parse_moment
from feedback_gateway.calls.tables import attempts, calls, payloads
from feedback_gateway.errors import InvalidRequest, NotFound, Problem
from feedback_gateway.storage.columns import UtcDateTime
from feedback_gateway.storage.engine import storage_errors, writing

MOST_ROWS = 200
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LARGEST_INTEGER = 2**31 - 1
DIGITS = re.compile(r"[0-9]{1,10}")
POSITION = re.compile(rb"(-?[0-9]{1,18}) ([0-9A-Za-z-]{1,64})")
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
NAMES = ("consumer", "task", "model", "deployment", "status", "client_call_id", "purpose", "taxonomy_version")


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
    client_call_id: str | None
    purpose: str
    beside: str | None
    taxonomy_version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilters:
    """Which calls are wanted: all of what is set must hold. `since` is included, `until` is not."""

    consumer: str | None = None
    task: str | None = None
    model: str | None = None
    deployment: str | None = None
    status: str | None = None
    client_call_id: str | None = None
    purpose: str | None = None
    cached: bool | None = None
    prompt_version: int | None = None
    taxonomy_version: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of calls; `next_cursor` is None on the last."""

    data: tuple[CallRecord, ...]
    next_cursor: str | None


def no_payload(_: Call) -> Payload | None:
    """Keeps nothing of what was written and answered."""
    return None


class CallRepository:
    """The call log in the database. Raises ConfigurationError or Unavailable where the database fails."""

    def __init__(self, engine: Engine, *, payload: Callable[[Call], Payload | None] = no_payload) -> None:
        self._engine = engine
        self._payload = payload

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
        """The call and its attempts in order; of `consumer` only, where one is named. Raises NotFound.

        Where no call has the id, it is the newest one that its sender gave this id.
        """
        if not is_storable(call_id):
            raise NotFound("no such call")
        newest_first = select(calls).order_by(calls.c.created_at.desc(), calls.c.call_id.desc()).limit(1)
        if consumer is not None:
            newest_first = newest_first.where(calls.c.consumer == consumer)
        with storage_errors(self._engine), self._engine.connect() as connection:
            for column in (calls.c.call_id, calls.c.client_call_id):
                row = connection.execute(newest_first.where(column == call_id)).mappings().first()
                if row is not None:
                    break
            else:
                raise NotFound(
                    f"no call {call_id}; a request that was turned away is none, and one under way is not there yet"
                )
            tried = select(attempts).where(attempts.c.call_id == row["call_id"]).order_by(attempts.c.number)
            return CallRecord(**row), tuple(AttemptRecord(**one) for one in connection.execute(tried).mappings())

    def payload(self, call_id: str) -> Payload | None:
        """What is kept of a call's texts."""
        query = select(payloads.c.inputs, payloads.c.result).where(payloads.c.call_id == call_id)
        with storage_errors(self._engine), self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else Payload(*row)

    def settle_orphans(self, is_alive: Callable[[str], bool]) -> int:
        """Settle, at its bound, every call that a process held money for and did not live to log; how many."""
        with storage_errors(self._engine), self._engine.connect() as connection:
            dead = [owner for owner in owners(connection) if not is_alive(owner)]
        if not dead:
            return 0
        with writing(self._engine) as connection:
            return settle_orphans(connection, dead)

    def _insert(self, batch: Sequence[Call]) -> None:
        if not batch:
            return
        kept = {call.call_id: payload for call in batch if (payload := self._payload(call)) is not None}
        rows = rows_of(batch, kept)
        with writing(self._engine) as connection:
            insert_calls(connection, batch, rows)

    def _stored(self, batch: Sequence[Call]) -> set[str]:
        query = select(calls.c.call_id).where(calls.c.call_id.in_([call.call_id for call in batch]))
        with self._engine.connect() as connection:
            return set(connection.scalars(query))


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
    return encode_position(record.created_at, record.call_id)


def encode_position(created_at: datetime, row_id: str) -> str:
    """The position after a row of any table that is sorted by time and id."""
    microseconds = (created_at - EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(f"{microseconds} {row_id}".encode()).decode().rstrip("=")


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
