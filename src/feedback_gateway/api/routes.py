"""The table of contents of the HTTP surface: every path, its methods, and the function that answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from feedback_gateway.api import (
    admin,
    calls,
    corrections,
    deployments,
    disagreements,
    docs,
    feedback,
    feedback_schemas,
    health,
    jobs,
    metrics,
    openapi,
    prompts,
    schemas,
    taxonomy,
    usage,
)
from feedback_gateway.api.admin_bodies import (
    ConsumerBody,
    ConsumerChanges,
    CorrectionBody,
    KeyBody,
    KeyChanges,
    RotationBody,
)
from feedback_gateway.api.admin_schemas import BODY, changed, created, gone, request_body
from feedback_gateway.api.corrections import WordBody
from feedback_gateway.api.deps import admin_of, caller_of, refuse_query, refuse_repeated
from feedback_gateway.api.error_handlers import problem_response
from feedback_gateway.api.passthrough import ModelsEndpoint, PassthroughEndpoint
from feedback_gateway.api.shortcuts import Shortcuts
from feedback_gateway.api.tasks import TaskEndpoint
from feedback_gateway.api.taxonomy import WishBody
from feedback_gateway.consumers.models import Caller
from feedback_gateway.errors import MethodNotAllowed, NotFound
from feedback_gateway.passthrough.bodies import read_chat, read_embeddings

TASK_PATH = "/v1/{task}"
Access = Callable[[Request], Awaitable[Caller]]
ALIASES = ("sentiment", "categorize", "summarize", "root-cause-suggest", "classify")


@dataclass(frozen=True, slots=True)
class Page:
    """One path and method that are always there.

    `access` says who may come in, None for everybody; `query` whether it takes parameters; `shown` whether /docs lists
    it.
    """

    path: str
    endpoint: Callable[..., Any]
    tag: str
    responses: dict[int | str, dict[str, Any]]
    query: Callable[[Request], None] = refuse_query
    shown: bool = True
    method: str = "GET"
    access: Access | None = caller_of
    body: type[BaseModel] | Callable[[], dict[str, Any]] | None = None


def public(path: str, endpoint: Callable[..., Any], tag: str, responses: dict[int | str, dict[str, Any]]) -> Page:
    """A page for everybody: it says nothing of what users wrote, and costs nothing."""
    return Page(path, endpoint, tag, responses, access=None, shown=bool(responses))


def admins(
    method: str,
    path: str,
    endpoint: Callable[..., Any],
    responses: dict[int | str, dict[str, Any]],
    *,
    body: type[BaseModel] | None = None,
    query: Callable[[Request], None] = refuse_query,
) -> Page:
    """A page of the administration, for admin keys only."""
    path = f"/v1/admin{path}"
    return Page(path, endpoint, "admin", responses, query=query, method=method, access=admin_of, body=body)


PAGES = (
    Page("/v1/calls", calls.list_calls, "calls", schemas.answers("CallPage", 422), query=refuse_repeated),
    Page("/v1/calls/{call_id}", calls.read_call, "calls", schemas.answers("CallDetail", 404, 422)),
    Page("/v1/usage", usage.read_usage, "calls", schemas.usage_answers(), query=refuse_repeated),
    Page("/v1/prompts", prompts.list_prompts, "prompts", schemas.answers("PromptPage", 422)),
    Page("/v1/prompts/{name}", prompts.read_prompt, "prompts", schemas.answers("Prompt", 404, 422)),
    Page(
        "/v1/prompts/{name}/disagreements",
        disagreements.list_disagreements,
        "prompts",
        schemas.answers("Disagreements", 404, 422),
        query=refuse_repeated,
    ),
    Page(
        "/v1/feedback",
        feedback.add_feedback,
        "feedback",
        feedback_schemas.stored(),
        method="POST",
        body=feedback_schemas.submission,
    ),
    Page(
        "/v1/feedback",
        feedback.list_feedback,
        "feedback",
        schemas.answers("FeedbackPage", 401, 403, 422),
        query=refuse_repeated,
    ),
    Page("/v1/feedback/{item_id}", feedback.read_feedback, "feedback", schemas.answers("FeedbackItem", 401, 404, 422)),
    Page(
        "/v1/feedback/{item_id}/corrections",
        corrections.add_correction,
        "feedback",
        feedback_schemas.corrected(),
        method="POST",
        body=WordBody,
    ),
    Page(
        "/v1/reviews",
        corrections.list_reviews,
        "feedback",
        schemas.answers("ReviewPage", 401, 403, 422),
        query=refuse_repeated,
    ),
    Page(
        "/v1/agreement",
        corrections.read_agreement,
        "feedback",
        schemas.answers("AgreementPage", 401, 403, 422),
        query=refuse_repeated,
    ),
    Page("/v1/jobs/{job_id}", jobs.read_job, "feedback", schemas.answers("Job", 401, 404, 422)),
    Page("/v1/jobs/{job_id}/events", jobs.follow_job, "feedback", feedback_schemas.followed()),
    admins("POST", "/consumers", admin.create_consumer, created("Consumer", 409), body=ConsumerBody),
    admins("GET", "/consumers", admin.list_consumers, changed("ConsumerPage"), query=refuse_repeated),
    admins("GET", "/consumers/{consumer}", admin.read_consumer, changed("ConsumerDetail", 404)),
    admins(
        "PATCH", "/consumers/{consumer}", admin.change_consumer, changed("Consumer", 404, *BODY), body=ConsumerChanges
    ),
    admins("DELETE", "/consumers/{consumer}", admin.disable_consumer, gone()),
    admins("POST", "/keys", admin.create_key, created("NewKey", 404), body=KeyBody),
    admins("GET", "/keys", admin.list_keys, changed("KeyPage"), query=refuse_repeated),
    admins("GET", "/keys/{key_id}", admin.read_key, changed("Key", 404)),
    admins("PATCH", "/keys/{key_id}", admin.change_key, changed("Key", 404, 409, *BODY), body=KeyChanges),
    admins("DELETE", "/keys/{key_id}", admin.revoke_key, gone()),
    admins("POST", "/keys/{key_id}/rotate", admin.rotate_key, created("NewKey", 404, 409), body=RotationBody),
    admins("GET", "/ledger", admin.list_ledger, changed("LedgerPage", 404), query=refuse_repeated),
    admins("POST", "/ledger", admin.correct, created("LedgerEntry", 404), body=CorrectionBody),
    admins("GET", "/taxonomy", taxonomy.read_taxonomy, changed("Taxonomy")),
    admins("GET", "/taxonomy/versions", taxonomy.list_versions, changed("TaxonomyVersionPage")),
    admins("GET", "/taxonomy/proposals", taxonomy.list_proposals, changed("ProposalPage"), query=refuse_repeated),
    admins(
        "POST",
        "/taxonomy/proposals/{proposal_id}/accept",
        taxonomy.accept_proposal,
        changed("AcceptedProposal", 404, 409, *BODY),
        body=WishBody,
    ),
    admins("POST", "/taxonomy/proposals/{proposal_id}/reject", taxonomy.reject_proposal, changed("Proposal", 404)),
    admins("GET", "/deployments", deployments.list_deployments, changed("DeploymentPage")),
    public("/health/live", health.live, "health", schemas.answers("Live", 422)),
    public("/health/ready", health.ready, "health", schemas.answers("Ready", 422)),
    public("/metrics", metrics.read_metrics, "health", {}),
    public("/openapi.json", openapi.read_document, "docs", {}),
    public("/", docs.find_page, "docs", {}),
    public("/docs", docs.read_page, "docs", {}),
    public("/docs/{name}", docs.read_asset, "docs", {}),
)


class OtherMethods:
    """Answers 405 with the methods that a path has, so that no broader path takes the request instead."""

    def __init__(self, allowed: str, *, access: Access | None) -> None:
        self._allowed = allowed
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse one request."""
        request = Request(scope)
        if self._access is not None:
            await self._access(request)
        error = MethodNotAllowed(f"{request.method[:20]} is not for this path; {self._allowed} is")
        response: Response = problem_response(error, call_id=request.state.call_id, headers={"allow": self._allowed})
        await response(scope, receive, send)


