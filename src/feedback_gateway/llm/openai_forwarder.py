"""Passes requests on to a deployment that speaks OpenAI's protocol, and its answers back, streamed or whole.

One request on the wire, however it ends; retries, prices and the deadline have owners elsewhere.
"""

from http import HTTPStatus

import msgspec

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import ProviderError, ProviderUnavailable
from feedback_gateway.llm.models import (
    ForwardAnswer,
    ForwardRequest,
)
from feedback_gateway.llm.openai_answers import (
    Reply,
    billed,
    encode,
    finish_of,
    is_answer,
    member,
    renamed,
    split,
    told,
    usage_told,
)
from feedback_gateway.llm.openai_events import events_of
from feedback_gateway.llm.openai_http import FAILURES
from feedback_gateway.llm.openai_wire import Wire
from feedback_gateway.llm.passage import Passage


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
                return await Passage(request, call, sink=request.sink, road=self._wire).run(events_of(stream.pieces()))
        except FAILURES as error:
            raise self._wire.failure(error, request.body) from None

    def _read(self, reply: Reply, request: ForwardRequest) -> ForwardAnswer:
        parts = split(reply.body) if reply.status == HTTPStatus.OK else None
        if parts is None or not is_answer(parts, request.operation):
            usage = usage_told(reply.body) if reply.status == HTTPStatus.OK else None
            raise self._wire.refusal(reply, request.body, usage=usage)
        usage = billed(parts, asked=request.size)
        if usage.estimated:
            parts["usage"] = msgspec.Raw(encode(told(usage)))
        return ForwardAnswer(
            finish_reason=finish_of(parts),
            model=str(member(parts, "model") or ""),
            usage=usage,
            body=renamed(parts, self._wire.alias),
        )

    def _unstreamed(self, reply: Reply, request: ForwardRequest) -> ProviderError:
        """Our error for a refusal, or for a whole answer to a request that asked for a stream."""
        parts = split(reply.body) if reply.status == HTTPStatus.OK else None
        if parts is None or not is_answer(parts, request.operation):
            return self._wire.refusal(reply, request.body)
        usage = billed(parts, asked=request.size)
        return ProviderUnavailable("the provider does not stream", status=reply.status, usage=usage)
