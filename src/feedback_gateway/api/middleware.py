"""What happens around every request, as plain ASGI: its id, security headers, its size, refusal while shutting down."""

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from feedback_gateway.api.error_handlers import shutdown_response
from feedback_gateway.clock import Clock
from feedback_gateway.errors import TooLarge

SECURITY_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Stamp:
    """Gives every request an id and every response that id (or the one of its call) and the security headers."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; `scope["state"]["call_id"]` is its id, which an endpoint may replace by its call's."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["call_id"] = self._clock.new_id()

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-call-id"] = state["call_id"]
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, stamped)


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
        announced = Headers(scope=scope).get("content-length", "0")
        body = CountedBody(
            receive, announced=int(announced[:20]) if announced.isdecimal() else 0, most_bytes=self._most
        )
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
