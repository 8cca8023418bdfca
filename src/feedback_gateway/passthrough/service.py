"""Passes a request on for a consumer: scope, limits, budget, log, and what is sent where the caller set no bound."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from feedback_gateway.calls.models import Call, Receipt
from feedback_gateway.calls.recorder import Recorder
from feedback_gateway.consumers.admission import Admission
from feedback_gateway.consumers.models import Consumer
from feedback_gateway.errors import (
    BudgetExceeded,
    ContentRefused,
    ContextTooLong,
    CoolingDown,
    GatewayError,
    NotFound,
    ProviderFailed,
    ProviderRejected,
    RequestDeclined,
)
from feedback_gateway.ledger.models import Standing as BudgetStanding
from feedback_gateway.llm.chains import Fallbacks
from feedback_gateway.llm.models import Deployment, ForwardAnswer, ForwardClient, ForwardRequest, Operation, Sink
from feedback_gateway.llm.openai_answers import encode, value_of
from feedback_gateway.llm.openai_events import events_from, wants_usage
from feedback_gateway.llm.tokens import token_estimate
from feedback_gateway.observability.models import Origin
from feedback_gateway.passthrough.bodies import Asked
from feedback_gateway.passthrough.masking import masked, texts_in
from feedback_gateway.ratelimits.models import Standing
from feedback_gateway.redaction.redactor import Redactor

TASKS: Mapping[Operation, str] = {"chat": "chat", "embeddings": "embeddings"}
"""What the routes are called in scopes, budgets and the log."""
NO_VERSION = 0
MOST_ALIASES = 1_024
DEFAULT_MAX_TOKENS = 8_192
"""The most output tokens of a choice where the request does not say."""
CALLERS_FAULT = frozenset({ContentRefused.code, ContextTooLong.code, ProviderRejected.code})
ABOUT_THE_REQUEST = frozenset({400, 413, 422})


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What is known of an answer when it begins."""

    call_id: str
    cached: bool
    standing: Standing | None
    warnings: Sequence[BudgetStanding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """An answer: `body` is OpenAI's JSON, empty where it was streamed."""

    head: Head
    body: bytes = field(repr=False)
    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Whoever may answer for an alias: whether all of them are free, and the most output tokens that all can give."""

    is_free: bool
    max_tokens: int


Begin = Callable[[Head], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Listener:
    """Whoever a streamed answer goes to: `begin` comes once, before the first `send`."""

    begin: Begin
    send: Sink


class Passthrough:
    """Answers requests in OpenAI's terms, on whatever deployment the alias has."""

    def __init__(
        self,
        *,
        client: ForwardClient,
        recorder: Recorder,
        admission: Admission,
        deployments: Sequence[Deployment],
        fallbacks: Fallbacks,
        redactor: Redactor | None,
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._admission = admission
        self._deployments = deployments
        self._fallbacks = fallbacks
        self._redactor = redactor
        self._chain = lru_cache(MOST_ALIASES)(self._chain_of)

    def models(self, consumer: Consumer) -> list[str]:
        """The aliases that a consumer may ask, in the order of the configuration."""
        allowed = consumer.scopes.models
        aliases = dict.fromkeys(deployment.alias for deployment in self._deployments)
        return [alias for alias in aliases if allowed is None or alias in allowed]

    async def run(
        self, asked: Asked, *, consumer: Consumer, listener: Listener, origin: Origin | None = None
    ) -> Passed:
        """Pass one request on. Raises whatever a call raises, with its id and cost where there was a call."""
        task = TASKS[asked.operation]
        chain = self._chain(asked.model)
        consumer.scopes.require(task=task, model=asked.model)
        self._admission.look(consumer)
        request = self._request(asked, chain, has_budget=bool(consumer.budgets_for(task)))
        standing = await self._admission.admit(consumer, tokens=token_estimate(request))
        call: Call | None = None
        try:
            recording = self._recorder.record(consumer, task, NO_VERSION, asked.model, timeout_s=None, origin=origin)
            async with recording as call:
                call.inputs = asked.shown
                sink = Outlet(call, standing, listener).send if asked.is_streamed else None
                answer = await self._answer(request if sink is None else replace(request, sink=sink), call)
                call.result = value_of(answer.body) if asked.operation == "chat" and answer.body else None
        except GatewayError as error:
            if call is None:
                raise
            told = blame(error, call)
            told.call_id, told.cost_usd = call.call_id, call.receipt().cost_usd
            raise told from None
        return Passed(head=head_of(call, standing), body=answer.body, receipt=call.receipt())

    async def _answer(self, request: ForwardRequest, call: Call) -> ForwardAnswer:
        """Ask, with placeholders for personal data where the operator wants that.

        A placeholder may come in two parts of a stream, so such an answer is awaited as a whole before it is streamed.
        """
        if self._redactor is None:
            return await self._client.complete(request, call)
        mask = self._redactor.session(texts_in(request.body))
        unstreamed = ("stream", "stream_options")
        body = {name: value for name, value in masked(request.body, mask).items() if name not in unstreamed}
        answer = await self._client.complete(replace(request, body=body, sink=None), call)
        if request.operation == "chat":
            answer = replace(answer, body=encode(mask.restore(value_of(answer.body))))
        if request.sink is None:
            return answer
        call.begin_answer()
        for data in events_from(answer.body, wants_usage=wants_usage(request.body)):
            await request.sink(data)
        return answer

    def _chain_of(self, alias: str) -> "Chain":
        """Who may answer for an alias. Raises NotFound."""
        names = self._fallbacks.reachable(alias)
        chain = [deployment for deployment in self._deployments if deployment.alias in names]
        if not any(deployment.alias == alias for deployment in chain):
            raise NotFound(f"there is no model {alias[:200]!r}; GET /v1/models lists what there is")
        listed = (deployment.max_output_tokens for deployment in chain)
        return Chain(
            is_free=all(deployment.is_free for deployment in chain),
            max_tokens=min((DEFAULT_MAX_TOKENS, *(limit for limit in listed if limit))),
        )

    def _request(self, asked: Asked, chain: "Chain", *, has_budget: bool) -> ForwardRequest:
        """What is passed on; whoever pays from a budget asks for no more than can be set aside for it."""
        is_charged = has_budget and not chain.is_free
        if is_charged and asked.unbounded:
            raise BudgetExceeded(f"{asked.unbounded}: what it costs has no bound, so no budget can cover it")
        body, most = asked.body, asked.most
        if most is None:
            most = chain.max_tokens
            if is_charged:
                body = {**body, "max_tokens": most}
        return ForwardRequest(
            operation=asked.operation,
            model=asked.model,
            body=body,
            size=asked.size,
            max_tokens=most * asked.choices,
            cache=asked.cache,
        )


@dataclass(slots=True)
class Outlet:
    """The way of a streamed answer to its caller, who is told of the call before anything else."""

    call: Call
    standing: Standing | None
    listener: Listener
    has_begun: bool = False

    async def send(self, data: bytes) -> None:
        """Send what came."""
        if not self.has_begun:
            self.has_begun = True
            await self.listener.begin(head_of(self.call, self.standing))
        await self.listener.send(data)


def head_of(call: Call, standing: Standing | None) -> Head:
    """What the caller is told before the answer."""
    return Head(call_id=call.call_id, cached=call.cached, standing=standing, warnings=call.warnings)


def blame(error: GatewayError, call: Call) -> GatewayError:
    """The error for the caller: of what every provider declined for the request's own sake, RequestDeclined."""
    failed = [attempt for attempt in call.attempts if attempt.error is not None]
    if isinstance(error, CoolingDown):
        return error
    if not isinstance(error, ProviderFailed) or error.retryable or not failed:
        return error
    if all(one.error in CALLERS_FAULT and one.http_status in ABOUT_THE_REQUEST for one in failed):
        return RequestDeclined(error.detail, reason=failed[-1].error or ProviderRejected.code)
    return error
