"""Stores items with the runs that are to analyse them, and reads them back, newest first.

Blocks: call it from a thread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, func, literal, select, tuple_
from sqlalchemy.sql import ColumnElement, Select

from feedback_gateway.calls.repository import MOST_ROWS, decode_cursor, encode_position, is_storable
from feedback_gateway.clock import Clock
from feedback_gateway.errors import InvalidRequest, NotFound, Problem
from feedback_gateway.feedback.models import (
    Analysis,
    Correction,
    FeedbackItem,
    ItemHistory,
    Job,
    NewItem,
    Placed,
    Run,
    RunStatus,
    first_run_id,
)
from feedback_gateway.feedback.tables import analyses, corrections, feedback_items, job_runs, jobs, runs
from feedback_gateway.storage.columns import UtcDateTime
from feedback_gateway.storage.engine import reading, storage_errors, writing
from feedback_gateway.storage.upserts import insert_or_update, insert_rows

KEY = ("consumer", "source", "external_id")
MOST_PROBLEMS = 10
CHUNK = 500
"""External ids that one statement looks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFilters:
    """Which items are wanted: all of what is set must hold. `since` is included, `until` is not."""

    consumer: str | None = None
    source: str | None = None
    external_id: str | None = None
    author_id: str | None = None
    status: str | None = None
    rating: float | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ItemPage:
    """One page of items, each with all that was made of it; `next_cursor` is None on the last."""

    data: tuple[ItemHistory, ...]
    next_cursor: str | None


