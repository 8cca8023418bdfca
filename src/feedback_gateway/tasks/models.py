"""What a caller asks of a task and what comes back for each item."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from feedback_gateway.calls.models import KeptAs, Receipt, Texts
from feedback_gateway.errors import GatewayError
from feedback_gateway.ledger.models import CallPurpose
from feedback_gateway.ledger.models import Standing as BudgetStanding
from feedback_gateway.observability.models import Origin
from feedback_gateway.ratelimits.models import Standing as RateStanding
from feedback_gateway.tasks.calibration import Calibrations
from feedback_gateway.tasks.registry import Task
from feedback_gateway.tasks.taxonomy import Taxonomy

CacheMode = Literal["use", "bypass", "refresh"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """The `options` of a task call; `timeout_s` bounds the whole request, None leaves each call the set deadline.

    `origin` is the request behind it, where there is one. `purpose` is what its calls are for, and `beside` the call
    that they are to be compared with.
    """

    model: str | None = None
    prompt_version: int | None = None
    cache: CacheMode = "use"
    timeout_s: float | None = None
    origin: Origin | None = None
    purpose: CallPurpose = "answer"
    beside: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """What the operator set for a task; None leaves the prompt's own choice.

    Answers whose confidence is under `review_below` are marked for review; `calibrations` say what a claimed one is
    worth.
    """

    model: str | None = None
    version: int | None = None
    review_below: float | None = None
    calibrations: Calibrations = field(default_factory=Calibrations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """What it takes to give a stored answer again to the very same request, without reading that.

    `version` is the prompt version that was asked for, `configured` the taxonomy that serves, `examples` the version of
    people's corrections that it was answered with, `tokens` what the call counts as against limits, `saved_usd` what
    the stored answer cost; `inputs`, `result`, `texts` are for the log.
    """

    task: Task
    version: int | None
    configured: Taxonomy
    examples: str | None
    taxonomy_version: str | None
    model: str
    kept: KeptAs
    deployment: str
    saved_usd: Decimal
    tokens: int
    timeout_s: float | None
    dropped: int
    inputs: Mapping[str, Any] = field(repr=False)
    result: Mapping[str, Any] = field(repr=False)
    texts: Texts = field(default_factory=Texts, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The checked answer for one item, with what it cost.

    `taxonomy_version` is None for a task that asks no taxonomy. `standing` is how the tightest rate limit of the
    consumer stands; `warnings` are budgets near their limit. `repeat` is there where the same request may be answered
    from the cache without being read. `claim` is the confidence that the model stated itself, which calibrations are
    measured by.
    """

    call_id: str
    task: str
    prompt_version: int
    taxonomy_version: str | None
    model: str
    deployment: str
    id: str | int | None
    result: Mapping[str, Any]
    cached: bool
    latency_ms: float
    receipt: Receipt
    standing: RateStanding | None = None
    warnings: tuple[BudgetStanding, ...] = ()
    repeat: Repeat | None = None
    claim: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why one item of many has no answer. `call_id` is None where no call was made, `receipt` likewise."""

    id: str | int | None
    error: GatewayError
    call_id: str | None = None
    receipt: Receipt | None = None
