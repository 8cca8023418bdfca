"""A call and its attempts while they happen, and the receipt the caller gets."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from feedback_gateway.llm.models import Deployment, Purpose, Usage

AttemptStatus = Literal["running", "ok", "failed", "abandoned"]
CallStatus = Literal["ok", "failed", "cancelled"]


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One request to one deployment. `cost_usd` is None while unknown or where no price is known.

    `abandoned` is an attempt that nobody waited for to the end; `error` is the code of its failure, `detail` its
    sentence, and `retry_at` the monotonic second before which the provider asked not to be asked again.
    """

    number: int
    deployment: str
    model: str
    purpose: Purpose
    started_at: datetime
    status: AttemptStatus = "running"
    error: str | None = None
    detail: str | None = None
    retry_at: float | None = None
    http_status: int | None = None
    finish_reason: str | None = None
    latency_ms: float = 0.0
    usage: Usage | None = None
    cost_usd: Decimal | None = None

    @property
    def may_be_billed(self) -> bool:
        """Whether it was answered, or nobody knows: a request that was refused or failed outright costs nothing."""
        return self.usage is not None or self.status == "abandoned" or self.error == "provider-timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Sums over those of a call's attempts whose usage is known; `cost_usd` is None where one of them has no price.

    It is None as well where nothing is known of a call but that a request went unanswered.
    """

    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None


@dataclass(slots=True, kw_only=True)
class Call:
    """One answer wanted by one consumer, and every attempt made for it.

    `deadline` is in the clock's monotonic seconds. `attempts_left` is the one budget of attempts that first
    tries, retries, fallbacks and the repair turn all draw from. `pending` holds attempts that still run.
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
    attempts: list[Attempt] = field(default_factory=list)
    pending: set[asyncio.Task[object]] = field(default_factory=set)
    deployment: str | None = None
    status: CallStatus = "ok"
    error: str | None = None
    latency_ms: float = 0.0
    cached: bool = False
    dropped_evidence: int = 0

    def start_attempt(self, deployment: Deployment, *, started_at: datetime, purpose: Purpose) -> Attempt:
        """Note that a request is about to leave for `deployment`, and draw it from the budget of attempts."""
        attempt = Attempt(
            number=len(self.attempts) + 1,
            deployment=deployment.name,
            model=deployment.model,
            purpose=purpose,
            started_at=started_at,
        )
        self.attempts.append(attempt)
        self.attempts_left -= 1
        return attempt

    def receipt(self) -> Receipt:
        """What the call has cost so far."""
        billed = [attempt for attempt in self.attempts if attempt.usage is not None]
        usages = [attempt.usage for attempt in billed if attempt.usage is not None]
        costs = [attempt.cost_usd for attempt in billed or self.attempts if attempt.may_be_billed]
        known = [cost for cost in costs if cost is not None]
        return Receipt(
            input_tokens=sum(usage.input_tokens for usage in usages),
            cached_input_tokens=sum(usage.cache_read_tokens for usage in usages),
            output_tokens=sum(usage.output_tokens for usage in usages),
            cost_usd=sum(known, Decimal(0)) if len(known) == len(costs) else None,
        )
