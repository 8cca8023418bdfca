"""Notices that a client closes its connection while its request is being answered, and ends the work for it."""

import asyncio
from collections.abc import Callable
from types import TracebackType

from starlette.requests import Request
from starlette.types import Message

DEPARTURE = "feedback_gateway.departure"
"""The extension of ASGI by which our server tells of it: a `Departure`. Others are asked for it by a task."""


class ClientWentAwayError(Exception):
    """Nobody waits for the answer any more."""


class Departure:
    """Tells whoever listens, at most one, that the client has gone."""

    def __init__(self) -> None:
        self.listener: Callable[[], None] | None = None

    def tell(self) -> None:
        """It has."""
        if self.listener is not None:
            self.listener()


class cancelled_with:  # noqa: N801 a context manager, read like a function
    """Cancel the block when the client closes its connection, or is taken to have by calling what the block is given.

    The request's body has been read. Raises ClientWentAwayError then.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._departure: Departure | None = (request.scope.get("extensions") or {}).get(DEPARTURE)
        self._block: asyncio.Task[object] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._is_gone = False

    async def __aenter__(self) -> Callable[[], None]:
        """Begin to listen."""
        self._block = asyncio.current_task()
        if self._departure is not None:
            self._departure.listener = self._leave
        else:
            self._watcher = asyncio.create_task(self._watch())
        return self._leave

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End to listen."""
        if self._departure is not None:
            self._departure.listener = None
        if self._watcher is not None:
            self._watcher.cancel()
        is_ours = isinstance(error, asyncio.CancelledError) and self._is_gone
        if is_ours and self._block is not None and not self._block.uncancel():
            raise ClientWentAwayError from None

    def _leave(self) -> None:
        self._is_gone = True
        if self._block is not None:
            self._block.cancel()

    async def _watch(self) -> None:
        message: Message = {"type": ""}
        while message["type"] != "http.disconnect":
            message = await self._request.receive()
        self._leave()
