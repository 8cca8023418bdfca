"""What a caller asks of a task and what comes back for each item."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from feedback_gateway.calls.models import Receipt
from feedback_gateway.errors import GatewayError
from feedback_gateway.ledger.models import Standing as BudgetStanding
from feedback_gateway.observability.models import Origin
from feedback_gateway.ratelimits.models import Standing as RateStanding

CacheMode = Literal["use", "bypass", "refresh"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """The `options` of a task call; `timeout_s` bounds the whole request, None leaves each call the set deadline.

    `origin` is the request behind it, where there is one.
    """

    model: str | None = None
    prompt_version: int | None = None
    cache: CacheMode = "use"
    timeout_s: float | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """What the operator set for a task; None leaves the prompt's own choice.

    Answers whose confidence is under `review_below` are marked for review.
    """

    model: str | None = None
    version: int | None = None
    review_below: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The checked answer for one item, with what it cost.

    `standing` is how the tightest rate limit of the consumer stands; `warnings` are budgets near their limit.
    """

    call_id: str
    task: str
    prompt_version: int
    model: str
    deployment: str
    id: str | int | None
    result: Mapping[str, Any]
    cached: bool
    latency_ms: float
    receipt: Receipt
    standing: RateStanding | None = None
    warnings: tuple[BudgetStanding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why one item of many has no answer. `call_id` is None where no call was made, `receipt` likewise."""

    id: str | int | None
    error: GatewayError
    call_id: str | None = None
    receipt: Receipt | None = None
