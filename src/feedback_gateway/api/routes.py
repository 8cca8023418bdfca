"""The table of contents of the HTTP surface: every path, its methods, and the function that answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from feedback_gateway.api import calls, docs, health, openapi, prompts, schemas, usage
from feedback_gateway.api.deps import refuse_query, refuse_repeated
from feedback_gateway.api.error_handlers import problem_response
from feedback_gateway.api.tasks import TaskEndpoint
from feedback_gateway.errors import MethodNotAllowed

TASK_PATH = "/v1/{task}"
ALIASES = ("sentiment", "categorize", "summarize", "root-cause-suggest", "classify")


@dataclass(frozen=True, slots=True)
class Page:
    """One path that is always there. `query` tells whether it takes parameters; `shown` whether /docs lists it."""

    path: str
    endpoint: Callable[..., Any]
    tag: str
    responses: dict[int | str, dict[str, Any]]
    query: Callable[[Request], None] = refuse_query
    shown: bool = True


PAGES = (
    Page("/v1/calls", calls.list_calls, "calls", schemas.answers("CallPage", 422), query=refuse_repeated),
    Page("/v1/calls/{call_id}", calls.read_call, "calls", schemas.answers("CallDetail", 404, 422)),
    Page("/v1/usage", usage.read_usage, "calls", schemas.usage_answers(), query=refuse_repeated),
    Page("/v1/prompts", prompts.list_prompts, "prompts", schemas.answers("PromptPage", 422)),
    Page("/v1/prompts/{name}", prompts.read_prompt, "prompts", schemas.answers("Prompt", 404, 422)),
    Page("/health/live", health.live, "health", schemas.answers("Live", 422)),
    Page("/health/ready", health.ready, "health", schemas.answers("Ready", 422)),
    Page("/openapi.json", openapi.read_document, "docs", {}, shown=False),
    Page("/docs", docs.read_page, "docs", {}, shown=False),
    Page("/docs/{name}", docs.read_asset, "docs", {}, shown=False),
)


class OtherMethods:
    """Answers 405 with the methods that a path has, so that no broader path takes the request instead."""

    def __init__(self, allowed: str) -> None:
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse one request."""
        request = Request(scope)
        error = MethodNotAllowed(f"{request.method[:20]} is not for this path; {self._allowed} is")
        response: Response = problem_response(error, call_id=request.state.call_id, headers={"allow": self._allowed})
        await response(scope, receive, send)


def add_routes(app: FastAPI) -> None:
    """Pages first, then what any prompt file may add to."""
    for page in PAGES:
        app.add_api_route(
            page.path,
            page.endpoint,
            methods=["GET"],
            tags=[page.tag],
            summary=(page.endpoint.__doc__ or "").split("\n")[0].rstrip("."),
            responses=page.responses,
            response_model=None,
            dependencies=[Depends(page.query)],
            include_in_schema=page.shown,
        )
        app.router.routes.append(Route(page.path, OtherMethods("GET"), include_in_schema=False))
    app.router.routes.append(Route(TASK_PATH, TaskEndpoint(), include_in_schema=False))
    for name in ALIASES:
        app.router.routes.append(Route(f"/{name}", TaskEndpoint(name), include_in_schema=False))
