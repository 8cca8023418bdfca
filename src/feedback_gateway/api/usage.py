"""`GET /v1/usage`: what was asked and what it cost, grouped, as JSON or CSV."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import Query as InQuery
from pydantic import Field
from starlette.responses import JSONResponse, Response

from feedback_gateway.api.calls import Moment, Name
from feedback_gateway.api.deps import CallerDep, Query, ServicesDep, in_thread, query_errors, settle, visible
from feedback_gateway.api.rendering import money
from feedback_gateway.calls.reports import UsageRow, as_csv, parse_groupings, parse_moment


class UsageQuery(Query):
    """What to add up, and over which calls. `since` is included, `until` is not."""

    group_by: Annotated[
        str,
        Field(
            description="comma-separated: consumer, task, model, day, purpose; one row of all when empty",
            pattern=r"^((consumer|task|model|day|purpose)(,(consumer|task|model|day|purpose))*)?$",
            examples=["task,model"],
        ),
    ] = ""
    since: Moment = None
    until: Moment = None
    consumer: Name = None
    format: Literal["json", "csv"] = "json"


async def read_usage(services: ServicesDep, caller: CallerDep, query: Annotated[UsageQuery, InQuery()]) -> Response:
    """Calls, tokens and exact cost; days are UTC's. A consumer sees its own."""
    consumer = visible(caller, query.consumer)
    now = services.clock.now()
    with query_errors():
        groupings = parse_groupings(",".join(dict.fromkeys(query.group_by.split(","))))
        since = None if query.since is None else parse_moment(query.since, now=now, name="since")
        until = None if query.until is None else parse_moment(query.until, now=now, name="until")
    await settle(services)
    rows = await in_thread(services.books.reports.usage, groupings, since=since, until=until, consumer=consumer)
    found = [usage_row_json(row) for row in rows]
    if query.format == "csv":
        headers = {"content-disposition": 'attachment; filename="usage.csv"'}
        return Response(as_csv(found), headers=headers, media_type="text/csv")
    return JSONResponse({"data": found, "next_cursor": None})


def usage_row_json(row: UsageRow) -> dict[str, Any]:
    """The grouping fields and the figures; money as exact decimal strings, None where no cost is known."""
    fields = row.fields()
    return {name: money(value) if isinstance(value, Decimal) else value for name, value in fields.items()}
