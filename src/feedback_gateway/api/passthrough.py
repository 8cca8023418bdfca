"""`POST /v1/chat/completions`, `POST /v1/embeddings` and `GET /v1/models`, as OpenAI's clients know them.

Plain Starlette, as the hottest routes of all: nothing is unpacked that is only passed on.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from feedback_gateway.api.bodies import parse_json, require_json
from feedback_gateway.api.departures import ClientWentAwayError, cancelled_with
from feedback_gateway.api.deps import caller_of, refuse_query, services_of
from feedback_gateway.api.error_handlers import CLIENT_WENT_AWAY, log_fault, redact
from feedback_gateway.api.passthrough_errors import error_event, error_response
from feedback_gateway.api.problems import status_of
from feedback_gateway.api.rendering import money
from feedback_gateway.api.tasks import account_headers
from feedback_gateway.errors import GatewayError, MethodNotAllowed, NotFound
from feedback_gateway.passthrough.bodies import Asked
from feedback_gateway.passthrough.service import Head, Listener, Passed

CLIENT_S = 60.0
"""How long a client may take to read a part of a streamed answer."""
CREATED = 0
Read = Callable[..., Asked]


class PassthroughEndpoint:
    """Passes requests of one kind on; `read` makes sense of their bodies."""

    def __init__(self, read: Read) -> None:
        self._read = read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive, send)
        outlet = Outlet(request, send)
        try:
            response = await self._respond(request, outlet)
        except ClientWentAwayError:
            response = Response(status_code=CLIENT_WENT_AWAY)
        except GatewayError as error:
            response = failed(error, request, outlet)
        await outlet.finish(response)(scope, receive, send)

    async def _respond(self, request: Request, outlet: "Outlet") -> Response:
        services = services_of(request)
        caller = await caller_of(request)
        if request.method != "POST":
            return refuse_method(request, "POST")
        refuse_query(request)
        require_json(request.headers)
        body = await request.body()
        asked = self._read(parse_json(body), length=len(body))
        async with cancelled_with(request) as leave:
            outlet.leave = leave
            passed = await services.passthrough.run(
                asked,
                consumer=caller.consumer,
                listener=Listener(outlet.begin, outlet.send),
                origin=request.state.origin,
            )
        request.state.call_id = passed.head.call_id
        return Response(passed.body, headers=headers_of(passed), media_type="application/json")


class Outlet:
    """Where a streamed answer leaves; a client that reads nothing for CLIENT_S counts as gone."""

    def __init__(self, request: Request, send: Send) -> None:
        self._request = request
        self._send = send
        self.has_begun = False
        self.leave: Callable[[], None] = lambda: None

    async def begin(self, head: Head) -> None:
        """Send the head."""
        self.has_begun = True
        self._request.state.call_id = head.call_id
        response = Response(headers=head_headers(head), media_type="text/event-stream")
        headers = [one for one in response.raw_headers if one[0] != b"content-length"]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def send(self, data: bytes) -> None:
        """Send a part, or leave where nobody takes it."""
        try:
            async with asyncio.timeout(CLIENT_S):
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except TimeoutError:
            self.leave()
            await asyncio.Event().wait()  # until the cancellation arrives

    def finish(self, response: Response) -> Any:
        """What ends the answer: `response`, or only its body where the answer has begun."""

        async def end(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 ASGI's
            await send({"type": "http.response.body", "body": bytes(response.body), "more_body": False})

        return end if self.has_begun else response


class ModelsEndpoint:
    """The aliases that the caller may ask, all of them or the one that the path names."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive, send)
        try:
            response = await self._respond(request)
        except GatewayError as error:
            response = failed(error, request)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        services = services_of(request)
        caller = await caller_of(request)
        if request.method not in ("GET", "HEAD"):
            return refuse_method(request, "GET")
        refuse_query(request)
        models = [model_json(alias) for alias in services.passthrough.models(caller.consumer)]
        wanted = request.path_params.get("model")
        if wanted is None:
            return Response(msgspec.json.encode({"object": "list", "data": models}), media_type="application/json")
        found = [model for model in models if model["id"] == wanted]
        if not found:
            raise NotFound(f"there is no model {wanted[:200]!r}; GET /v1/models lists what there is")
        return Response(msgspec.json.encode(found[0]), media_type="application/json")


def model_json(alias: str) -> Mapping[str, Any]:
    """A model as OpenAI lists it."""
    return {"id": alias, "object": "model", "created": CREATED, "owned_by": "feedback-gateway"}


def failed(error: GatewayError, request: Request, outlet: Outlet | None = None) -> Response:
    """The answer to a request that failed: a problem, or where an answer has begun the event that ends it."""
    request.state.call_id = error.call_id or request.state.call_id
    if status_of(error) == 500:  # noqa: PLR2004 - a fault of ours, whatever its class
        log_fault(error, call_id=request.state.call_id)
    redact(error, request.app.state.services)
    if outlet is not None and outlet.has_begun:
        return Response(error_event(error, call_id=request.state.call_id))
    return error_response(error, call_id=request.state.call_id)


def refuse_method(request: Request, allowed: str) -> Response:
    """405 with what the path takes."""
    error = MethodNotAllowed(f"{request.method[:20]} is not for this path; {allowed} is")
    return error_response(error, call_id=request.state.call_id, headers={"allow": allowed})


def headers_of(passed: Passed) -> dict[str, str]:
    """What an answer says of itself."""
    return head_headers(passed.head) | {"x-cost-usd": money(passed.receipt.cost_usd) or "unknown"}


def head_headers(head: Head) -> dict[str, str]:
    """What is known when an answer begins."""
    return {"x-cache": "hit" if head.cached else "miss"} | account_headers(head)
