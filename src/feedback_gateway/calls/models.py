"""A call and its attempts while they happen, and the receipt the caller gets."""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, TypeVar

from feedback_gateway.errors import RateLimited
from feedback_gateway.ledger.models import Budget, CallPurpose, Entry, Kind, Standing
from feedback_gateway.llm.models import Deployment, Purpose, Usage
from feedback_gateway.observability.models import Origin, span_id_of

T = TypeVar("T")

AttemptStatus = Literal["running", "ok", "failed", "abandoned"]
CallStatus = Literal["ok", "failed", "cancelled"]


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One request to one deployment. `cost_usd` is None while unknown or where no price is known.

    `bound_usd` is the most that it can cost, None where no price is known.

    `abandoned` is an attempt that nobody waited for to the end; `error` is the code of its failure, `detail` its
    sentence, and `retry_at` the monotonic second before which the provider asked not to be asked again. `answered_by`
    is the model as the provider names it. Of a request that several calls share each has its share: `place` counts
    those calls from 0, so that the request itself is counted once.
    """

    number: int
    deployment: str
    model: str
    purpose: Purpose
    started_at: datetime
    status: AttemptStatus = "running"
    error: str | None = None
    detail: str | None = field(default=None, repr=False)  # it may quote what was written
    retry_at: float | None = None
    http_status: int | None = None
    is_lost: bool = False
    finish_reason: str | None = None
    answered_by: str | None = None
    latency_ms: float = 0.0
    usage: Usage | None = None
    cost_usd: Decimal | None = None
    bound_usd: Decimal | None = None
    place: int = 0

    @property
    def may_be_billed(self) -> bool:
        """Whether it was answered, or nobody knows: a request that was refused or failed outright costs nothing.

        Also where that became known when nobody waited for it any more.
        """
        unanswered = self.error == "provider-timeout" or (
            self.error is None and self.status in ("running", "abandoned")
        )
        return self.usage is not None or unanswered or self.is_lost

    @property
    def owed(self) -> tuple[Kind, Decimal | None]:
        """What it is charged: its cost, or its bound as long as it may be billed and nobody knows its cost."""
        if self.cost_usd is not None or self.usage is not None:
            return "charge", self.cost_usd
        return ("bound", self.bound_usd) if self.may_be_billed else ("charge", Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a deployment was not asked: its limit; `retry_at` is the monotonic second at which it may be, or infinity."""

    error: RateLimited
    retry_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Sums over those of a call's attempts whose usage is known; `cost_usd` is None where one of them has no price.

    It is None as well where nothing is known of a call but that a request went unanswered.
    """

    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None


NOTHING = Receipt(input_tokens=0, cached_input_tokens=0, output_tokens=0, cost_usd=Decimal(0))
"""Of a call for which nobody was asked."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What went into a call and what came out, as JSON; None where nothing did."""

    inputs: str
    result: str | None


@dataclass(frozen=True, slots=True)
class KeptAs:
    """Where the cache has a call's answer, and the entry itself."""

    key: bytes
    entry: bytes = field(repr=False)


@dataclass(slots=True)
class Texts:
    """What the log keeps of the texts of calls that are all alike: made once, by the first that is written."""

    payload: Payload | None = field(default=None, repr=False)


