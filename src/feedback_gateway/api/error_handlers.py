"""Every failure that leaves over HTTP becomes a problem document here, our own faults included."""

import asyncio
import logging
import traceback
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from feedback_gateway.api.problems import (
    MEDIA_TYPE,
    fault_message,
    internal_problem,
    limit_headers,
    problem,
    status_of,
    whole_seconds,
)
from feedback_gateway.api.rendering import money
from feedback_gateway.errors import (
    GatewayError,
    InvalidRequest,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    Problem,
    RateLimited,
    Unavailable,
)
from feedback_gateway.services import Services

CLIENT_WENT_AWAY = 499
RETRY_LATER_S = 30.0
"""When to come back after 503, or after a 429 of which the provider did not say when."""

log = logging.getLogger(__name__)


def problem_response(error: GatewayError, *, call_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """`error` as an RFC 9457 response, with `retry-after` where waiting helps and `ratelimit-*` of limits of ours."""
    status = status_of(error)
    sent = dict(headers or {})
    wait = error.retry_after
    if wait is None and (status == 503 or (isinstance(error, RateLimited) and error.retryable)):  # noqa: PLR2004
        wait = RETRY_LATER_S
    if wait is not None:
        sent["retry-after"] = str(whole_seconds(wait))
    if status == 401:  # noqa: PLR2004 - RFC 9110 asks for a challenge
        sent["www-authenticate"] = "Bearer"
    if isinstance(error, RateLimited) and error.limit is not None:
        sent |= limit_headers(limit=error.limit, remaining=0, reset_s=whole_seconds(error.retry_after))
    if error.call_id is not None:
        sent["x-cost-usd"] = money(error.cost_usd) or "unknown"
    return JSONResponse(problem(error, call_id=call_id), status_code=status, headers=sent, media_type=MEDIA_TYPE)


def answer_to(error: GatewayError, *, call_id: str, services: Services | None) -> Response:
    """What a caller hears of `error`."""
    if status_of(error) == 500:  # noqa: PLR2004 - a fault of ours, whatever its class
        log_fault(error, call_id=call_id)
    redact(error, services)
    return problem_response(error, call_id=call_id)


def add_error_handlers(app: FastAPI) -> None:
    """Answer our errors, the framework's and those of validation as problems."""

    async def of_ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, GatewayError)  # noqa: S101 - what it is registered for
        return answer_to(error, call_id=request.state.call_id, services=request.app.state.services)

    async def of_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - likewise
        ours = invalid_parameters(error)
        redact(ours, request.app.state.services)
        return problem_response(ours, call_id=request.state.call_id)

    async def of_the_framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - likewise
        ours = translate(error, request)
        redact(ours, request.app.state.services)
        return problem_response(ours, call_id=request.state.call_id, headers=error.headers)

    async def of_a_client_that_went_away(request: Request, error: Exception) -> Response:  # noqa: ARG001
        return Response(status_code=CLIENT_WENT_AWAY)

    app.add_exception_handler(GatewayError, of_ours)
    app.add_exception_handler(RequestValidationError, of_validation)
    app.add_exception_handler(HTTPException, of_the_framework)
    app.add_exception_handler(ClientDisconnect, of_a_client_that_went_away)


def redact(error: GatewayError, services: Services | None) -> None:
    """Take personal data and secrets out of what `error` says: it names fields, paths and words that others chose."""
    if services is None:
        return
    places = [[list(place.loc), place.msg] for place in error.problems]
    told = services.books.redactor.session().mask({"detail": error.detail, "errors": places})
    error.detail = told["detail"]
    error.problems = tuple(Problem(tuple(loc), msg) for loc, msg in told["errors"])


def invalid_parameters(error: RequestValidationError) -> InvalidRequest:
    """Name every parameter that is wrong, without repeating its value."""
    problems = [Problem(tuple(fault["loc"]), fault_message(fault)) for fault in error.errors()]
    first = problems[0]
    return InvalidRequest(f"{'.'.join(str(part) for part in first.loc)}: {first.msg}", problems=problems)


def translate(error: HTTPException, request: Request) -> GatewayError:
    """The framework's error in our words."""
    known: dict[int, GatewayError] = {
        404: NotFound(f"there is nothing at {request.url.path[:200]}; /docs lists what there is"),
        405: MethodNotAllowed(f"{request.method[:20]} is not for this path; see the allow header"),
    }
    return known.get(error.status_code) or MalformedRequest("the request cannot be read")


def log_fault(error: BaseException, *, call_id: str) -> None:
    """Log where it happened and of what kind, never an exception's text: that may quote what users wrote."""
    trace = []
    current: BaseException | None = error
    while current is not None:
        trace.append(f"{type(current).__qualname__}\n" + "".join(traceback.format_tb(current.__traceback__)))
        current = current.__cause__ or current.__context__
    log.error("call %s failed: %s", call_id, "caused by ".join(trace))


class Reached:
    """The end of the short way: the endpoint that a request's scope names, and our errors as problems.

    An endpoint raises nothing once it has begun to answer.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            await scope["endpoint"](scope, receive, send)
        except GatewayError as error:
            response = answer_to(error, call_id=scope["state"]["call_id"], services=scope["app"].state.services)
            await response(scope, receive, send)
        except ClientDisconnect:
            await Response(status_code=CLIENT_WENT_AWAY)(scope, receive, send)


class Faults:
    """Middleware: an exception that nobody expected is logged without its text and answered with status 500.

    What the server cancels, as it outlasts the time for shutting down, is answered 503.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        sent: list[str] = []

        async def noting(message: Message) -> None:
            sent.append(message["type"])
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except asyncio.CancelledError:
            request = asyncio.current_task()
            if scope["type"] != "http" or sent or request is None:
                raise
            request.uncancel()
            await shutdown_response(scope["state"]["call_id"])(scope, receive, send)
        except Exception as error:
            if scope["type"] != "http":
                raise
            call_id = scope["state"]["call_id"]
            log_fault(error, call_id=call_id)
            if sent:
                raise RuntimeError("the answer broke off") from None
            await internal_response(call_id)(scope, receive, send)


def shutdown_response(call_id: str) -> Response:
    """What a request is answered that is not, or no longer, taken."""
    error = Unavailable("the gateway is shutting down; ask again", retry_after=1)
    return problem_response(error, call_id=call_id, headers={"connection": "close"})


def internal_response(call_id: str) -> Response:
    """What a caller sees of a fault of ours."""
    document: dict[str, Any] = internal_problem(call_id=call_id)
    return JSONResponse(document, status_code=500, media_type=MEDIA_TYPE)
