"""What people say of stored feedback: corrections, the queue of what waits for one, and how often they agree."""

from typing import Annotated, Any, Literal

from fastapi import Query as InQuery
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from feedback_gateway.api.admin_bodies import NAME, Strict, validated
from feedback_gateway.api.bodies import parse_json, require_json
from feedback_gateway.api.calls import Moment, Name
from feedback_gateway.api.deps import CallerDep, Json, PageQuery, Query, ServicesDep, in_thread, query_errors, visible
from feedback_gateway.api.feedback_rendering import correction_json, item_json
from feedback_gateway.calls.reports import parse_moment
from feedback_gateway.feedback.agreement import GROUPINGS, Agreement, agreements, parse_group_by
from feedback_gateway.feedback.current import check_correction
from feedback_gateway.feedback.models import ItemHistory
from feedback_gateway.services import Services
from feedback_gateway.tasks.registry import Task

Reason = Literal["model_unsure", "low_confidence", "evidence_dropped", "injection_suspected", "versions_disagree"]
ONE = f"({'|'.join(GROUPINGS)})"
MOST_CHARS = 10_000
STORABLE = r"^[^\x00]*$"


class WordBody(Strict):
    """What a person says of a field."""

    field: Annotated[str, Field(min_length=1, max_length=100, pattern=NAME)]
    value: Annotated[str, Field(max_length=MOST_CHARS, pattern=STORABLE)] | int | float | bool | None
    by: Annotated[str, Field(min_length=1, max_length=200, pattern=NAME, description="who says so")]
    reason: Annotated[str | None, Field(max_length=MOST_CHARS, pattern=STORABLE)] = None


class ReviewQuery(PageQuery):
    """Which items, by field name."""

    consumer: Name = None
    source: Name = None
    reason: Reason | None = None


class AgreementQuery(Query):
    """Of which time, and by what it is grouped: names with commas."""

    group_by: Annotated[str, Field(max_length=200, pattern=rf"^{ONE}(,{ONE})*$", description="names with commas")] = (
        "field"
    )
    field: Name = None
    consumer: Name = None
    since: Moment = None
    until: Moment = None


async def add_correction(request: Request, services: ServicesDep, caller: CallerDep, item_id: str) -> Response:
    """Say what a field of an item should be: that holds from now on. The same word again is the same correction."""
    require_json(request.headers)
    body = validated(WordBody, parse_json(await request.body()))
    history = await in_thread(services.books.feedback.get, item_id, consumer=caller.sees)
    tasks = tasks_of(history, services)
    check_correction(body.field, body.value, tasks=tasks, taxonomy=services.taxonomy.current)
    made = await in_thread(
        services.books.people.add,
        item_id,
        field=body.field,
        value=body.value,
        by=body.by,
        reason=body.reason,
        consumer=caller.sees,
    )
    return JSONResponse(correction_json(made), status_code=201)


async def list_reviews(services: ServicesDep, caller: CallerDep, query: Annotated[ReviewQuery, InQuery()]) -> Json:
    """Items that a person should look at, those that wait longest first; a correction takes an item out."""
    with query_errors():
        page = await in_thread(
            services.books.people.waiting,
            consumer=visible(caller, query.consumer),
            source=query.source,
            reason=query.reason,
            limit=query.limit,
            cursor=query.cursor,
        )
    taxonomy, task = services.taxonomy.current, services.settings.feedback.task
    data = [review_json(history, item_json(history, task=task, taxonomy=taxonomy)) for history in page.data]
    return {"data": data, "next_cursor": page.next_cursor}


async def read_agreement(services: ServicesDep, caller: CallerDep, query: Annotated[AgreementQuery, InQuery()]) -> Json:
    """How often people agreed with models, by what is asked for; the last word on a field of an item counts."""
    now = services.clock.now()
    with query_errors():
        names = parse_group_by(query.group_by)
        period = {
            name: None if value is None else parse_moment(value, now=now, name=name)
            for name, value in (("since", query.since), ("until", query.until))
        }

    def count() -> list[Agreement]:
        judged = services.books.people.judged(consumer=visible(caller, query.consumer), field=query.field, **period)
        return agreements(judged, group_by=names)

    found = await in_thread(count)
    return {"data": [agreement_json(names, one) for one in found], "next_cursor": None}


def tasks_of(history: ItemHistory, services: Services) -> list[Task]:
    """The tasks that have answered an item, or will."""
    names = dict.fromkeys([*(one.task for one in history.analyses), services.settings.feedback.task])
    return [services.registry.get(name) for name in names if name in services.registry.names()]


def review_json(history: ItemHistory, item: dict[str, Any]) -> dict[str, Any]:
    """An item of the queue, and why it is there."""
    return item | {"reasons": list(history.item.review_reasons)}


def agreement_json(names: tuple[str, ...], one: Agreement) -> dict[str, Any]:
    """One group."""
    low, high = one.interval
    figures = {"judged": one.judged, "agreed": one.agreed, "rate": round(one.rate, 4)}
    return dict(zip(names, one.group, strict=True)) | figures | {"low": round(low, 4), "high": round(high, 4)}
