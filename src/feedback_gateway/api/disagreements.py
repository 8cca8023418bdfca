"""`GET /v1/prompts/{name}/disagreements`: where versions of a prompt answered the same item differently."""

from typing import Annotated, Any

from fastapi import Query as InQuery
from pydantic import Field

from feedback_gateway.api.calls import Moment, Name
from feedback_gateway.api.deps import CallerDep, Json, Query, ServicesDep, in_thread, query_errors, settle, visible
from feedback_gateway.calls.pairs import Side
from feedback_gateway.calls.reports import parse_moment
from feedback_gateway.evaluation.disagreements import Comparison, Disagreements
from feedback_gateway.services import Services
from feedback_gateway.tasks.labels import labels_of

NOTHING_KEPT = "log.payloads is `none`: results are not kept, so that nothing of what is logged now can be compared"


class DisagreementsQuery(Query):
    """Which pairs to compare. `since` is included, `until` is not; both are about the second call of a pair."""

    since: Moment = None
    until: Moment = None
    consumer: Name = None
    limit: Annotated[int, Field(ge=1, le=200, description="most differing items that are listed")] = 50


async def list_disagreements(
    services: ServicesDep, caller: CallerDep, name: str, query: Annotated[DisagreementsQuery, InQuery()]
) -> Json:
    """How often a shadow or a replay said the same as the answer, by label, and the newest items where it did not."""
    consumer = visible(caller, query.consumer)
    labels = labels_of_task(services, name)
    now = services.clock.now()
    with query_errors():
        since = None if query.since is None else parse_moment(query.since, now=now, name="since")
        until = None if query.until is None else parse_moment(query.until, now=now, name="until")
    await settle(services)

    def read() -> Disagreements:
        pairs = services.books.pairs.of(name, since=since, until=until, consumer=consumer)
        return Disagreements(labels, query.limit).add(pairs)

    found = await in_thread(read)
    return disagreements_json(found, notice=notice_of(services, found)) | {"next_cursor": None}


def labels_of_task(services: Services, name: str) -> tuple[str, ...]:
    """The labels of every version of a task. Raises UnknownTask."""
    versions = services.registry.versions(name)
    return labels_of(services.registry.get(name, version).prompt.output_schema for version in versions)


def notice_of(services: Services, found: Disagreements) -> str | None:
    """What a reader must know of what is missing."""
    if services.settings.log.payloads == "none":
        return NOTHING_KEPT
    return f"{found.uncompared} pairs are logged without their results" if found.uncompared else None


def disagreements_json(found: Disagreements, *, notice: str | None) -> dict[str, Any]:
    """The comparisons, and the items that differ with both results as the log keeps them."""
    return {
        "notice": notice,
        "comparisons": [comparison_json(one) for one in found.comparisons.values()],
        "data": [
            {
                "purpose": difference.pair.purpose,
                "differs": list(difference.fields),
                "inputs": difference.pair.inputs,
                "answered": side_json(difference.pair.answered),
                "beside": side_json(difference.pair.beside),
            }
            for difference in found.differences
        ],
    }


def comparison_json(one: Comparison) -> dict[str, Any]:
    """Counts and the rate of agreement, with its 95 % interval; None where nothing was compared."""
    interval = one.interval
    return {
        "purpose": one.purpose,
        "answered": {"prompt_version": one.versions[0], "model": one.models[0]},
        "beside": {"prompt_version": one.versions[1], "model": one.models[1]},
        "pairs": one.pairs,
        "failed": one.failed,
        "unknown": one.unknown,
        "compared": one.compared,
        "agreed": one.agreed,
        "agreement": one.agreement,
        "interval": None if interval is None else list(interval),
        "fields": [
            {
                "field": name,
                "compared": field.compared,
                "differ": field.differ,
                "changes": [
                    {"answered": left, "beside": right, "count": count}
                    for (left, right), count in field.changes.most_common()
                ],
            }
            for name, field in sorted(one.fields.items(), key=lambda named: -named[1].differ)
        ],
    }


def side_json(side: Side) -> dict[str, Any]:
    """One of two answers; the id of its call is None where it has none."""
    return {
        "call_id": side.call_id or None,
        "prompt_version": side.version,
        "model": side.model,
        "result": side.result,
    }