async def nothing_there(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer for paths that nobody has: without a key they look like any other. Raises NotFound."""
    request = Request(scope, receive, send)
    await caller_of(request)
    raise NotFound(f"there is nothing at {request.scope['path'][:200]}; /docs lists what there is")


def add_routes(app: FastAPI) -> Shortcuts:
    """Pages first, then what any prompt file may add to; `app.state.templates` has the path of each endpoint.

    Gives the short way to the hottest of them, which also stands before the list of routes.
    """
    for path, group in groupby(sorted(PAGES, key=lambda page: page.path), key=lambda page: page.path):
        pages = list(group)
        for page in pages:
            add_page(app, page)
        allowed = ", ".join(page.method for page in pages)
        others = OtherMethods(allowed, access=pages[0].access)
        app.router.routes.append(Route(path, others, include_in_schema=False))
    app.router.routes.append(Route("/v1/models", ModelsEndpoint(), include_in_schema=False))
    app.router.routes.append(Route("/v1/models/{model:path}", ModelsEndpoint(), include_in_schema=False))
    hot: dict[str, ASGIApp] = {
        "/v1/chat/completions": PassthroughEndpoint(read_chat),
        "/v1/embeddings": PassthroughEndpoint(read_embeddings),
        **{f"/{name}": TaskEndpoint(name) for name in ALIASES},
    }
    task = TaskEndpoint()
    app.router.routes += [Route(path, endpoint, include_in_schema=False) for path, endpoint in hot.items()]
    app.router.routes.append(Route(TASK_PATH, task, include_in_schema=False))
    app.router.default = nothing_there
    app.state.templates = {route.endpoint: route.path for route in app.router.routes if isinstance(route, Route)}
    templates = app.state.templates.values()
    shortcuts = Shortcuts(app.router.middleware_stack, endpoints=hot, task=task, listed=templates)
    app.router.middleware_stack = shortcuts
    return shortcuts


def add_page(app: FastAPI, page: Page) -> None:
    """One page, with who may come in before anything else is looked at."""
    access = [] if page.access is None else [Depends(page.access)]
    app.add_api_route(
        page.path,
        page.endpoint,
        methods=[page.method],
        tags=[page.tag],
        summary=(page.endpoint.__doc__ or "").split("\n")[0].rstrip("."),
        responses=page.responses,
        response_model=None,
        status_code=min(int(status) for status in page.responses) if page.responses else 200,
        dependencies=[*access, Depends(page.query)],
        include_in_schema=page.shown,
        openapi_extra=taken(page.body),
    )


def taken(body: type[BaseModel] | Callable[[], dict[str, Any]] | None) -> dict[str, Any] | None:
    """What a page takes, as OpenAPI has it."""
    if body is None:
        return None
    return request_body(body) if isinstance(body, type) else body()
