"""Stored feedback over HTTP: items in, items with all that was made of them out. The work is done elsewhere."""

from typing import Annotated, Any, Literal

from fastapi import Query as InQuery
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from feedback_gateway.api.calls import Moment, Name
from feedback_gateway.api.deps import CallerDep, Json, PageQuery, ServicesDep, in_thread, query_errors, visible
from feedback_gateway.api.error_handlers import redact
from feedback_gateway.api.feedback_bodies import Parsed, read_submission
from feedback_gateway.api.feedback_rendering import item_json
from feedback_gateway.api.problems import problem
from feedback_gateway.calls.reports import parse_moment
from feedback_gateway.errors import GatewayError, InvalidRequest, Problem
from feedback_gateway.feedback.models import ItemHistory, NewItem, Placed
from feedback_gateway.feedback.repository import ItemFilters
from feedback_gateway.services import Services

MOST_PROBLEMS = 20


class FeedbackQuery(PageQuery):
    """Filters by field name; all of them must hold. `since` is included, `until` is not; both are of `created_at`."""

    consumer: Name = None
    source: Name = None
    external_id: Name = None
    author_id: Name = None
    status: Literal["stored", "queued", "waiting", "analysed", "failed"] | None = None
    rating: Annotated[float | None, Field(allow_inf_nan=False)] = None
    since: Moment = None
    until: Moment = None


async def add_feedback(request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """Store one item, or many, and have them analysed; `/v1/jobs/{job_id}` tells how far that is.

    An item that cannot be used has its error in its place, and the others are stored.
    """
    limits = services.settings.limits
    submission = await read_submission(request, most_items=limits.items, most_chars=limits.text_chars)
    items = [one for one in submission.parsed if isinstance(one, NewItem)]
    if not items:
        raise refusal(submission.parsed, many=submission.many)
    job_id, placed = await in_thread(
        services.books.feedback.add, items, consumer=caller.consumer.name, task=services.settings.feedback.task
    )
    services.jobs.wake()
    where = iter(placed)
    results = [
        placed_json(next(where)) if isinstance(one, NewItem) else failure_json(one, services)
        for one in submission.parsed
    ]
    body: Json = {"job_id": job_id, "ids": [result.get("id") for result in results]}
    body |= {"results": results} if submission.many else results[0]
    return JSONResponse(body, status_code=202, headers={"location": f"/v1/jobs/{job_id}"})


async def list_feedback(services: ServicesDep, caller: CallerDep, query: Annotated[FeedbackQuery, InQuery()]) -> Json:
    """One page of stored items, newest first, with what was made of them; a consumer sees its own."""
    wanted = query.model_dump(exclude={"limit", "cursor", "since", "until"})
    wanted["consumer"] = visible(caller, query.consumer)
    now = services.clock.now()
    with query_errors():
        for name, value in (("since", query.since), ("until", query.until)):
            wanted[name] = None if value is None else parse_moment(value, now=now, name=name)
        page = await in_thread(
            services.books.feedback.page, ItemFilters(**wanted), limit=query.limit, cursor=query.cursor
        )
    return {"data": [shown(history, services) for history in page.data], "next_cursor": page.next_cursor}


async def read_feedback(services: ServicesDep, caller: CallerDep, item_id: str) -> Json:
    """One item with its analyses and corrections, the newest first; what people said of it holds."""
    return shown(await in_thread(services.books.feedback.get, item_id, consumer=caller.sees), services)


def shown(history: ItemHistory, services: Services) -> Json:
    """An item as callers see it."""
    return item_json(history, task=services.settings.feedback.task, taxonomy=services.taxonomy.current)


def refusal(parsed: list[Parsed], *, many: bool) -> GatewayError:
    """Why nothing of a request was stored."""
    errors = [one for one in parsed if isinstance(one, GatewayError)]
    if not many:
        return errors[0]
    problems = []
    for index, error in enumerate(errors):
        places = error.problems or (Problem((), error.detail),)
        problems += [Problem(("items", index, *place.loc), place.msg) for place in places]
    return InvalidRequest(f"no item can be used; the first: {errors[0].detail}", problems=problems[:MOST_PROBLEMS])


def placed_json(placed: Placed) -> dict[str, Any]:
    """Where an item is kept."""
    return {"id": placed.item_id, "duplicate": not placed.is_new}


def failure_json(error: GatewayError, services: Services) -> dict[str, Any]:
    """What stands in the place of an item that cannot be used."""
    redact(error, services)
    return {"error": problem(error)}
