"""One deployment behind litellm: loads it late, asks once, translates what comes back. Nobody else imports litellm.

Retries, prices, validation and the deadline have owners elsewhere.
"""

import asyncio
import functools
import json
import logging
import threading
import warnings
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextvars import ContextVar
from http import HTTPStatus
from types import ModuleType
from typing import Any

from feedback_gateway.calls.models import Call
from feedback_gateway.clock import Clock, SystemClock
from feedback_gateway.environment import prepare_litellm_environment
from feedback_gateway.errors import ProviderError, ProviderRejected, ProviderUnavailable
from feedback_gateway.llm.asking import Ways
from feedback_gateway.llm.chat_answers import read_chat, tool_arguments
from feedback_gateway.llm.models import Completion, CompletionRequest, Deployment, Operation, Usage
from feedback_gateway.llm.openai_endpoint import TAKE_SCHEMAS, without_limits
from feedback_gateway.llm.prices import is_price
from feedback_gateway.llm.provider_errors import MAX_ANSWER_BYTES, TOO_LARGE, status_of, translate, untaken
from feedback_gateway.llm.structured import Mode
from feedback_gateway.llm.usage import estimate, usage_from, usage_of

NO_FAILURE_ON_THE_WIRE = (None, HTTPStatus.OK, HTTPStatus.UNPROCESSABLE_ENTITY)
"""Statuses that litellm gives to its own failure to read an answer."""
LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
TALKATIVE = ("openai", "httpx", "httpcore", "aiohttp", "botocore", "urllib3")
"""Loggers of what litellm uses: below warnings they tell prompts, and addresses that hold keys."""
OURS = (
    "model messages timeout request_timeout max_retries num_retries retry_policy stream n weight rpm tpm "
    "base_model cache caching logger_fn callbacks fallbacks context_window_fallback_dict mock_response "
    "response_format tools tool_choice"
)
"""Parameters of a deployment that have an owner here and are not passed on."""
LOADING = threading.Lock()
SENT: ContextVar[list[bool]] = ContextVar("sent")
"""Gets an entry for each request of the present call that goes out."""


