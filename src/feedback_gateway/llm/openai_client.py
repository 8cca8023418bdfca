"""Completes tasks on a deployment that speaks OpenAI's protocol. One request on the wire; LiteLLM is not loaded."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import ProviderRejected, ProviderUnavailable
from feedback_gateway.llm.asking import Ways
from feedback_gateway.llm.chat_answers import read_chat
from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.openai_answers import said_in, usage_told, value_of
from feedback_gateway.llm.openai_http import FAILURES
from feedback_gateway.llm.openai_wire import Wire
from feedback_gateway.llm.usage import estimate, usage_of


class OpenAIClient:
    """Completes on one deployment."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._ways = Ways(wire.endpoint.modes, wire.endpoint.supported)

    async def prepare(self) -> None:
        """Nothing to load."""

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Ask once. Raises ProviderError; its `usage` is set where an answer came, and was billed, but is of no use."""
        question = self._ways.question(request)
        try:
            return await self.send(question.messages, question.params, trace=call.trace_headers())
        except ProviderRejected as error:
            self._ways.refuse(question, error)

    async def send(
        self,
        messages: Sequence[Mapping[str, Any]],
        params: Mapping[str, Any],
        *,
        trace: Mapping[str, str] | None = None,
    ) -> Completion:
        """Send one conversation, in OpenAI's terms, in exactly one request. Raises ProviderError."""
        asked = {"messages": list(messages), **params}
        try:
            reply = await self._wire.post("chat", asked, trace=trace or {})
        except FAILURES as error:
            raise self._wire.failure(error, asked) from None
        body = value_of(reply.body) if reply.status == HTTPStatus.OK else None
        if not isinstance(body, Mapping) or body.get("error"):
            usage = usage_told(reply.body) if reply.status == HTTPStatus.OK else None
            raise self._wire.refusal(reply, asked, usage=usage)
        usage = usage_of(body)
        if usage is None and not isinstance(body.get("choices"), list):
            raise ProviderUnavailable("the provider's answer is no completion", status=reply.status)
        if usage is None:
            prompt = len(msgspec.json.encode(messages))
            usage = estimate(prompt=prompt, answer=said_in(body.get("choices"), key="message"))
        return read_chat(body, usage=usage)
