"""Which runs are due, who works on them, and what came of them. Blocks: call it from a thread.

A run belongs to a bundle from when it is queued until it has an outcome, and only its bundle may give it one.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, case, exists, func, literal, select, update
from sqlalchemy.sql import ColumnElement, Select

from feedback_gateway.clock import Clock
from feedback_gateway.feedback.models import DISPUTED, OPEN, Analysis, FeedbackItem, Run, first_run_id
from feedback_gateway.feedback.tables import analyses, corrections, feedback_items, runs
from feedback_gateway.jobs.models import Found, Later, Outcome, Work
from feedback_gateway.storage.engine import reading, storage_errors, writing
from feedback_gateway.storage.locks import lock_name
from feedback_gateway.storage.upserts import insert_or_update

CHUNK = 500
"""Runs that one statement names."""


class RunRepository:
    """The runs. Raises ConfigurationError or Unavailable where the database fails."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def is_anything_open(self) -> bool:
        """Whether there is, or will be, anything to do."""
        with storage_errors(self._engine), self._engine.connect() as connection:
            return bool(connection.scalar(select(exists().where(runs.c.status.in_(OPEN)))))

    def claim(self, *, most: int, look_after_s: float, without: Collection[str] = ()) -> str | None:
        """Queue up to `most` runs that are due as one new bundle; its id, None where there are none.

        They are of one consumer, task and set of options; the consumers `without` have to wait. Runs that were tried
        go first.
        """
        now, bundle = self._clock.now(), self._clock.new_id()
        with writing(self._engine) as connection:
            lock_name(connection, "runs")
            for status in ("waiting", "stored"):
                chosen = alike(connection, due(status, now=now, without=without), most=most)
                if chosen:
                    changes = {"status": "queued", "bundle": bundle, "due_at": now + timedelta(seconds=look_after_s)}
                    connection.execute(update(runs).where(runs.c.run_id.in_(chosen)).values(changes))
                    mirror(connection, chosen, status="queued")
                    return bundle
        return None

    def work(self, bundle: str) -> list[Work]:
        """What is left to do of a bundle."""
        query = select(runs, feedback_items).join_from(runs, feedback_items).where(runs.c.bundle == bundle)
        with storage_errors(self._engine), self._engine.connect() as connection:
            lines = connection.execute(query.order_by(runs.c.run_id)).all()
        own, width = [column.name for column in runs.columns], len(runs.columns)
        of_item = [column.name for column in feedback_items.columns]
        return [
            Work(
                Run(**dict(zip(own, line[:width], strict=True))),
                FeedbackItem(**dict(zip(of_item, line[width:], strict=True))),
            )
            for line in lines
        ]

    def record(self, outcomes: Sequence[tuple[Run, Outcome]]) -> int:
        """Write what came of runs, all or none; of how many it was news.

        A run that has left its bundle has an outcome already: a second one of the same bundle is dropped.
        """
        now = self._clock.now()
        with writing(self._engine) as connection:
            return sum(self._record(connection, run, outcome, now=now) for run, outcome in outcomes)

    def unfinished(self, bundles: Collection[str]) -> set[str]:
        """Those of `bundles` that still have runs."""
        with storage_errors(self._engine), self._engine.connect() as connection:
            return set(connection.scalars(select(runs.c.bundle).distinct().where(runs.c.bundle.in_(bundles))))

    def overdue(self) -> set[str]:
        """Bundles that nobody has looked after for a while."""
        query = select(runs.c.bundle).distinct().where(runs.c.status == "queued", runs.c.due_at <= self._clock.now())
        with storage_errors(self._engine), reading(self._engine) as connection:
            return {bundle for bundle in connection.scalars(query) if bundle is not None}

    def look_after(self, bundle: str, *, again_s: float) -> None:
        """Note that a bundle is in work, and is to be looked after again then."""
        changes = {"due_at": self._clock.now() + timedelta(seconds=again_s)}
        with writing(self._engine) as connection:
            connection.execute(update(runs).where(runs.c.bundle == bundle).values(changes))

    def release(self, bundle: str) -> None:
        """Have what is left of a bundle, on which nobody works, claimed again."""
        changes = {"status": "waiting", "bundle": None, "due_at": self._clock.now()}
        with writing(self._engine) as connection:
            left = list(connection.scalars(select(runs.c.run_id).where(runs.c.bundle == bundle)))
            connection.execute(update(runs).where(runs.c.bundle == bundle).values(changes))
            mirror(connection, left, status="waiting")

    def dispute(self, call_id: str) -> None:
        """Note that a person should look at what came of a call: another version says otherwise."""
        found = select(analyses.c.item_id).where(analyses.c.call_id == call_id)
        reasons = case(
            (feedback_items.c.review.is_(None), DISPUTED), else_=feedback_items.c.review + literal(f" {DISPUTED}")
        )
        noted = func.coalesce(feedback_items.c.review, "").contains(DISPUTED)
        wanted = feedback_items.c.item_id.in_(found), ~noted, uncorrected(feedback_items.c.item_id)
        with writing(self._engine) as connection:
            connection.execute(update(feedback_items).where(*wanted).values(review=reasons))

    def retry(self, *, item_id: str | None = None) -> int:
        """Have what failed or waits, of one item or of all, tried again now, as if it never was; how much it is."""
        wanted: list[ColumnElement[bool]] = [runs.c.status.in_(("failed", "waiting"))]
        if item_id is not None:
            wanted.append(runs.c.item_id == item_id)
        changes = {"status": "stored", "tries": 0, "problem": None, "due_at": self._clock.now()}
        with writing(self._engine) as connection:
            lock_name(connection, "runs")
            again = list(connection.scalars(select(runs.c.run_id).where(*wanted)))
            for start in range(0, len(again), CHUNK):
                part = again[start : start + CHUNK]
                connection.execute(update(runs).where(runs.c.run_id.in_(part)).values(changes))
                mirror(connection, part, status="stored")
        return len(again)

    def _record(self, connection: Connection, run: Run, outcome: Outcome, *, now: datetime) -> bool:
        changes: dict[str, Any] = {"bundle": None, "tries": runs.c.tries + 1}
        match outcome:
            case Found():
                changes |= {"status": "analysed", "problem": None, "due_at": now}
            case Later(seconds=seconds, problem=problem):
                changes |= {"status": "waiting", "problem": problem, "due_at": now + timedelta(seconds=seconds)}
            case _:
                changes |= {"status": "failed", "problem": outcome.problem, "due_at": now}
        mine = runs.c.run_id == run.run_id, runs.c.bundle == run.bundle
        if connection.execute(update(runs).where(*mine).values(changes)).rowcount == 0:
            return False
        if isinstance(outcome, Found):
            analysis = outcome.analysis(run, analysis_id=self._clock.new_id(), at=now)
            insert_or_update(connection, analyses, [asdict(analysis)], key=("run_id",))
            if "needs_review" in analysis.result:
                review(connection, analysis)
        mirror(connection, [run.run_id], status=changes["status"])
        return True