class LiteLLMClient:
    """Completes on one deployment, through whichever provider litellm knows."""

    def __init__(self, deployment: Deployment, *, clock: Clock | None = None) -> None:
        self._deployment = deployment
        self._clock = clock or SystemClock()
        self._litellm: ModuleType | None = None
        self._ways = Ways(["text"], frozenset())

    async def prepare(self) -> None:
        """Import litellm, which takes seconds, once."""
        await self._load()

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Ask once. Raises ProviderError; its `usage` is set where an answer came, and was billed, but is of no use."""
        await self._load()
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
        prompt = json.dumps(list(messages), ensure_ascii=False)
        asked = {**params, "messages": list(messages)}
        answer, usage = await self.ask("chat", asked, prompt=prompt, trace=trace or {})
        return read_chat(answer.model_dump(), usage=usage)

    async def ask(
        self, operation: Operation, params: Mapping[str, Any], *, prompt: str, trace: Mapping[str, str]
    ) -> tuple[Any, Usage]:
        """What litellm gives for one request, and what that was billed; `prompt` is what was asked, as text.

        Raises ProviderError.
        """
        litellm = await self._load()
        heard: list[str] = []
        failure: BaseException | None = None
        answer: Any = None
        sent: list[bool] = []
        try:
            answer = await self._send(litellm, operation, params, heard=heard, sent=sent, trace=trace)
        except failures(litellm) as error:
            failure = error
        body = decode(heard)
        if failure is not None:
            usage = billed(body, answer=None, prompt=prompt) if is_completion(body) else None
            if heard and not is_error(body) and status_of(failure) in NO_FAILURE_ON_THE_WIRE:
                raise ProviderUnavailable("the provider's answer is no completion", status=200, usage=usage)
            raise self.failure(failure, params, prompt=prompt, usage=usage, sent=bool(sent))
        return answer, billed(body, answer=answer, prompt=prompt)

    async def stream(self, params: Mapping[str, Any], *, prompt: str, trace: Mapping[str, str]) -> AsyncGenerator[Any]:
        """The chunks of one streamed chat completion. Raises ProviderError; `aclose` closes the connection."""
        litellm = await self._load()
        chunks: Any = None
        sent: list[bool] = []
        try:
            chunks = await self._send(litellm, "chat", {**params, "stream": True}, heard=[], sent=sent, trace=trace)
            while (chunk := await anext(chunks, None)) is not None:
                if is_made_up(chunks, chunk):
                    raise ProviderUnavailable("the stream broke off", status=200)
                yield chunk
        except failures(litellm) as error:
            raise self.failure(error, params, prompt=prompt, sent=bool(sent)) from None
        finally:
            if chunks is not None:
                await chunks.aclose()

    def failure(
        self,
        error: BaseException,
        asked: Mapping[str, Any],
        *,
        prompt: str,
        usage: Usage | None = None,
        sent: bool,
    ) -> ProviderError:
        """Our error for one of litellm's; what it did not take before anything was `sent` is the request's fault."""
        secrets = self._secrets()
        refusal = None if sent else untaken(error, asked=asked, secrets=secrets, prompt=prompt)
        return refusal or translate(error, secrets=secrets, prompt=prompt, now=self._clock.now(), usage=usage)

    async def _send(
        self,
        litellm: ModuleType,
        operation: Operation,
        params: Mapping[str, Any],
        *,
        heard: list[str],
        sent: list[bool],
        trace: Mapping[str, str],
    ) -> Any:
        """One request; `heard` gets the provider's own body, and `sent` an entry once the request is on the wire."""
        send = litellm.acompletion if operation == "chat" else litellm.aembedding
        ours = {"_skip_mcp_handler": True} if operation == "chat" else {}  # needs a package that is not installed
        token = SENT.set(sent)
        try:
            return await self._asked(send, params, heard=heard, trace=trace, ours=ours)
        finally:
            SENT.reset(token)

    async def _asked(
        self,
        send: Any,
        params: Mapping[str, Any],
        *,
        heard: list[str],
        trace: Mapping[str, str],
        ours: Mapping[str, Any],
    ) -> Any:
        return await send(
            **{**without_limits(self._passed_on(trace), params), **params},
            **ours,
            model=self._deployment.model,
            timeout=self._deployment.timeout_s,
            max_retries=0,
            num_retries=0,
            logger_fn=functools.partial(note_answer, heard),
        )

    async def aclose(self) -> None:
        """Close litellm's connections, which all deployments of the process share; they reopen when asked again."""
        if self._litellm is not None:
            await self._litellm.close_litellm_async_clients()
            self._litellm.in_memory_llm_clients_cache.flush_cache()

    async def _load(self) -> ModuleType:
        if self._litellm is None:
            litellm = await asyncio.to_thread(load_litellm)
            supported, modes = capabilities(litellm, self._deployment)
            self._ways = Ways(modes, supported)
            self._litellm = litellm
        return self._litellm

    def _passed_on(self, trace: Mapping[str, str]) -> dict[str, Any]:
        given, ours = self._deployment.params.items(), frozenset(OURS.split())
        passed = {key: value for key, value in given if value is not None and key not in ours and not is_price(key)}
        if trace:
            passed["extra_headers"] = {**trace, **passed.get("extra_headers", {})}
        return passed

    def _secrets(self) -> list[str]:
        names = ("key", "secret", "token", "password", "credential", "header")
        values = (value for key, value in self._deployment.params.items() if any(name in key for name in names))
        return [
            text
            for value in values
            for text in (value.values() if isinstance(value, Mapping) else [value])
            if isinstance(text, str)
        ]


def load_litellm() -> ModuleType:
    """Import litellm, which takes seconds, once, whoever asks for it at the same time."""
    with LOADING:
        return import_litellm()


