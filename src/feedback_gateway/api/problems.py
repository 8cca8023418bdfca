"""One table from our errors to HTTP: status codes, and problem documents as RFC 9457 writes them.

Pure: knows no web framework, so the command line shows the same documents.
"""

import math
from collections.abc import Mapping
from typing import Any

from feedback_gateway import errors

URN = "urn:feedback-gateway:problem:"
MEDIA_TYPE = "application/problem+json"

STATUS: Mapping[type[errors.GatewayError], int] = {
    errors.MalformedRequest: 400,
    errors.RequestDeclined: 400,
    errors.InvalidRequest: 422,
    errors.UnknownTask: 404,
    errors.NotFound: 404,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.BudgetExceeded: 402,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.MethodNotAllowed: 405,
    errors.TooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.RateLimited: 429,
    errors.ProviderError: 502,
    errors.ProviderFailed: 502,
    errors.InvalidModelOutput: 502,
    errors.Unavailable: 503,
    errors.ConfigurationError: 503,
    errors.DeadlineExceeded: 504,
    errors.GatewayError: 500,
}

# What only operators tell apart, callers see as one.
PUBLIC: Mapping[type[errors.GatewayError], type[errors.GatewayError]] = {
    errors.ProviderError: errors.ProviderFailed,
    errors.ConfigurationError: errors.Unavailable,
}


def status_of(error: errors.GatewayError) -> int:
    """The HTTP status of the nearest class of `error` that the table names."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(error: errors.GatewayError, *, call_id: str | None = None) -> dict[str, Any]:
    """The problem document of `error`: type, title, status, detail; call_id, errors, rate_limit where there are any.

    A status of 500 says nothing of its cause: that is for the log.
    """
    status = status_of(error)
    if status == 500:  # noqa: PLR2004 - the one status that the code cannot mean
        return internal_problem(call_id=call_id)
    kind = next((public for inner, public in PUBLIC.items() if isinstance(error, inner)), type(error))
    document: dict[str, Any] = {
        "type": URN + kind.code,
        "title": kind.title,
        "status": status,
        "detail": error.detail,
    }
    if call_id is not None:
        document["call_id"] = call_id
    if error.problems:
        document["errors"] = [{"loc": list(place.loc), "msg": place.msg} for place in error.problems]
    if isinstance(error, errors.RateLimited):
        document["rate_limit"] = {
            "source": error.source,
            "scope": error.scope,
            "name": error.name,
            "limit": error.limit,
            "unit": error.unit,
            "window_s": error.window_s,
            "retry_after_s": whole_seconds(error.retry_after),
        }
    return document


def whole_seconds(wait: float | None) -> int | None:
    """Seconds as `retry-after` has them: whole, rounded up, at least one; None stays None."""
    return None if wait is None else max(1, math.ceil(wait))


def limit_headers(*, limit: int, remaining: int, reset_s: float | None) -> dict[str, str]:
    """The `ratelimit-*` headers of one limit."""
    headers = {"ratelimit-limit": str(limit), "ratelimit-remaining": str(remaining)}
    if reset_s is not None:
        headers["ratelimit-reset"] = str(math.ceil(reset_s))
    return headers


def fault_message(fault: Mapping[str, Any]) -> str:
    """What pydantic found, in words of ours where its own speak of Python."""
    return "unknown field" if fault["type"] == "extra_forbidden" else str(fault["msg"]).removeprefix("Value error, ")


def internal_problem(*, call_id: str | None = None) -> dict[str, Any]:
    """What a caller learns of a fault of ours: where to look it up, and nothing else."""
    document: dict[str, Any] = {
        "type": URN + "internal",
        "title": errors.GatewayError.title,
        "status": 500,
        "detail": "The gateway failed; its log has the cause under the call's id.",
    }
    if call_id is not None:
        document["call_id"] = call_id
    return document
