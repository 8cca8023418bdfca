"""`POST /v1/{task}`: which tasks there are is asked at each request, so that a new prompt file answers at once.

Plain Starlette, as the hottest route of all: no model of the whole body is built.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC
from email.utils import format_datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from feedback_gateway.api.bodies import parse_json, require_json
from feedback_gateway.api.departures import ClientWentAwayError, cancelled_with
from feedback_gateway.api.deps import caller_of, refuse_query, services_of
from feedback_gateway.api.envelopes import Envelope, read_envelope
from feedback_gateway.api.error_handlers import CLIENT_WENT_AWAY, problem_response, redact
from feedback_gateway.api.problems import limit_headers
from feedback_gateway.api.rendering import answer_json, many_json, repeat_json, repeat_page, to_json
from feedback_gateway.consumers.models import Consumer
from feedback_gateway.errors import GatewayError, MethodNotAllowed
from feedback_gateway.ledger.service import warning
from feedback_gateway.passthrough.service import Head
from feedback_gateway.ratelimits.models import Standing
from feedback_gateway.services import Services
from feedback_gateway.tasks.models import Answer, Failure
from feedback_gateway.tasks.rollout import Deprecations, earliest


class TaskEndpoint:
    """Runs the task that the path names, or always the one given as `name`."""

    def __init__(self, name: str | None = None) -> None:
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive, send)
        name = self._name or request.path_params["task"]
        response = await respond(request, name)
        await response(scope, receive, send)


async def respond(request: Request, name: str) -> Response:
    """Run the task `name` on the request's body. Raises UnknownTask and whatever else is ours."""
    services = services_of(request)
    caller = await caller_of(request)
    versions = services.registry.versions(name)
    if request.method != "POST":
        error = MethodNotAllowed(f"a task is asked by POST, not {request.method[:20]}")
        return problem_response(error, call_id=request.state.call_id, headers={"allow": "POST"})
    refuse_query(request)
    require_json(request.headers)
    body = await request.body()
    origin = request.state.origin
    if (hit := await services.repeats.answer(name, body, caller.consumer, origin=origin)) is not None:
        request.state.call_id = hit.call_id
        headers = {"x-cache": "hit", "x-cost-usd": "0"} | standing_headers(hit.standing)
        headers |= deprecation_headers(services.tasks.deprecations, [hit.version])
        return Response(repeat_json(hit), headers=headers, media_type="application/json")
    envelope = read_envelope(
        parse_json(body),
        models={deployment.alias for deployment in services.deployments},
        versions=versions,
        most_items=services.settings.limits.items,
    )
    services.tasks.deprecations.refuse_ended(name, envelope.options.prompt_version, now=services.clock.now())
    try:
        async with cancelled_with(request):
            envelope = replace(envelope, options=replace(envelope.options, origin=origin))
            return await run(request, services, name=name, envelope=envelope, consumer=caller.consumer)
    except ClientWentAwayError:
        return Response(status_code=CLIENT_WENT_AWAY)


async def run(request: Request, services: Services, *, name: str, envelope: Envelope, consumer: Consumer) -> Response:
    """Ask the task service and render what it says."""
    if envelope.many:
        results = await services.tasks.run_many(name, envelope.items, consumer=consumer, options=envelope.options)
        answers = [result for result in results if isinstance(result, Answer)]
        for failure in results:
            if isinstance(failure, Failure):
                redact(failure.error, services)
        body = many_json(results)
        hit = len(answers) == len(results) and all(answer.cached for answer in answers)
        about = account_headers(answers[-1]) if answers else {}
        about |= deprecation_headers(services.tasks.deprecations, [(name, answer.prompt_version) for answer in answers])
    else:
        try:
            answer = await services.tasks.run(name, envelope.items[0], consumer=consumer, options=envelope.options)
        except GatewayError as error:
            request.state.call_id = error.call_id or request.state.call_id
            raise
        request.state.call_id = answer.call_id
        is_ending = services.tasks.deprecations.is_ending(name, envelope.options.prompt_version)
        if answer.repeat is not None and not is_ending:
            page = repeat_page(answer)
            services.repeats.remember(name, await request.body(), consumer, repeat=answer.repeat, page=page)
        body, hit, about = answer_json(answer), answer.cached, account_headers(answer)
        about |= deprecation_headers(services.tasks.deprecations, [(name, answer.prompt_version)])
    cost = body["usage"]["cost_usd"]
    headers = {"x-cache": "hit" if hit else "miss", "x-cost-usd": cost or "unknown"} | about
    return Response(to_json(body), headers=headers, media_type="application/json")


def account_headers(answer: Answer | Head) -> dict[str, str]:
    """How the consumer's tightest limit stands, and which budget is near its end."""
    headers = standing_headers(answer.standing)
    if answer.warnings:
        headers["x-budget-warning"] = "; ".join(warning(one) for one in answer.warnings)
    return headers


def standing_headers(standing: Standing | None) -> dict[str, str]:
    """How the tightest limit stands, where there is one."""
    if standing is None:
        return {}
    return limit_headers(limit=standing.limit, remaining=standing.remaining, reset_s=standing.reset_s)


def deprecation_headers(deprecations: Deprecations, versions: Iterable[tuple[str, int]]) -> dict[str, str]:
    """Since when what answered is deprecated (RFC 9745), and when it ends (RFC 8594); of several the earliest."""
    if not deprecations.known:
        return {}
    found = earliest([one for version in set(versions) if (one := deprecations.of(*version)) is not None])
    if found is None:
        return {}
    headers = {"deprecation": f"@{int(found.since.timestamp())}"}
    if found.sunset is not None:
        headers["sunset"] = format_datetime(found.sunset.astimezone(UTC), usegmt=True)
    return headers