def due(status: str, *, now: datetime, without: Collection[str]) -> Select[Any]:
    """Runs that may be queued, the longest due first."""
    query = select(runs.c.run_id, runs.c.task, runs.c.options, feedback_items.c.consumer)
    query = query.join_from(runs, feedback_items).where(runs.c.status == status, runs.c.due_at <= now)
    if without:
        query = query.where(feedback_items.c.consumer.not_in(without))
    return query.order_by(runs.c.due_at, runs.c.run_id)


def alike(connection: Connection, query: Select[Any], *, most: int) -> list[str]:
    """The ids of the first run that `query` finds and of those that one request can take along."""
    first = connection.execute(query.limit(1)).first()
    if first is None:
        return []
    same = query.where(runs.c.task == first.task, feedback_items.c.consumer == first.consumer).limit(most)
    return [run.run_id for run in connection.execute(same) if run.options == first.options]


def uncorrected(item_id: Any) -> ColumnElement[bool]:
    """That nobody has corrected an item: who has, has looked at it."""
    return ~select(corrections.c.item_id).where(corrections.c.item_id == item_id).exists()


def review(connection: Connection, analysis: Analysis) -> None:
    """Note why a person should look at the item, or that nobody need."""
    reasons = analysis.result.get("review_reasons") or ["model_unsure"]
    wanted = " ".join(reasons) if analysis.result["needs_review"] else None
    mine = feedback_items.c.item_id == analysis.item_id
    connection.execute(update(feedback_items).where(mine, uncorrected(analysis.item_id)).values(review=wanted))


def mirror(connection: Connection, run_ids: Sequence[str], *, status: str) -> None:
    """Give items the status of their first runs."""
    found = connection.execute(select(runs.c.run_id, runs.c.item_id, runs.c.task).where(runs.c.run_id.in_(run_ids)))
    firsts = [run.item_id for run in found if run.run_id == first_run_id(run.item_id, run.task)]
    if firsts:
        connection.execute(
            update(feedback_items).where(feedback_items.c.item_id.in_(firsts)).values({"status": status})
        )