@dataclass(slots=True, kw_only=True)
class Call:
    """One answer wanted by one consumer, and every attempt made for it.

    `identity` tells its consumer from everybody else; None is nobody's, who shares no answers. `deadline` is in the
    clock's monotonic seconds. `attempts_left` is the one budget of attempts that first
    tries, retries, fallbacks and the repair turn all draw from. `pending` holds what is to be over before the call is
    logged: attempts, and money being set aside; `refusals` the deployments that were last found at their limit, by
    name. `is_held` tells that there is a hold to settle, of `held_usd`; the budgets of `warnings` have reached their
    soft limit with it. `is_answering` tells that the caller has the beginning of a streamed answer. `cached` tells that
    a stored answer was given, which had cost `saved_usd`; `kept_as` is where the answer is stored, and `texts` what the
    log keeps for calls that are all alike. `origin` is the request that it was made for, if any. `beside` is the id of
    the call that it is to be compared with. `inputs` and `result` are what users wrote and what was answered: they stay
    out of the representation, which may be logged. `parts` are the calls that a pack, of one or more, is asked for: it
    is never logged itself, they hold and pay what it costs. `examples` is the version of people's corrections that it
    was answered with.
    """

    call_id: str
    consumer: str
    task: str
    prompt_version: int
    model: str
    created_at: datetime
    started: float
    deadline: float
    attempts_left: int
    identity: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    pending: set[asyncio.Future[Any]] = field(default_factory=set)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    deployment: str | None = None
    status: CallStatus = "ok"
    error: str | None = None
    latency_ms: float = 0.0
    cached: bool = False
    saved_usd: Decimal = Decimal(0)
    origin: Origin | None = None
    kept_as: KeptAs | None = None
    texts: Texts | None = None
    purpose: CallPurpose = "answer"
    beside: str | None = None
    dropped_evidence: int = 0
    taxonomy_version: str | None = None
    examples: str | None = None
    budgets: tuple[Budget, ...] = ()
    is_held: bool = False
    held_usd: Decimal | None = None
    warnings: tuple[Standing, ...] = ()
    is_answering: bool = False
    limits: list[asyncio.Timeout] = field(default_factory=list, repr=False)
    inputs: Mapping[str, Any] | None = field(default=None, repr=False)
    result: Mapping[str, Any] | None = field(default=None, repr=False)
    parts: tuple["Part", ...] = field(default=(), repr=False)

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start what goes on even if nobody waits for it any more, and what the call's row waits for."""
        task = asyncio.create_task(work)
        self.outlast(task)
        return task

    def outlast(self, work: "asyncio.Future[Any]") -> None:
        """Let the call's row wait for what is under way, even if nobody else does any more."""
        self.pending.add(work)
        work.add_done_callback(self.pending.discard)
        work.add_done_callback(retrieve)

    def limit(self, seconds: float | None) -> asyncio.Timeout:
        """A time limit, as `asyncio.timeout` makes one, that ends early where an answer begins to stream."""
        limit = asyncio.timeout(seconds)
        self.limits.append(limit)
        return limit

    def begin_answer(self) -> None:
        """A streamed answer is about to leave: no limit holds any longer, and nobody else is asked."""
        self.is_answering = True
        for limit in self.limits:
            with suppress(RuntimeError):  # it is over already
                limit.reschedule(None)

    def start_attempt(
        self, deployment: Deployment, *, started_at: datetime, purpose: Purpose, bound_usd: Decimal | None = None
    ) -> Attempt:
        """Note that a request is about to leave for `deployment`, and draw it from the budget of attempts."""
        attempt = Attempt(
            number=len(self.attempts) + 1,
            deployment=deployment.name,
            model=deployment.model,
            purpose=purpose,
            started_at=started_at,
            bound_usd=bound_usd,
        )
        self.attempts.append(attempt)
        self.attempts_left -= 1
        return attempt

    def trace_headers(self) -> dict[str, str]:
        """What tells a provider which trace its newest attempt belongs to; nothing where there is none."""
        if self.origin is None:
            return {}
        return self.origin.trace.headers(span_id=span_id_of(self.call_id, len(self.attempts)))

    def owed(self) -> tuple[Kind, Decimal | None]:
        """What it is charged so far: a `bound` where a cost is not known, None where an attempt has no price."""
        if len(self.attempts) == 1:
            return self.attempts[0].owed
        owed = [attempt.owed for attempt in self.attempts]
        kind: Kind = "bound" if any(kind == "bound" for kind, _ in owed) else "charge"
        known = [amount for _, amount in owed if amount is not None]
        return kind, sum(known, Decimal(0)) if len(known) == len(owed) else None

    def entry(self) -> Entry | None:
        """The ledger's line for a call that is over; None where it is known to have cost nothing."""
        kind, amount = self.owed()
        return self.entry_of(kind, amount) if amount is None or amount else None

    def entry_of(self, kind: Kind, amount_usd: Decimal | None) -> Entry:
        """A line of the ledger about this call."""
        return Entry(
            entry_id=self.call_id,
            call_id=self.call_id,
            kind=kind,
            amount_usd=amount_usd,
            consumer=self.consumer,
            task=self.task,
            model=self.model,
            booked_at=self.created_at,
            created_at=self.created_at + timedelta(milliseconds=self.latency_ms),
            by=None,
            reason=None,
        )

    def receipt(self) -> Receipt:
        """What the call has cost so far."""
        billed = [attempt for attempt in self.attempts if attempt.usage is not None]
        usages = [attempt.usage for attempt in billed if attempt.usage is not None]
        costs = [attempt.cost_usd for attempt in billed or self.attempts if attempt.may_be_billed]
        known = [cost for cost in costs if cost is not None]
        return Receipt(
            input_tokens=sum([usage.input_tokens for usage in usages]),
            cached_input_tokens=sum([usage.cache_read_tokens for usage in usages]),
            output_tokens=sum([usage.output_tokens for usage in usages]),
            cost_usd=sum(known, Decimal(0)) if len(known) == len(costs) else None,
        )


@dataclass(slots=True, kw_only=True)
class Part:
    """A call's part in a pack: its `weight` among the others, and its shares of the pack's attempts, in their order.

    `flaw` is why the pack's answer was none for this call.
    """

    call: Call
    weight: int
    shares: list[Attempt] = field(default_factory=list)
    flaw: str | None = None


def retrieve(work: "asyncio.Future[Any]") -> None:
    """Take the outcome of what nobody may await, so that its failure is no unhandled one."""
    if not work.cancelled():
        work.exception()
