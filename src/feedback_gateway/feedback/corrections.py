"""Stores what people say of items, and reads it back. Blocks: call it from a thread."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, insert, literal, select, tuple_, update

from feedback_gateway.calls.repository import MOST_ROWS, decode_cursor, encode_position, is_storable
from feedback_gateway.clock import Clock
from feedback_gateway.errors import InvalidRequest, NotFound, Problem
from feedback_gateway.feedback.current import is_about
from feedback_gateway.feedback.models import Analysis, Correction, FeedbackItem
from feedback_gateway.feedback.repository import ItemPage, histories
from feedback_gateway.feedback.tables import analyses, corrections, feedback_items
from feedback_gateway.storage.columns import UtcDateTime
from feedback_gateway.storage.engine import reading, storage_errors, writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a person said of an item, beside what a model had said of it last when they did; None where nothing."""

    item: FeedbackItem
    correction: Correction
    analysis: Analysis | None


class CorrectionRepository:
    """People's words. Raises ConfigurationError or Unavailable where the database fails."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def add(
        self, item_id: str, *, field: str, value: Any, by: str, reason: str | None = None, consumer: str | None = None
    ) -> Correction:
        """Note what `by` says of an item, of `consumer` only where one is named; nobody has to look at it any more.

        The word that a person said last of a field stays as it is when they say it again: a request that is sent
        twice is one correction. Raises NotFound.
        """
        with writing(self._engine) as connection:
            own = [] if consumer is None else [feedback_items.c.consumer == consumer]
            wanted = feedback_items.c.item_id == item_id
            touch = update(feedback_items).where(wanted, *own).values(review=None)
            if not is_storable(item_id) or connection.execute(touch).rowcount == 0:
                raise NotFound("no such item")
            newest = select(corrections).where(corrections.c.item_id == item_id, corrections.c.field == field)
            newest = newest.order_by(corrections.c.at.desc(), corrections.c.correction_id.desc()).limit(1)
            last = connection.execute(newest).mappings().first()
            if last is not None and (last["value"], last["by"]) == (value, by):
                return Correction(**last)
            made = Correction(
                correction_id=self._clock.new_id(),
                item_id=item_id,
                field=field,
                value=value,
                by=by,
                reason=reason,
                at=self._clock.now(),
            )
            connection.execute(insert(corrections), [asdict(made)])
        return made

    def waiting(
        self,
        *,
        consumer: str | None = None,
        source: str | None = None,
        reason: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> ItemPage:
        """Up to `limit` (1 to 200) items that a person should look at, those that wait longest first.

        Raises InvalidRequest for a limit or cursor that cannot be.
        """
        if not 1 <= limit <= MOST_ROWS:
            message = f"must be from 1 to {MOST_ROWS}"
            raise InvalidRequest(f"limit: {message}", problems=[Problem(("limit",), message)])
        oldest = (feedback_items.c.received_at, feedback_items.c.item_id)
        query = select(feedback_items).where(feedback_items.c.review.is_not(None))
        if consumer is not None:
            query = query.where(feedback_items.c.consumer == consumer)
        if source is not None:
            query = query.where(feedback_items.c.source == source)
        if reason is not None:
            query = query.where((literal(" ") + feedback_items.c.review + " ").contains(f" {reason} ", autoescape=True))
        if cursor is not None:
            received_at, item_id = decode_cursor(cursor)
            query = query.where(tuple_(*oldest) > tuple_(literal(received_at, UtcDateTime), literal(item_id)))
        with storage_errors(self._engine), reading(self._engine) as connection:
            rows = connection.execute(query.order_by(*oldest).limit(limit + 1)).mappings()
            items = [FeedbackItem(**row) for row in rows]
            data = histories(connection, items[:limit])
        last = data[-1].item if len(items) > limit else None
        return ItemPage(tuple(data), None if last is None else encode_position(last.received_at, last.item_id))

    def judged(
        self,
        *,
        consumer: str | None = None,
        field: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[Judged]:
        """The last word on every field of every item whose word is of that time, with the analysis it is about.

        That is the newest one of the item, when the word was said, whose result has the field.
        """
        place = func.row_number().over(
            partition_by=(corrections.c.item_id, corrections.c.field),
            order_by=(corrections.c.at.desc(), corrections.c.correction_id.desc()),
        )
        ranked = select(corrections, place.label("place")).subquery()
        said = select(*(ranked.c[column.name].label(f"said_{column.name}") for column in corrections.columns))
        query = said.add_columns(feedback_items).join(feedback_items, feedback_items.c.item_id == ranked.c.item_id)
        query = query.where(ranked.c.place == 1)
        for wanted, column in ((consumer, feedback_items.c.consumer), (field, ranked.c.field)):
            if wanted is not None:
                query = query.where(column == wanted)
        if since is not None:
            query = query.where(ranked.c.at >= since)
        if until is not None:
            query = query.where(ranked.c.at < until)
        with storage_errors(self._engine), reading(self._engine) as connection:
            for row in connection.execute(query.order_by(ranked.c.at, ranked.c.correction_id)).mappings().all():
                correction = Correction(**{column.name: row[f"said_{column.name}"] for column in corrections.columns})
                made = select(analyses).where(analyses.c.item_id == correction.item_id, analyses.c.at <= correction.at)
                made = made.order_by(analyses.c.at.desc(), analyses.c.analysis_id.desc())
                before = (Analysis(**one) for one in connection.execute(made).mappings())
                yield Judged(
                    item=FeedbackItem(**{column.name: row[column.name] for column in feedback_items.columns}),
                    correction=correction,
                    analysis=next((one for one in before if is_about(correction.field, one.result)), None),
                )