@functools.cache
def import_litellm() -> ModuleType:
    """Import litellm with everything off that it would do on its own account."""
    prepare_litellm_environment()
    warnings.filterwarnings("ignore", message=".*`ReadOnly` qualifier", category=UserWarning)  # about its own types
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # its warnings repeat prompts; every failure is raised
    import litellm  # noqa: PLC0415 - only when a provider is first needed

    litellm.suppress_debug_info = True
    litellm.drop_params = False
    litellm.turn_off_message_logging = True
    litellm.redact_messages_in_exceptions = True
    litellm.cache = None
    for name in LOGGERS:
        logging.getLogger(name).handlers[:] = [logging.NullHandler()]
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    repair(litellm)
    return litellm


def repair(litellm: ModuleType) -> None:
    """Change what no setting of litellm's changes; DECISIONS.md says why each of these is needed."""
    import httpx  # noqa: PLC0415 - already loaded by litellm
    from litellm import utils  # noqa: PLC0415
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler  # noqa: PLC0415
    from litellm.llms.custom_httpx.llm_http_handler import BaseLLMHTTPHandler  # noqa: PLC0415
    from litellm.responses import main as responses  # noqa: PLC0415

    call = BaseLLMHTTPHandler._make_common_async_call  # noqa: SLF001
    send = httpx.AsyncClient.send

    async def call_and_show(self: Any, **kwargs: Any) -> Any:
        response = await call(self, **kwargs)
        if not kwargs.get("stream"):
            kwargs["logging_obj"].post_call(original_response=response.text)
        return response

    async def send_once(self: Any, request: Any, **options: Any) -> Any:
        SENT.get([]).append(True)
        response = await send(self, request, **{**options, "follow_redirects": False, "stream": True})
        return response if options.get("stream") else await read_bounded(response)

    patches: tuple[tuple[Any, str, Any], ...] = (
        # A redirect is a request that nobody counts, and it takes the key wherever the answer points; an answer
        # without end would take all memory.
        (httpx.AsyncClient, "send", send_once),
        # A second request after a dropped connection is a retry that nobody counts.
        (AsyncHTTPHandler, "single_connection_post_request", raise_again),
        # Cohere's reader keeps the billed units to itself.
        (BaseLLMHTTPHandler, "_make_common_async_call", call_and_show),
        # Looks up every Hugging Face model's size on huggingface.co, offline or not, while the event loop waits.
        (utils, "_get_max_position_embeddings", lambda model_name: None),  # noqa: ARG005
        # The Responses API would import the `mcp` package, which is not among litellm's dependencies.
        (responses, "_responses_try_dispatch_mcp_gateway", lambda **_: None),
        # Groq's reader needs an attribute that an answer without a service tier lacks.
        (litellm.ModelResponse, "service_tier", None),
        # Its own cost in floats, and a log payload that nobody reads: a third of its CPU time a call.
        (utils, "update_response_metadata", lambda *_, **__: None),
        (utils, "_dispatch_success_logging", lambda *_, **__: None),
    )
    for owner, name, replacement in patches:
        setattr(owner, name, replacement)


async def read_bounded(response: Any) -> Any:
    """Read the whole answer of httpx; one larger than MAX_ANSWER_BYTES, unpacked, counts as a bad gateway's."""
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            response.status_code, parts = HTTPStatus.BAD_GATEWAY, [TOO_LARGE]
            break
        parts.append(part)
    await response.aclose()
    response._content = b"".join(parts)  # noqa: SLF001 - as its own `aread` does
    return response


async def raise_again(*_: object, **__: object) -> None:
    """Stands for litellm's second request: the failure of the first is the answer."""
    raise  # noqa: PLE0704 - called while the first failure is being handled


