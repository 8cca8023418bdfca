"""Passes requests on to a deployment that speaks OpenAI's protocol, and its answers back, streamed or whole.

One request on the wire, however it ends; retries, prices and the deadline have owners elsewhere.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from feedback_gateway.calls.models import Call
from feedback_gateway.clock import Clock
from feedback_gateway.errors import ProviderError, ProviderUnavailable
from feedback_gateway.llm.models import (
    Abandoned,
    Deployment,
    FinishReason,
    ForwardAnswer,
    ForwardRequest,
    Sink,
    Usage,
)
from feedback_gateway.llm.openai_answers import (
    FINISH,
    billed,
    finish_of,
    is_answer,
    member,
    renamed,
    said_in,
    split,
    usage_in,
    value_of,
)
from feedback_gateway.llm.openai_endpoint import Endpoint
from feedback_gateway.llm.openai_events import DONE, END, EventReader, event
from feedback_gateway.llm.openai_http import FAILURES, Connections, Reply, Stream
from feedback_gateway.llm.provider_errors import refused, translate
from feedback_gateway.llm.usage import estimate


class OpenAIForwarder:
    """Passes requests on to one deployment. `model` in an answer is the deployment's alias, as callers know it."""

    def __init__(self, deployment: Deployment, endpoint: Endpoint, connections: Connections, *, clock: Clock) -> None:
        self._deployment = deployment
        self._endpoint = endpoint
        self._connections = connections
        self._clock = clock

    async def prepare(self) -> None:
        """Nothing to load."""

    async def complete(self, request: ForwardRequest, call: Call) -> ForwardAnswer:
        """Pass it on once. Raises ProviderError, and Abandoned where a stream is left."""
        url = self._endpoint.url(request.operation)
        body = msgspec.json.encode(self._endpoint.body(request.operation, request.body, streamed=request.is_streamed))
        headers, timeout_s = self._endpoint.headers, self._deployment.timeout_s
        try:
            if request.sink is None:
                reply = await self._connections.post(url, body, headers=headers, timeout_s=timeout_s)
                return self._read(reply, request)
            async with self._connections.stream(url, body, headers=headers, timeout_s=timeout_s) as stream:
                if stream.status != HTTPStatus.OK or not stream.is_events:
                    raise self._unstreamed(await stream.read(), request)
                return await Passage(request, call, sink=request.sink, forwarder=self).run(stream)
        except FAILURES as error:
            raise self.failure(error, request) from None

    def failure(self, error: BaseException, request: ForwardRequest, *, usage: Usage | None = None) -> ProviderError:
        """Our error for a request that got no whole answer."""
        return translate(error, secrets=self._secrets(), prompt=prompt_of(request), now=self._clock.now(), usage=usage)

    def refusal(self, reply: Reply, request: ForwardRequest, *, usage: Usage | None = None) -> ProviderError:
        """Our error for an answer that is none."""
        body = value_of(reply.body)
        if reply.status == HTTPStatus.OK and not (isinstance(body, Mapping) and body.get("error")):
            return ProviderUnavailable("the provider's answer is none", status=reply.status, usage=usage)
        return refused(
            reply.status,
            body,
            headers=reply.headers,
            secrets=self._secrets(),
            prompt=prompt_of(request),
            now=self._clock.now(),
            usage=usage,
        )

    @property
    def alias(self) -> str:
        """The model's name in answers."""
        return self._deployment.alias

    def _read(self, reply: Reply, request: ForwardRequest) -> ForwardAnswer:
        parts = split(reply.body) if reply.status == HTTPStatus.OK else None
        if parts is None or not is_answer(parts, request.operation):
            raise self.refusal(reply, request, usage=None if parts is None else usage_in(parts))
        return ForwardAnswer(
            finish_reason=finish_of(parts),
            model=str(member(parts, "model") or ""),
            usage=billed(parts, asked=request.size),
            body=renamed(parts, self.alias),
        )

    def _unstreamed(self, reply: Reply, request: ForwardRequest) -> ProviderError:
        """Our error for a refusal, or for a whole answer to a request that asked for a stream."""
        parts = split(reply.body) if reply.status == HTTPStatus.OK else None
        if parts is None or not is_answer(parts, request.operation):
            return self.refusal(reply, request)
        usage = billed(parts, asked=request.size)
        return ProviderUnavailable("the provider does not stream", status=reply.status, usage=usage)

    def _secrets(self) -> list[str]:
        return [value.removeprefix("Bearer ") for name, value in self._endpoint.headers.items() if "type" not in name]


class Passage:
    """One streamed answer on its way through, and what it comes to."""

    def __init__(self, request: ForwardRequest, call: Call, *, sink: Sink, forwarder: OpenAIForwarder) -> None:
        self._request = request
        self._call = call
        self._sink = sink
        self._forwarder = forwarder
        options = request.body.get("stream_options")
        self._wants_usage = isinstance(options, Mapping) and bool(options.get("include_usage"))
        self._model = ""
        self._finish: FinishReason | None = None
        self._usage: Usage | None = None
        self._said = 0

    async def run(self, stream: Stream) -> ForwardAnswer:
        """Pass it on to its end. Raises ProviderError where it breaks off, and Abandoned where it is left."""
        try:
            await self._pass(stream)
        except FAILURES as error:
            raise self._forwarder.failure(error, self._request, usage=self._billed()) from None
        except asyncio.CancelledError:
            usage = self._billed()
            if usage is None:
                raise
            raise Abandoned(usage) from None
        if self._finish is None:
            raise ProviderUnavailable("the stream broke off", status=stream.status, usage=self._billed())
        await self._sink(DONE)
        usage = self._billed() or estimate(prompt=self._request.size, answer=self._said)
        return ForwardAnswer(body=b"", finish_reason=self._finish, model=self._model, usage=usage)

    async def _pass(self, stream: Stream) -> None:
        reader = EventReader()
        async for piece in stream.pieces():
            for data in reader.feed(piece):
                if data == END:
                    return
                await self._part(data, stream)
        for data in reader.end():
            if data != END:
                await self._part(data, stream)

    async def _part(self, data: bytes, stream: Stream) -> None:
        """One event: read what it says of usage and of the end, and pass on what the caller asked for."""
        parts = split(data)
        if parts is None or member(parts, "error"):
            raise self._forwarder.refusal(
                Reply(stream.status, stream.headers, data), self._request, usage=self._billed()
            )
        choices = member(parts, "choices") or []
        self._said += said_in(choices, key="delta")
        self._usage = usage_in(parts) or self._usage
        self._model = self._model or str(member(parts, "model") or "")
        for choice in choices:
            if isinstance(choice, Mapping) and (reason := choice.get("finish_reason")):
                self._finish = self._finish or FINISH.get(reason, "other")
        if not self._wants_usage and parts.pop("usage", None) is not None and not choices:
            return
        if not self._call.is_answering:
            self._call.begin_answer()
        await self._sink(event(renamed(parts, self._forwarder.alias)))

    def _billed(self) -> Usage | None:
        """What was billed so far; None where nothing came yet."""
        if self._usage is not None or not self._call.is_answering:
            return self._usage
        return estimate(prompt=self._request.size, answer=self._said)


def prompt_of(request: ForwardRequest) -> str:
    """All that was asked, as text that a provider's message may repeat."""
    return msgspec.json.encode(request.body).decode()