class FeedbackRepository:
    """Stored feedback. Raises ConfigurationError or Unavailable where the database fails."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def add(
        self, items: Sequence[NewItem], *, consumer: str, task: str, job_id: str | None = None
    ) -> tuple[str, list[Placed]]:
        """Store items and what is to be done with them, all or none; the id of the job, and where each item is.

        With `job_id` they join a job that there is. One of the same source and external id as a stored one of this
        consumer is that one, which stays as it is.
        """
        rows = [self._row(item, consumer=consumer) for item in items]
        job_id = job_id or self._clock.new_id()
        job = {"job_id": job_id, "consumer": consumer, "kind": "analyse", "created_at": self._clock.now()}
        with writing(self._engine) as connection:
            named = [row for row in rows if row["external_id"] is not None]
            insert_or_update(connection, feedback_items, named, key=KEY)
            insert_rows(connection, feedback_items, [row for row in rows if row["external_id"] is None])
            known = item_ids(connection, named)
            placed = [known.get(tuple(row[name] for name in KEY), row["item_id"]) for row in rows]
            new = {row["item_id"] for row in rows}.intersection(placed)
            begun = [first_run(row, task=task) for row in rows if row["item_id"] in new]
            insert_rows(connection, runs, begun)
            insert_or_update(connection, jobs, [job])
            wanted = [run["run_id"] for run in begun] + first_run_ids(connection, set(placed) - new)
            insert_or_update(connection, job_runs, [{"job_id": job_id, "run_id": run_id} for run_id in wanted])
        return job_id, [
            Placed(item_id=one, is_new=row["item_id"] == one) for one, row in zip(placed, rows, strict=True)
        ]

    def page(self, filters: ItemFilters, *, limit: int = 50, cursor: str | None = None) -> ItemPage:
        """Up to `limit` (1 to 200) items, newest first, from where `cursor` points.

        Raises InvalidRequest for a limit or cursor that cannot be.
        """
        if not 1 <= limit <= MOST_ROWS:
            message = f"must be from 1 to {MOST_ROWS}"
            raise InvalidRequest(f"limit: {message}", problems=[Problem(("limit",), message)])
        newest = (feedback_items.c.created_at.desc(), feedback_items.c.item_id.desc())
        query = select(feedback_items).where(*conditions(filters)).order_by(*newest).limit(limit + 1)
        if cursor is not None:
            created_at, item_id = decode_cursor(cursor)
            position = tuple_(literal(created_at, UtcDateTime), literal(item_id))
            query = query.where(tuple_(feedback_items.c.created_at, feedback_items.c.item_id) < position)
        with storage_errors(self._engine), reading(self._engine) as connection:
            items = [FeedbackItem(**row) for row in connection.execute(query).mappings()]
            data = histories(connection, items[:limit])
        last = data[-1].item if len(items) > limit else None
        return ItemPage(tuple(data), None if last is None else encode_position(last.created_at, last.item_id))

    def get(self, item_id: str, *, consumer: str | None = None) -> ItemHistory:
        """One item, of `consumer` only where one is named. Raises NotFound."""
        query = select(feedback_items).where(feedback_items.c.item_id == item_id)
        if consumer is not None:
            query = query.where(feedback_items.c.consumer == consumer)
        if is_storable(item_id):
            with storage_errors(self._engine), reading(self._engine) as connection:
                items = [FeedbackItem(**row) for row in connection.execute(query).mappings()]
                for history in histories(connection, items):
                    return history
        raise NotFound("no such item")

    def job(self, job_id: str, *, consumer: str | None = None) -> Job:
        """How far a job is, of `consumer` only where one is named. Raises NotFound."""
        query = select(jobs).where(jobs.c.job_id == job_id)
        if consumer is not None:
            query = query.where(jobs.c.consumer == consumer)
        count = select(runs.c.status, func.count()).join_from(job_runs, runs).group_by(runs.c.status)
        if is_storable(job_id):
            with storage_errors(self._engine), reading(self._engine) as connection:
                row = connection.execute(query).mappings().first()
                if row is not None:
                    counted = connection.execute(count.where(job_runs.c.job_id == job_id))
                    problems = connection.execute(frequent_problems(job_id))
                    return Job(
                        **row,
                        counts={line[0]: line[1] for line in counted},
                        problems={line[0]: line[1] for line in problems},
                    )
        raise NotFound("no such job")

    def _row(self, item: NewItem, *, consumer: str) -> dict[str, Any]:
        now = self._clock.now()
        status: RunStatus = "stored"
        row = asdict(item) | {"item_id": self._clock.new_id(), "consumer": consumer, "received_at": now}
        return row | {"created_at": item.created_at or now, "status": status}


def item_ids(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], str]:
    """The id under which each of `rows`, which have external ids, is stored."""
    columns = [feedback_items.c[name] for name in KEY]
    found: dict[tuple[Any, ...], str] = {}
    keys = list({tuple(row[name] for name in KEY) for row in rows})
    for start in range(0, len(keys), CHUNK):
        query = select(feedback_items.c.item_id, *columns).where(tuple_(*columns).in_(keys[start : start + CHUNK]))
        found |= {tuple(key): item_id for item_id, *key in connection.execute(query)}
    return found


def first_run(row: Mapping[str, Any], *, task: str) -> dict[str, Any]:
    """What is to be done with a new item."""
    item_id = row["item_id"]
    run: dict[str, Any] = {"run_id": first_run_id(item_id, task), "item_id": item_id, "task": task, "options": {}}
    return run | {"status": "stored", "tries": 0, "due_at": row["received_at"]}


def first_run_ids(connection: Connection, item_ids: set[str]) -> list[str]:
    """The first runs of items that were there before."""
    found: list[str] = []
    wanted = sorted(item_ids)
    for start in range(0, len(wanted), CHUNK):
        part = wanted[start : start + CHUNK]
        query = select(runs.c.run_id).where(runs.c.item_id.in_(part), runs.c.run_id.endswith(":first"))
        found += connection.scalars(query)
    return found


def histories(connection: Connection, items: Sequence[FeedbackItem]) -> list[ItemHistory]:
    """Items with all that was ever made of them, in the order of `items`."""
    ids = [item.item_id for item in items]
    made = by_item(connection, analyses, ids, newest=(analyses.c.at, analyses.c.analysis_id))
    corrected = by_item(connection, corrections, ids, newest=(corrections.c.at, corrections.c.correction_id))
    wanted = by_item(connection, runs, ids, newest=(runs.c.due_at, runs.c.run_id))
    return [
        ItemHistory(
            item=item,
            analyses=tuple(Analysis(**row) for row in made.get(item.item_id, ())),
            corrections=tuple(Correction(**row) for row in corrected.get(item.item_id, ())),
            runs=tuple(Run(**row) for row in wanted.get(item.item_id, ())),
        )
        for item in items
    ]


def frequent_problems(job_id: str) -> Select[Any]:
    """Why runs of a job wait or failed, and how many for each reason."""
    count = func.count()
    query = select(runs.c.problem, count).join_from(job_runs, runs).where(job_runs.c.job_id == job_id)
    query = query.where(runs.c.status.in_(("waiting", "failed")), runs.c.problem.is_not(None))
    return query.group_by(runs.c.problem).order_by(count.desc(), runs.c.problem).limit(MOST_PROBLEMS)


def by_item(
    connection: Connection, table: Any, ids: Sequence[str], *, newest: Sequence[ColumnElement[Any]]
) -> dict[str, list[RowMapping]]:
    """The rows of `table` of each item, the newest first."""
    query = select(table).where(table.c.item_id.in_(ids)).order_by(*(column.desc() for column in newest))
    found: dict[str, list[RowMapping]] = {}
    for row in connection.execute(query).mappings() if ids else ():
        found.setdefault(row["item_id"], []).append(row)
    return found


def conditions(filters: ItemFilters) -> list[ColumnElement[bool]]:
    """What a query asks for."""
    wanted = asdict(filters)
    since, until = wanted.pop("since"), wanted.pop("until")
    found: list[ColumnElement[bool]] = []
    found += [feedback_items.c[name] == value for name, value in wanted.items() if value is not None]
    if since is not None:
        found.append(feedback_items.c.created_at >= since)
    if until is not None:
        found.append(feedback_items.c.created_at < until)
    return found