@functools.cache
def failures(litellm: ModuleType) -> tuple[type[BaseException], ...]:
    """What litellm raises: mostly openai's errors and their descendants, and whatever slips through on odd answers."""
    import httpx  # noqa: PLC0415 - already loaded by litellm
    import openai  # noqa: PLC0415

    slips = (LookupError, ValueError, TypeError, AttributeError, OSError, RuntimeError)
    return (openai.OpenAIError, httpx.HTTPError, litellm.ModelNotMappedError, *slips)


def capabilities(litellm: ModuleType, deployment: Deployment) -> tuple[frozenset[str], list[Mode]]:
    """The parameters that the deployment's model takes, and the ways to ask it for JSON, best first."""
    try:
        model, provider, _, _ = litellm.get_llm_provider(deployment.model, api_base=deployment.params.get("api_base"))
    except failures(litellm):
        raise ProviderRejected(f"litellm knows no provider for {deployment.model!r}; write provider/model") from None
    supported = frozenset(litellm.get_supported_openai_params(model, custom_llm_provider=provider) or ())
    if not takes_temperature(litellm, model, provider):
        supported -= {"temperature"}
    is_listed = any(name in litellm.model_cost for name in (model, f"{provider}/{model}"))
    takes_schema = litellm.supports_response_schema(model, custom_llm_provider=provider)
    takes_schema |= provider in TAKE_SCHEMAS and not is_listed
    takes_tools = litellm.supports_function_calling(model, custom_llm_provider=provider)
    modes: list[Mode] = ["text"]
    if takes_tools and {"tools", "tool_choice"} <= supported:
        modes.insert(0, "tool")
    if takes_schema and "response_format" in supported:
        modes.insert(0, "schema")
    return supported, modes


def takes_temperature(litellm: ModuleType, model: str, provider: str) -> bool:
    """Whether the model takes a temperature of our choice: reasoning models are listed so and take 1 alone."""
    try:
        litellm.utils.get_optional_params(model=model, custom_llm_provider=provider, temperature=0.0)
    except litellm.UnsupportedParamsError:
        return False
    return True


def is_made_up(chunks: Any, chunk: Any) -> bool:
    """Whether litellm ends a stream in the place of its provider, who never said why it ended."""
    heard = chunks.received_finish_reason or chunks.intermittent_finish_reason
    return heard is None and any(choice.finish_reason for choice in chunk.choices)


def note_answer(heard: list[str], details: Mapping[str, Any]) -> None:
    """Keep the provider's own body, which litellm shows here before it reads it."""
    answer = details.get("original_response")
    if details.get("log_event_type") == "post_api_call" and isinstance(answer, str):
        heard.append(answer)


def decode(heard: Sequence[str]) -> Any:
    """The last body heard as JSON, None where it is not."""
    try:
        return json.loads(heard[-1]) if heard else None
    except (ValueError, RecursionError):
        return None


def is_error(body: object) -> bool:
    """Whether a body that came with a status of success reports a failure all the same."""
    return isinstance(body, Mapping) and bool(body.get("error"))


def is_completion(body: object) -> bool:
    """Whether a model answered, be it of use or not: a body that is no error and says or holds something."""
    if not isinstance(body, Mapping) or is_error(body):
        return False
    return usage_of(body) is not None or any(body.get(name) for name in ("choices", "content", "candidates", "output"))


def billed(body: object, *, answer: Any, prompt: str) -> Usage:
    """What the answer was billed: by the provider's count, else by litellm's, else estimated from its characters."""
    reported = usage_of(body)
    if reported is not None:
        return reported
    counted = getattr(answer, "usage", None)
    if counted is not None and (counted.prompt_tokens or counted.completion_tokens) and not isinstance(body, Mapping):
        read_by_litellm = usage_from(counted.model_dump())
        if read_by_litellm is not None:
            return read_by_litellm
    messages = [choice.message.model_dump() for choice in getattr(answer, "choices", None) or ()]
    said = sum(len(message.get("content") or "") + len(tool_arguments(message) or "") for message in messages)
    return estimate(prompt=len(prompt), answer=said)
