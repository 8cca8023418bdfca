"""Our errors as OpenAI's clients read them: the problem document with an `error` object in it."""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from feedback_gateway.api.error_handlers import problem_response
from feedback_gateway.api.problems import MEDIA_TYPE, problem, status_of
from feedback_gateway.errors import ContentRefused, ContextTooLong, GatewayError, NotFound, RequestDeclined
from feedback_gateway.llm.openai_events import event

TYPES: Mapping[int, str] = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
CODES: Mapping[str, str] = {
    ContextTooLong.code: "context_length_exceeded",
    ContentRefused.code: "content_filter",
    "unauthorized": "invalid_api_key",
    "rate-limited": "rate_limit_exceeded",
}
"""Where OpenAI has a code of its own for what ours says."""


def error_response(error: GatewayError, *, call_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """`error` for both kinds of clients; one that asking again cannot help tells OpenAI's client so."""
    sent = dict(headers or {})
    if status_of(error) >= 500 and not error.retryable:  # noqa: PLR2004 OpenAI's client tries those again
        sent["x-should-retry"] = "false"
    response = problem_response(error, call_id=call_id, headers=sent)
    document = document_of(error, call_id=call_id)
    kept = {name: value for name, value in response.headers.items() if name != "content-length"}
    return Response(msgspec.json.encode(document), response.status_code, kept, MEDIA_TYPE)


def error_event(error: GatewayError, *, call_id: str) -> bytes:
    """The event that ends a stream that broke off."""
    return event(msgspec.json.encode(document_of(error, call_id=call_id)))


def document_of(error: GatewayError, *, call_id: str) -> dict[str, Any]:
    """The problem document, and in it what OpenAI's clients look for."""
    document = problem(error, call_id=call_id)
    status = document["status"]
    code = error.reason if isinstance(error, RequestDeclined) else document["type"].rpartition(":")[2]
    if isinstance(error, NotFound):
        code = "model_not_found"
    return document | {
        "error": {
            "message": document["detail"],
            "type": TYPES.get(status, "invalid_request_error" if status < 500 else "server_error"),  # noqa: PLR2004
            "param": str(error.problems[0].loc[0]) if error.problems else None,
            "code": CODES.get(code, code.replace("-", "_")),
        }
    }
