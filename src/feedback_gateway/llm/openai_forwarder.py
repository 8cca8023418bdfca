"""Passes requests on to a deployment that speaks OpenAI's protocol, and its answers back, streamed or whole.

One request on the wire, however it ends; retries, prices and the deadline have owners elsewhere.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import ProviderError, ProviderUnavailable
from feedback_gateway.llm.models import (
    Abandoned,
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
)
from feedback_gateway.llm.openai_events import DONE, END, EventReader, event
from feedback_gateway.llm.openai_http import FAILURES, Reply, Stream
from feedback_gateway.llm.openai_wire import Wire
from feedback_gateway.llm.usage import estimate


class OpenAIForwarder:
    """Passes requests on to one deployment. `model` in an answer is the deployment's alias, as callers know it."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def prepare(self) -> None:
        """Nothing to load."""

    async def complete(self, request: ForwardRequest, call: Call) -> ForwardAnswer:
        """Pass it on once. Raises ProviderError, and Abandoned where a stream is left."""
        trace = call.trace_headers()
        try:
            if request.sink is None:
                return self._read(await self._wire.post(request.operation, request.body, trace=trace), request)
            async with self._wire.stream(request.operation, request.body, trace=trace) as stream:
                if stream.status != HTTPStatus.OK or not stream.is_events:
                    raise self._unstreamed(await stream.read(), request)
                return await Passage(request, call, sink=request.sink, wire=self._wire).run(stream)
        except FAILURES as error:
            raise self._wire.failure(error, request.body) from None

    def _read(self, reply: Reply, request: ForwardRequest) -> ForwardAnswer:
        parts = split(reply.body) if reply.status == HTTPStatus.OK else None
        if parts is None or not is_answer(parts, request.operation):
            raise self._wire.refusal(reply, request.body, usage=None if parts is None else usage_in(parts))
        return ForwardAnswer(
            finish_reason=finish_of(parts),
            model=str(member(parts, "model") or ""),
            usage=billed(parts, asked=request.size),
            body=renamed(parts, self._wire.alias),
        )

    def _unstreamed(self, reply: Reply, request: ForwardRequest) -> ProviderError:
        """Our error for a refusal, or for a whole answer to a request that asked for a stream."""
        parts = split(reply.body) if reply.status == HTTPStatus.OK else None
        if parts is None or not is_answer(parts, request.operation):
            return self._wire.refusal(reply, request.body)
        usage = billed(parts, asked=request.size)
        return ProviderUnavailable("the provider does not stream", status=reply.status, usage=usage)


class Passage:
    """One streamed answer on its way through, and what it comes to."""

    def __init__(self, request: ForwardRequest, call: Call, *, sink: Sink, wire: Wire) -> None:
        self._request = request
        self._call = call
        self._sink = sink
        self._wire = wire
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
            raise self._wire.failure(error, self._request.body, usage=self._billed()) from None
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
            raise self._wire.refusal(
                Reply(stream.status, stream.headers, data), self._request.body, usage=self._billed()
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
        await self._sink(event(renamed(parts, self._wire.alias)))

    def _billed(self) -> Usage | None:
        """What was billed so far; None where nothing came yet."""
        if self._usage is not None or not self._call.is_answering:
            return self._usage
        return estimate(prompt=self._request.size, answer=self._said)
