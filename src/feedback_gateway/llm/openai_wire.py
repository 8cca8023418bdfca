"""One deployment's end of the wire: requests out to its endpoint, failures and refusals as our errors."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any

import msgspec

from feedback_gateway.clock import Clock
from feedback_gateway.errors import ProviderError, ProviderUnavailable
from feedback_gateway.llm.models import Deployment, Operation, Usage
from feedback_gateway.llm.openai_answers import Reply, value_of
from feedback_gateway.llm.openai_endpoint import Endpoint
from feedback_gateway.llm.openai_http import FAILURES, Connections, Stream
from feedback_gateway.llm.provider_errors import refused, translate

OPEN_HEADERS = frozenset({"content-type", "openai-organization"})
WRITTEN = ("messages", "input", "prediction", "user", "metadata")


class Wire:
    """Sends requests, one each time; `endpoint` says what they look like, `failures` what they may raise.

    `trace` is a trace context as headers.
    """

    failures = FAILURES

    def __init__(self, deployment: Deployment, endpoint: Endpoint, connections: Connections, *, clock: Clock) -> None:
        self.endpoint = endpoint
        self.alias = deployment.alias
        self._timeout = deployment.timeout_s
        self._connections = connections
        self._clock = clock

    async def post(self, operation: Operation, asked: Mapping[str, Any], *, trace: Mapping[str, str]) -> Reply:
        """Send what is asked and read the whole answer. Raises one of `failures`."""
        body = msgspec.json.encode(self.endpoint.body(operation, asked))
        return await self._connections.post(
            self.endpoint.url(operation), body, headers={**trace, **self.endpoint.headers}, timeout_s=self._timeout
        )

    def stream(
        self, operation: Operation, asked: Mapping[str, Any], *, trace: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Stream]:
        """Send what is asked and give the answer as it comes. Raises likewise while it is read."""
        body = msgspec.json.encode(self.endpoint.body(operation, asked, streamed=True))
        return self._connections.stream(
            self.endpoint.url(operation), body, headers={**trace, **self.endpoint.headers}, timeout_s=self._timeout
        )

    def failure(self, error: BaseException, asked: Mapping[str, Any], *, usage: Usage | None = None) -> ProviderError:
        """Our error for a request that got no whole answer."""
        return translate(error, secrets=self._secrets(), prompt=text_of(asked), now=self._clock.now(), usage=usage)

    def refusal(self, reply: Reply, asked: Mapping[str, Any], *, usage: Usage | None = None) -> ProviderError:
        """Our error for an answer that is none."""
        body = value_of(reply.body)
        if reply.status == HTTPStatus.OK and not (isinstance(body, Mapping) and body.get("error")):
            return ProviderUnavailable("the provider's answer is no completion", status=reply.status, usage=usage)
        return refused(
            reply.status,
            body,
            headers=reply.headers,
            secrets=self._secrets(),
            prompt=text_of(asked),
            now=self._clock.now(),
            usage=usage,
        )

    def _secrets(self) -> list[str]:
        headers = self.endpoint.headers.items()
        return [value.removeprefix("Bearer ") for name, value in headers if name not in OPEN_HEADERS]


def text_of(asked: Mapping[str, Any]) -> str:
    """What somebody wrote, which a provider's message may repeat: that speaks of members and formats as it needs to."""
    return msgspec.json.encode([asked.get(name) for name in WRITTEN]).decode()
