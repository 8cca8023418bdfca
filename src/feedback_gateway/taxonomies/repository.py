"""Keeps versions of taxonomies and decisions about them, and reads what models suggested. Blocks.

Suggestions are read from what is stored anyway: analyses of stored items, and calls as long as the log holds them.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.sql import Select

from feedback_gateway.calls.suggestions import FIELD, text_in
from feedback_gateway.calls.tables import category_suggestions, payloads
from feedback_gateway.clock import Clock
from feedback_gateway.errors import NotFound
from feedback_gateway.feedback.tables import analyses, corrections, feedback_items, job_runs, jobs, runs
from feedback_gateway.storage.engine import reading, storage_errors, writing
from feedback_gateway.storage.locks import lock_name
from feedback_gateway.storage.upserts import insert_or_update, insert_rows
from feedback_gateway.tasks.taxonomy import Taxonomy
from feedback_gateway.taxonomies.models import Decision, Retag, Suggestion, Tagged, TaxonomyVersion
from feedback_gateway.taxonomies.tables import taxonomy_decisions, taxonomy_versions

CORRECTED = ("category", "subcategory")
"""Fields that, once a person set one, need no model's word on a category any more."""
CHUNK = 500
"""Items and runs that one statement names."""
SETTLE = timedelta(seconds=5)
"""How long a job waits, so that every process has seen the file that was written just before."""
LOCK = "taxonomy"
ITEM = "item:"
TEXT = "text:"
"""What a suggestion's item begins with: a stored one goes by its id, a text of a call by its digest."""


class TaxonomyRepository:
    """Versions, suggestions and decisions. Raises ConfigurationError or Unavailable where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, taxonomy: Taxonomy, *, at: datetime) -> None:
        """Store what a taxonomy says under its version, once."""
        known = select(taxonomy_versions.c.version).where(taxonomy_versions.c.version == taxonomy.version)
        with storage_errors(self._engine), self._engine.connect() as connection:
            if connection.scalar(known) is not None:
                return
        with writing(self._engine) as connection:
            keep_version(connection, taxonomy, at=at)

    def versions(self) -> list[TaxonomyVersion]:
        """Every taxonomy that served, the newest first."""
        newest = (taxonomy_versions.c.first_seen_at.desc(), taxonomy_versions.c.version)
        with storage_errors(self._engine), reading(self._engine) as connection:
            return [version_of(row) for row in connection.execute(select(taxonomy_versions).order_by(*newest))]

    def version(self, version: str) -> TaxonomyVersion:
        """What one version said. Raises NotFound."""
        query = select(taxonomy_versions).where(taxonomy_versions.c.version == version)
        with storage_errors(self._engine), self._engine.connect() as connection:
            row = connection.execute(query).first() if version.isalnum() else None
        if row is None:
            raise NotFound(f"no taxonomy of the version {version[:20]!r} ever served here")
        return version_of(row)

    def suggestions(self) -> list[Suggestion]:
        """What models suggested, one for each item and text; not of items whose category a person has set."""
        with storage_errors(self._engine), reading(self._engine) as connection:
            return [*of_items(connection), *of_calls(connection)]

    def texts(self, items: Sequence[str]) -> list[str]:
        """What users wrote, of items as suggestions name them, in no order."""
        with storage_errors(self._engine), reading(self._engine) as connection:
            return list(texts_of(connection, items))

    def decisions(self) -> list[Decision]:
        """What was decided, the oldest first."""
        with storage_errors(self._engine), reading(self._engine) as connection:
            return read_decisions(connection)

    def tagged(self, *, since: datetime | None, but: str) -> Iterator[Tagged]:
        """Items with the labels of their newest analysis of each task, those of the taxonomy version `but` left out.

        Items whose category a person has set are left out as well. `since` is when they were written.
        """
        after: str | None = ""
        while after is not None:
            with storage_errors(self._engine), self._engine.connect() as connection:
                ids = list(connection.scalars(items_after(after, since=since)))
                rows = connection.execute(labels_of(ids, but=but)).mappings().all() if ids else []
            yield from (Tagged(**row | {"suggested": row["suggested"] is not None}) for row in map(dict, rows))
            after = ids[-1] if len(ids) == CHUNK else None

    def queue(self, retags: Sequence[Retag], *, version: str, consumer: str, clock: Clock) -> str:
        """Have items analysed again, in the order of their ranks; the id of the job, which waits for a moment.

        A run is named by its item, task and version, so that it is made once whoever asks how often; one that failed
        is tried again.
        """
        now, job_id = clock.now(), clock.new_id()
        rows = [run_row(one, version=version, due_at=now + SETTLE + timedelta(seconds=one.rank)) for one in retags]
        with writing(self._engine) as connection:
            insert_or_update(connection, runs, rows, key=("run_id",))
            wanted = [row["run_id"] for row in rows]
            for start in range(0, len(wanted), CHUNK):
                failed = runs.c.run_id.in_(wanted[start : start + CHUNK]), runs.c.status == "failed"
                connection.execute(update(runs).where(*failed).values(status="stored", due_at=now + SETTLE))
            job = {"job_id": job_id, "consumer": consumer, "kind": "retag", "created_at": now}
            connection.execute(insert(jobs), job)
            insert_rows(connection, job_runs, [{"job_id": job_id, "run_id": run_id} for run_id in wanted])
        return job_id

    @contextmanager
    def deciding(self) -> Iterator["Desk"]:
        """A transaction in which nobody else decides; what is written on the desk is stored at its end, or nothing."""
        with writing(self._engine) as connection:
            lock_name(connection, LOCK)
            yield Desk(connection)


class Desk:
    """What a decision is made on."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def decisions(self) -> list[Decision]:
        """What was decided before, the oldest first."""
        return read_decisions(self._connection)

    def decide(self, decision: Decision) -> None:
        """Note a decision."""
        row = {name: getattr(decision, name) for name in Decision.__slots__} | {"forms": list(decision.forms)}
        self._connection.execute(insert(taxonomy_decisions), row)

    def keep(self, taxonomy: Taxonomy, *, at: datetime) -> None:
        """Store what a taxonomy says under its version, once."""
        keep_version(self._connection, taxonomy, at=at)


