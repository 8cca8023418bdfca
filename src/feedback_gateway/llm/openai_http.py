"""One pool of connections to every provider that speaks OpenAI's protocol. Nobody else imports aiohttp.

Knows addresses, bytes and time-outs; what the bytes mean is for others.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from http import HTTPStatus

import aiohttp

from feedback_gateway.llm.openai_answers import Reply
from feedback_gateway.llm.provider_errors import MAX_ANSWER_BYTES, TOO_LARGE

CONNECTIONS = 1_000
CONNECT_S = 10.0
IDLE_S = 15.0
DNS_S = 60
FAILURES = (aiohttp.ClientError, TimeoutError)
"""What the pool raises: `provider_errors.translate` knows them by name."""


class Stream:
    """An answer that is still coming: `pieces` gives its bytes as they come, `read` all that is left of it."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.is_events = response.content_type == "text/event-stream"

    async def read(self) -> Reply:
        """The whole of it."""
        return await read_bounded(self._response)

    def pieces(self) -> AsyncIterator[bytes]:
        """Its bytes, in pieces that say nothing."""
        return self._response.content.iter_any()


class Connections:
    """The pool, opened by the first request and closed by `aclose`; no cookies, proxies, redirects or second tries."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, *, headers: Mapping[str, str], timeout_s: float) -> Reply:
        """Send one request and read its answer; one of over MAX_ANSWER_BYTES counts as a bad gateway's."""
        async with self._opened().post(
            url, data=body, headers=headers, timeout=limits(timeout_s), allow_redirects=False
        ) as response:
            return await read_bounded(response)

    @asynccontextmanager
    async def stream(
        self, url: str, body: bytes, *, headers: Mapping[str, str], timeout_s: float
    ) -> AsyncIterator[Stream]:
        """Send one request; whoever leaves before the end closes its connection. `timeout_s` bounds each silence."""
        response = await self._opened().post(
            url, data=body, headers=headers, timeout=limits(timeout_s), allow_redirects=False
        )
        try:
            yield Stream(response)
        finally:
            response.close()

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=IDLE_S, ttl_dns_cache=DNS_S)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                headers={"user-agent": "feedback-gateway", "accept-encoding": "gzip, deflate"},
            )
        return self._session


@lru_cache(maxsize=256)
def limits(timeout_s: float) -> aiohttp.ClientTimeout:
    """How long a connection may take to come about, and how long it may be silent."""
    return aiohttp.ClientTimeout(total=None, sock_connect=min(CONNECT_S, timeout_s), sock_read=timeout_s)


async def read_bounded(response: aiohttp.ClientResponse) -> Reply:
    """The whole answer, unpacked, if it is no larger than MAX_ANSWER_BYTES."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            response.close()
            return Reply(HTTPStatus.BAD_GATEWAY, response.headers, TOO_LARGE)
        parts.append(part)
    return Reply(response.status, response.headers, parts[0] if len(parts) == 1 else b"".join(parts))
