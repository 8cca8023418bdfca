"""Reads calls that were made to be compared, each with the call that it stands beside. Blocks: use a thread."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Select, select
from sqlalchemy.sql import ColumnElement

from feedback_gateway.calls.tables import calls, payloads
from feedback_gateway.storage.engine import reading

MOST_ROWS = 500
MOST_IDS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of two answers to one item; `result` is None where there was none, or the log keeps none."""

    call_id: str
    version: int
    model: str
    status: str
    result: Any = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """An answer that somebody got, and what another version or model said beside it, for a `purpose`."""

    purpose: str
    answered: Side
    beside: Side
    inputs: Any = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCall:
    """A call that may be made again: what went in, what came out, and what it took."""

    call_id: str
    task: str
    inputs: Any = field(repr=False)
    result: Any = field(repr=False)
    version: int
    model: str
    input_tokens: int
    output_tokens: int


class Pairs:
    """Comparable calls of the log. Raises ConfigurationError or Unavailable where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(
        self, task: str, *, since: datetime | None = None, until: datetime | None = None, consumer: str | None = None
    ) -> Iterator[Pair]:
        """Every pair of `task` whose second call was made in the period, newest first; of one consumer's answers.

        A replay of a call that was replayed before in the same way comes before that one.
        """
        query = pairs_query().where(BESIDE.c.task == task)
        query = query.where(*within(BESIDE.c.created_at, since, until))
        if consumer is not None:
            query = query.where(calls.c.consumer == consumer)
        order = (BESIDE.c.created_at.desc(), BESIDE.c.call_id.desc())
        with reading(self._engine) as connection:
            for row in connection.execution_options(yield_per=MOST_ROWS).execute(query.order_by(*order)).mappings():
                yield Pair(
                    purpose=row["purpose"],
                    answered=side_of(row, ""),
                    beside=side_of(row, "beside_"),
                    inputs=None if row["inputs"] is None else json.loads(row["inputs"]),
                )

    def answered(self, task: str | None, *, since: datetime | None, until: datetime | None) -> Iterator[StoredCall]:
        """The calls of a period that somebody got an answer for and whose texts are kept, oldest first."""
        names = ("call_id", "task", "prompt_version", "model", "input_tokens", "output_tokens")
        query = select(*(calls.c[name] for name in names), payloads.c.inputs, payloads.c.result)
        query = query.join(payloads, payloads.c.call_id == calls.c.call_id)
        query = query.where(calls.c.purpose == "answer", calls.c.status == "ok", payloads.c.result.is_not(None))
        query = query.where(*within(calls.c.created_at, since, until))
        if task is not None:
            query = query.where(calls.c.task == task)
        order = (calls.c.created_at, calls.c.call_id)
        with reading(self._engine) as connection:
            for row in connection.execution_options(yield_per=MOST_ROWS).execute(query.order_by(*order)).mappings():
                yield StoredCall(
                    call_id=row["call_id"],
                    task=row["task"],
                    inputs=json.loads(row["inputs"]),
                    result=json.loads(row["result"]),
                    version=row["prompt_version"],
                    model=row["model"],
                    input_tokens=row["input_tokens"],
                    output_tokens=row["output_tokens"],
                )

    def textless(self, task: str | None, *, since: datetime | None, until: datetime | None) -> int:
        """How many answers of a period the log has without their texts."""
        query = select(calls.c.call_id).outerjoin(payloads, payloads.c.call_id == calls.c.call_id)
        query = query.where(calls.c.purpose == "answer", calls.c.status == "ok", payloads.c.result.is_(None))
        query = query.where(*within(calls.c.created_at, since, until))
        if task is not None:
            query = query.where(calls.c.task == task)
        with reading(self._engine) as connection:
            return len(connection.execute(query).all())

    def replayed(self, call_ids: Sequence[str], *, version: int, model: str) -> dict[str, Any]:
        """The results of these calls' replays by that version and alias, as far as there are any; the newest ones."""
        found: dict[str, Any] = {}
        for start in range(0, len(call_ids), MOST_IDS):
            query = select(calls.c.beside, payloads.c.result).join(payloads, payloads.c.call_id == calls.c.call_id)
            query = query.where(
                calls.c.beside.in_(call_ids[start : start + MOST_IDS]),
                calls.c.purpose == "replay",
                calls.c.status == "ok",
                calls.c.prompt_version == version,
                calls.c.model == model,
                payloads.c.result.is_not(None),
            )
            with reading(self._engine) as connection:
                rows = connection.execute(query.order_by(calls.c.created_at)).all()
            found |= {beside: json.loads(result) for beside, result in rows}
        return found


BESIDE = calls.alias("beside")
ITS_PAYLOAD = payloads.alias("its_payload")
SHOWN = ("call_id", "prompt_version", "model", "status")


def pairs_query() -> Select[Any]:
    """Both calls of each pair, and what the log has of their texts."""
    columns: list[ColumnElement[Any]] = [calls.c[name] for name in SHOWN]
    columns += [BESIDE.c[name].label(f"beside_{name}") for name in SHOWN]
    columns += [BESIDE.c.purpose, payloads.c.inputs, payloads.c.result, ITS_PAYLOAD.c.result.label("beside_result")]
    return (
        select(*columns)
        .select_from(BESIDE)
        .join(calls, calls.c.call_id == BESIDE.c.beside)
        .outerjoin(payloads, payloads.c.call_id == calls.c.call_id)
        .outerjoin(ITS_PAYLOAD, ITS_PAYLOAD.c.call_id == BESIDE.c.call_id)
        .where(BESIDE.c.beside.is_not(None))
    )


def side_of(row: Any, prefix: str) -> Side:
    """One of the two calls in a row."""
    result = row[f"{prefix}result"]
    return Side(
        call_id=row[f"{prefix}call_id"],
        version=row[f"{prefix}prompt_version"],
        model=row[f"{prefix}model"],
        status=row[f"{prefix}status"],
        result=None if result is None else json.loads(result),
    )


def within(
    moment: ColumnElement[datetime], since: datetime | None, until: datetime | None
) -> list[ColumnElement[bool]]:
    """At `since` or later, and before `until`."""
    found: list[ColumnElement[bool]] = []
    if since is not None:
        found.append(moment >= since)
    if until is not None:
        found.append(moment < until)
    return found
