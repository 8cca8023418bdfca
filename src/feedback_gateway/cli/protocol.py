"""HTTP/1.1 as uvicorn speaks it, bounds on what stands before a body, problem documents for what is no HTTP."""

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from feedback_gateway.api.departures import DEPARTURE, Departure
from feedback_gateway.api.problems import MEDIA_TYPE, problem
from feedback_gateway.errors import MalformedRequest

MAX_HEAD_BYTES = 64 * 1024
HEAD_S = 30.0


class ProblemProtocol(HttpToolsProtocol):
    """One connection; a request's first line and headers may take MAX_HEAD_BYTES more than came at once, and HEAD_S."""

    _is_in_head = False
    _head: asyncio.TimerHandle | None = None
    """Runs while headers are incomplete."""
    _head_bytes = 0

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        extensions: dict[str, Any] = {DEPARTURE: Departure()}
        self.scope["extensions"] = extensions
        self._is_in_head = True

    def on_headers_complete(self) -> None:
        """Its headers are there."""
        self._end_head()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take some bytes."""
        super().data_received(data)
        if not self._is_in_head:
            return
        if self._head is None:
            late = f"the request's headers did not come within {HEAD_S:g} s"
            self._head = self.loop.call_later(HEAD_S, self.send_400_response, late)
            self._head_bytes = 0
        else:
            self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response(f"the request's headers are larger than {MAX_HEAD_BYTES // 1024} KiB")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._end_head()
        super().connection_lost(exc)
        if self.cycle is not None and self.cycle.disconnected:
            extensions: dict[str, Any] = self.cycle.scope["extensions"] or {}
            extensions[DEPARTURE].tell()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read as a request, and close."""
        self._end_head()
        body = json.dumps(problem(MalformedRequest(msg))).encode()
        head = [
            b"HTTP/1.1 400 Bad Request",
            *(name + b": " + value for name, value in self.server_state.default_headers),
            b"content-type: " + MEDIA_TYPE.encode(),
            b"content-length: " + str(len(body)).encode(),
            b"connection: close",
        ]
        self.transport.write(b"\r\n".join([*head, b"", body]))
        self.transport.close()

    def _end_head(self) -> None:
        self._is_in_head = False
        if self._head is not None:
            self._head.cancel()
            self._head = None
