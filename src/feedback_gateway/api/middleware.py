"""What happens around every request, as plain ASGI: its ids, security headers, its size, refusal while shutting down.

Whoever watches is told of it when it is over.
"""

import asyncio
from dataclasses import replace
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from feedback_gateway.api.error_handlers import shutdown_response
from feedback_gateway.clock import Clock
from feedback_gateway.consumers.models import Caller
from feedback_gateway.errors import TooLarge
from feedback_gateway.observability.arrivals import origin_of
from feedback_gateway.observability.logs import REQUEST
from feedback_gateway.observability.models import Origin, ServedRequest, method_of
from feedback_gateway.services import Services

NOT_ANSWERED = 500
SECURITY_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
IDS = (b"x-call-id", b"x-request-id")
RAW_SECURITY_HEADERS = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]


class Stamp:
    """Gives every request an id and every response its ids and the security headers, and tells who watches.

    `x-request-id` is the gateway's own id of the request, or of its call; `x-call-id` is the one that the sender gave
    it, or else the same. `sample_ratio` is the share of the traces that begin here and are kept.
    """

    def __init__(self, app: ASGIApp, clock: Clock, sample_ratio: float) -> None:
        self._app = app
        self._clock = clock
        self._sample_ratio = sample_ratio

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; `scope["state"]["call_id"]` is its id, which an endpoint may replace by its call's.

        `scope["state"]["origin"]` is where it comes from.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock.monotonic()
        state = scope.setdefault("state", {})
        state["call_id"] = self._clock.new_id()
        services: Services | None = scope["app"].state.services
        origin = origin_of(scope["headers"], sample_ratio=self._sample_ratio)
        if origin.client_call_id is not None and services is not None:
            origin = without_secrets(origin, services)
        state["origin"] = origin
        state["status"] = NOT_ANSWERED

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                state["status"] = message["status"]
                headers = [one for one in message["headers"] if one[0] not in IDS]
                there = {name for name, _ in headers}
                ids = (origin.client_call_id or state["call_id"], state["call_id"])
                headers += [(name, value.encode()) for name, value in zip(IDS, ids, strict=True)]
                headers += [one for one in RAW_SECURITY_HEADERS if one[0] not in there]
                message["headers"] = headers
            await send(message)

        token = REQUEST.set(state)
        try:
            await self._app(scope, receive, stamped)
        finally:
            services = scope["app"].state.services
            if services is not None:
                services.watch.observe_request(served(scope, state, seconds=self._clock.monotonic() - started))
            REQUEST.reset(token)


def without_secrets(origin: Origin, services: Services) -> Origin:
    """The same, without an id that looks like personal data or a key: it would be kept and logged."""
    told = services.books.redactor.session().mask({"id": origin.client_call_id})
    return origin if told["id"] == origin.client_call_id else replace(origin, client_call_id=None)


def served(scope: Scope, state: dict[str, Any], *, seconds: float) -> ServedRequest:
    """What is known of a request that is over."""
    caller: Caller | None = state.get("caller")
    return ServedRequest(
        method=method_of(scope["method"]),
        route=scope["app"].state.templates.get(scope.get("endpoint")),
        status=state["status"],
        seconds=seconds,
        call_id=state["call_id"],
        origin=state["origin"],
        consumer=None if caller is None else caller.consumer.name,
    )


class BodyLimit:
    """Stops whoever reads a body over the limit, announced by its length or not, with TooLarge."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        body = CountedBody(receive, announced=int(announced[:20]) if announced.isdigit() else 0, most_bytes=self._most)
        await self._app(scope, body.receive, send)


class CountedBody:
    """A request's body that ends with TooLarge where it grows over its limit, or was announced to."""

    def __init__(self, receive: Receive, *, announced: int, most_bytes: int) -> None:
        self._receive = receive
        self._size = 0
        self._announced = announced
        self._most = most_bytes

    async def receive(self) -> Message:
        """The next part. Raises TooLarge."""
        if self._announced > self._most:
            raise TooLarge(f"the body of {self._announced:,} bytes is over the limit of {self._most:,}")
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > self._most:
            raise TooLarge(f"the body is over the limit of {self._most:,} bytes")
        return message


class Drain:
    """How many requests are in flight, and whether new ones are still taken. One event loop only."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self) -> None:
        """One more request."""
        self.in_flight += 1
        self._idle.clear()

    def leave(self) -> None:
        """One less."""
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()

    def close(self) -> None:
        """Take no new requests from now on."""
        self.closed = True

    async def idle(self, *, within: float) -> bool:
        """Wait until nothing is in flight, at most `within` seconds; tells whether that came about."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout=within)
        except TimeoutError:
            return False
        return True


class Draining:
    """Counts requests in flight; once the drain is closed answers 503, but for health checks, which tell of it."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._drain.closed and not scope["path"].startswith("/health/"):
            await shutdown_response(scope["state"]["call_id"])(scope, receive, send)
            return
        self._drain.enter()
        try:
            await self._app(scope, receive, send)
        finally:
            self._drain.leave()