def keep_version(connection: Connection, taxonomy: Taxonomy, *, at: datetime) -> None:
    """Insert a version; one that is stored stays as it is."""
    content = json.dumps({**taxonomy.as_json()}, ensure_ascii=False)
    row = {"version": taxonomy.version, "label": taxonomy.label, "content": content, "first_seen_at": at}
    insert_or_update(connection, taxonomy_versions, [row])


def version_of(row: Any) -> TaxonomyVersion:
    """A stored version."""
    return TaxonomyVersion(
        version=row.version, label=row.label, content=json.loads(row.content), first_seen_at=row.first_seen_at
    )


def read_decisions(connection: Connection) -> list[Decision]:
    """All of them, the oldest first."""
    query = select(taxonomy_decisions).order_by(taxonomy_decisions.c.at, taxonomy_decisions.c.decision_id)
    return [Decision(**row | {"forms": tuple(row["forms"])}) for row in map(dict, connection.execute(query).mappings())]


def of_items(connection: Connection) -> Iterator[Suggestion]:
    """Suggestions of stored items: each item's newest analysis that could have made one."""
    suggestion = analyses.c.result[FIELD].as_string()
    query = (
        select(analyses.c.item_id, suggestion.label("name"), feedback_items.c.consumer, feedback_items.c.author_id)
        .join_from(analyses, feedback_items)
        .where(analyses.c.analysis_id.in_(newest_analyses()), suggestion.is_not(None))
        .where(analyses.c.item_id.not_in(corrected_items()))
    )
    for row in connection.execute(query):
        person = None if row.author_id is None else f"{row.consumer}/{row.author_id}"
        yield Suggestion(name=row.name, item=ITEM + row.item_id, person=person)


def of_calls(connection: Connection) -> Iterator[Suggestion]:
    """Suggestions of calls that analysed no stored item; the same text, however often it was sent, is one item."""
    query = (
        select(category_suggestions.c.suggestion, category_suggestions.c.text_digest)
        .where(category_suggestions.c.call_id.not_in(select(analyses.c.call_id)))
        .distinct()
    )
    for row in connection.execute(query):
        yield Suggestion(name=row.suggestion, item=TEXT + row.text_digest)


def texts_of(connection: Connection, items: Sequence[str]) -> Iterator[str]:
    """What users wrote, of items as suggestions name them; of texts that came as calls, as the log keeps them."""
    stored = [one.removeprefix(ITEM) for one in items if one.startswith(ITEM)]
    if stored:
        query = select(feedback_items.c.text).where(feedback_items.c.item_id.in_(stored))
        yield from connection.scalars(query)
    sent = [one.removeprefix(TEXT) for one in items if one.startswith(TEXT)]
    if sent:
        first = select(func.min(category_suggestions.c.call_id)).where(category_suggestions.c.text_digest.in_(sent))
        query = select(payloads.c.inputs).where(
            payloads.c.call_id.in_(first.group_by(category_suggestions.c.text_digest))
        )
        yield from (text_in(inputs) for inputs in connection.scalars(query))


def items_after(after: str, *, since: datetime | None) -> Select[Any]:
    """The ids of the next items, but for those whose category a person has set."""
    query = select(feedback_items.c.item_id).where(feedback_items.c.item_id > after)
    query = query.where(feedback_items.c.item_id.not_in(corrected_items()))
    if since is not None:
        query = query.where(feedback_items.c.created_at >= since)
    return query.order_by(feedback_items.c.item_id).limit(CHUNK)


def labels_of(item_ids: Sequence[str], *, but: str) -> Select[Any]:
    """The labels of items by their newest analysis of each task, where that was made with another version."""
    said = {name: analyses.c.result[name].as_string() for name in ("category", "subcategory", FIELD)}
    newest = newest_analyses().where(analyses.c.item_id.in_(item_ids))
    return (
        select(
            analyses.c.item_id,
            analyses.c.task,
            analyses.c.taxonomy_version,
            feedback_items.c.consumer,
            feedback_items.c.text,
            said["category"].label("category"),
            said["subcategory"].label("subcategory"),
            said[FIELD].label("suggested"),
        )
        .join_from(analyses, feedback_items)
        .where(analyses.c.analysis_id.in_(newest), said["category"].is_not(None))
        .where(func.coalesce(analyses.c.taxonomy_version, "") != but)
    )


def run_row(retag: Retag, *, version: str, due_at: datetime) -> dict[str, Any]:
    """A run that is to be made."""
    return {
        "run_id": f"{retag.item_id}:{retag.task}:taxonomy-{version}",
        "item_id": retag.item_id,
        "task": retag.task,
        "options": {},
        "status": "stored",
        "tries": 0,
        "due_at": due_at,
    }


def newest_analyses() -> Select[Any]:
    """The newest analysis of each item and task; their ids grow with time."""
    return select(func.max(analyses.c.analysis_id)).group_by(analyses.c.item_id, analyses.c.task)


def corrected_items() -> Select[Any]:
    """Items whose category a person has set."""
    return select(corrections.c.item_id).where(corrections.c.field.in_(CORRECTED))
