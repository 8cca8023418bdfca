"""Passes requests on through litellm to whatever provider it knows, in exactly one request, streamed or whole.

Litellm obeys what it is given by name, addresses and keys included: only what is known here reaches it.
"""

import asyncio
import struct
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import ProviderError, ProviderRejected, ProviderTimeout, ProviderUnavailable
from feedback_gateway.llm.litellm_client import LiteLLMClient
from feedback_gateway.llm.models import Deployment, ForwardAnswer, ForwardRequest, Operation, Usage
from feedback_gateway.llm.openai_answers import FINISH, Reply, encode, told
from feedback_gateway.llm.passage import Passage

CHAT = frozenset({
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
    "max_tokens", "messages", "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty",
    "prompt_cache_key", "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop",
    "stream", "stream_options", "temperature", "thinking", "tool_choice", "tools", "top_k", "top_logprobs",
    "top_p", "user", "verbosity", "web_search_options",
})  # fmt: skip
EMBEDDINGS = frozenset({"dimensions", "encoding_format", "input", "user"})
TAKEN: Mapping[Operation, frozenset[str]] = {"chat": CHAT, "embeddings": EMBEDDINGS}
"""What a caller may set; another member could choose an address, a key or a file."""
DECLINED = 400


class LiteLLMForwarder:
    """Passes requests on to one deployment."""

    failures = (TimeoutError,)

    def __init__(self, client: LiteLLMClient, deployment: Deployment) -> None:
        self._client = client
        self._timeout = deployment.timeout_s
        self.alias = deployment.alias

    async def prepare(self) -> None:
        """Import litellm, which takes seconds, once."""
        await self._client.prepare()

    async def complete(self, request: ForwardRequest, call: Call) -> ForwardAnswer:
        """Pass it on once. Raises ProviderError, and Abandoned where a stream is left."""
        params = checked(request)
        prompt, trace = text_of(request.body), call.trace_headers()
        if request.sink is not None:
            passage = Passage(request, call, sink=request.sink, road=self)
            async with aclosing(self._events(params, prompt=prompt, trace=trace)) as events:
                return await passage.run(events)
        answer, usage = await self._client.ask(request.operation, params, prompt=prompt, trace=trace)
        choices = getattr(answer, "choices", None)
        if request.operation == "chat" and not choices:
            raise ProviderUnavailable("the provider answered without any choice", status=200, usage=usage)
        document = answer.model_dump(exclude_none=True)
        if request.operation == "embeddings":
            document = packed(document, encoding=request.body.get("encoding_format"))
        else:
            document = whole(document)
        if usage.estimated:
            document["usage"] = told(usage)
        return ForwardAnswer(
            body=written({**document, "model": self.alias}, usage=usage),
            finish_reason=FINISH.get(choices[0].finish_reason or "", "other") if choices else "stop",
            model=str(answer.model or ""),
            usage=usage,
        )

    def failure(self, error: BaseException, asked: Mapping[str, Any], *, usage: Usage | None = None) -> ProviderError:
        """Our error for a silence that was too long."""
        del error, asked
        return ProviderTimeout(f"nothing more within {self._timeout:g} s", usage=usage)

    def refusal(self, reply: Reply, asked: Mapping[str, Any], *, usage: Usage | None = None) -> ProviderError:
        """Our error for a chunk that is none."""
        del asked
        return ProviderUnavailable("the provider's answer is no completion", status=reply.status, usage=usage)

    async def _events(
        self, params: Mapping[str, Any], *, prompt: str, trace: Mapping[str, str]
    ) -> AsyncGenerator[bytes]:
        """The data of each event of a streamed answer; a silence lasts no longer than an attempt may."""
        counted = {**params, "stream_options": {"include_usage": True}}
        async with aclosing(self._client.stream(counted, prompt=prompt, trace=trace)) as chunks:
            while True:
                async with asyncio.timeout(self._timeout):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                yield written(counting(chunk.model_dump(exclude_none=True)))


def checked(request: ForwardRequest) -> dict[str, Any]:
    """What litellm is given. Raises ProviderRejected for what only an operator may say, and for remote pictures.

    Litellm would fetch those itself, from wherever the caller points.
    """
    unknown = sorted(name for name in request.body if name not in TAKEN[request.operation])
    if unknown:
        raise ProviderRejected(f"{unknown[0][:80]}: not for this model's provider", status=DECLINED)
    left_out = ("stream", "encoding_format")  # not every provider packs numbers: we do
    params = {name: value for name, value in request.body.items() if value is not None and name not in left_out}
    if any(is_remote(part) for part in parts_in(params.get("messages"))):
        raise ProviderRejected("give pictures and files to this model as data URLs", status=DECLINED)
    return params


def parts_in(messages: Any) -> list[Mapping[str, Any]]:
    """Every part of every message that is written in parts."""
    contents = [message.get("content") for message in messages or () if isinstance(message, Mapping)]
    return [part for content in contents if isinstance(content, list) for part in content if isinstance(part, Mapping)]


def is_remote(part: Any) -> bool:
    """Whether a part of a message holds an address to fetch; text never does."""
    if isinstance(part, Mapping):
        return part.get("type") != "text" and any(is_remote(value) for value in part.values())
    return isinstance(part, str) and part.strip().lower().startswith(("http:", "https:", "gs:", "s3:", "file:", "ftp:"))


def counting(chunk: dict[str, Any]) -> dict[str, Any]:
    """A chunk; one that only counts tokens has no choices, as OpenAI's has none."""
    says_nothing = not any(choice.get("delta") or choice.get("finish_reason") for choice in chunk.get("choices") or ())
    return {**chunk, "choices": []} if "usage" in chunk and says_nothing else chunk


def whole(document: dict[str, Any]) -> dict[str, Any]:
    """An answer in which every message has its content, be it null."""
    for choice in document.get("choices") or ():
        choice.get("message", {}).setdefault("content", None)
    return document


def packed(document: dict[str, Any], *, encoding: object) -> dict[str, Any]:
    """Embeddings in the encoding that was asked for: numbers, or 32-bit floats in base64."""
    for row in document.get("data") or () if encoding == "base64" else ():
        vector = row.get("embedding")
        if isinstance(vector, list):
            row["embedding"] = b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    return document


def written(document: Mapping[str, Any], *, usage: Usage | None = None) -> bytes:
    """A document as JSON. Raises ProviderUnavailable for half of a surrogate pair, which no text holds."""
    try:
        return encode(document)
    except UnicodeEncodeError:
        raise ProviderUnavailable("the provider's answer is no text", status=200, usage=usage) from None


def text_of(asked: Mapping[str, Any]) -> str:
    """All that was asked, as text that a provider's message may repeat."""
    return msgspec.json.encode(asked).decode()
