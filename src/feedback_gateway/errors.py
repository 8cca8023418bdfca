"""The error tree: every failure that a caller may see, with its code and whether trying again can help."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Literal


@dataclass(frozen=True, slots=True)
class Problem:
    """One place in the input and what is wrong with it; `loc` is a path such as `("items", 3, "text")`."""

    loc: tuple[str | int, ...]
    msg: str


class GatewayError(Exception):
    """A failure with a stable `code`; `detail` is one sentence for the caller and never holds a secret.

    `call_id` names the call it happened in, once there is one; `cost_usd` is what that has cost, None if unknown.

    GatewayError
    ├── InvalidRequest          the caller sent what cannot be used
    ├── Unauthorized, Forbidden, BudgetExceeded, Conflict
    ├── UnknownTask, NotFound, Gone, MethodNotAllowed, TooLarge, UnsupportedMediaType
    ├── RateLimited             a consumer's, a deployment's or every provider's limit is used up
    ├── ConfigurationError      the operator configured what cannot work
    ├── ProviderError           one attempt at one deployment failed
    │   ├── ProviderUnavailable, ProviderRateLimited, ProviderTimeout     another attempt may help
    │   ├── FormatUnsupported       another attempt asks otherwise
    │   ├── DeploymentLimited, DeploymentCooling      no attempt was made
    │   └── ProviderRejected
    │       ├── ContextTooLong, ContentRefused, TaskUnsupported
    │       └── ProviderUnauthorized
    ├── ProviderFailed          every deployment and fallback failed
    ├── InvalidModelOutput      no valid answer, even after the repair turn, from anybody
    ├── Unavailable             shutting down, or a needed part is missing
    │   ├── NoSuitableModel         no configured model does the task
    │   └── CoolingDown             every deployment that may answer failed too often of late
    └── DeadlineExceeded
    """

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    retryable = False
    call_id: str | None = None
    cost_usd: Decimal | None = None

    def __init__(self, detail: str, *, problems: Sequence[Problem] = (), retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problems = tuple(problems)
        self.retry_after = retry_after


class InvalidRequest(GatewayError):
    """Well-formed JSON that does not say what the task needs; `problems` names each place."""

    code = "invalid-request"
    title = "Invalid request"


class MalformedRequest(InvalidRequest):
    """A body that is not the JSON it claims to be."""


class RequestDeclined(InvalidRequest):
    """A request that was passed on as the caller wrote it, and that providers do not take as it stands.

    `reason` is the code of the last provider's error.
    """

    def __init__(self, detail: str, *, reason: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Unauthorized(GatewayError):
    """No key, or one that is unknown, revoked or expired."""

    code = "unauthorized"
    title = "Unauthorized"


class Forbidden(GatewayError):
    """A known caller who may not do this."""

    code = "forbidden"
    title = "Forbidden"


class BudgetExceeded(GatewayError):
    """The consumer's budget cannot cover the call; the detail says when it resets."""

    code = "budget-exceeded"
    title = "Budget exceeded"


class Conflict(GatewayError):
    """What was asked for does not fit what there is, such as a name that is taken."""

    code = "conflict"
    title = "Conflict"


class UnknownTask(GatewayError):
    """No prompt of that name; the detail lists the tasks there are."""

    code = "unknown-task"
    title = "Unknown task"


class NotFound(GatewayError):
    """No such page or record."""

    code = "not-found"
    title = "Not found"


class MethodNotAllowed(GatewayError):
    """The path exists, the method does not."""

    code = "method-not-allowed"
    title = "Method not allowed"


class TooLarge(GatewayError):
    """A body or a batch over its limit."""

    code = "too-large"
    title = "Too large"


class UnsupportedMediaType(GatewayError):
    """A body that does not call itself JSON."""

    code = "unsupported-media-type"
    title = "Unsupported media type"


class RateLimited(GatewayError):
    """A limit is used up; nothing was counted against it.

    `source` is who refused and `scope` whose limit it was: the consumer's or the deployment's own, both set here, or
    the provider's. `name` is the consumer's or the deployment's. `limit` and `unit` are None where only the provider
    knows them. `retry_after` is in seconds; `retryable` is False where waiting cannot help.
    """

    code = "rate-limited"
    title = "Rate limited"
    window_s: ClassVar[int] = 60

    def __init__(
        self,
        detail: str,
        *,
        source: Literal["gateway", "provider"],
        scope: Literal["consumer", "deployment", "provider"],
        name: str,
        limit: int | None = None,
        unit: Literal["requests", "tokens"] | None = None,
        retryable: bool = True,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.source = source
        self.scope = scope
        self.name = name
        self.limit = limit
        self.unit = unit
        self.retryable = retryable


class ConfigurationError(GatewayError):
    """A setting or file that cannot work; the detail names it and the mend."""

    code = "configuration"
    title = "Wrong configuration"


class ProviderError(GatewayError):
    """One attempt at one deployment failed. `status` is the HTTP status on the wire, where there was one.

    `usage` is a `feedback_gateway.llm.models.Usage` where an answer arrived, and so was billed, but cannot be used;
    `is_lost` tells that the request went out and its answer was lost on the way, so that it may have been billed.
    """

    code = "provider-error"
    title = "The provider failed"

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        usage: Any = None,
        is_lost: bool = False,
    ) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.is_lost = is_lost
        self.status = status
        self.usage = usage


class ProviderUnavailable(ProviderError):
    """5xx, a dropped connection, or an answer that is no completion at all."""

    code = "provider-unavailable"
    retryable = True


class FormatUnsupported(ProviderError):
    """The model takes no answers in the format that was asked for; that says nothing against the deployment."""

    code = "format-unsupported"
    retryable = True


class ProviderRateLimited(ProviderError):
    """The provider's own 429; `retry_after` in seconds where it said so."""

    code = "provider-rate-limited"
    retryable = True


class DeploymentLimited(ProviderError):
    """The deployment's own limit, set here, is used up, so that it was not asked."""

    code = "deployment-rate-limited"
    retryable = True


class DeploymentCooling(ProviderError):
    """The deployment failed too often of late, so that it was not asked."""

    code = "deployment-cooling-down"
    retryable = True


class ProviderTimeout(ProviderError):
    """The deployment's time limit passed without an answer."""

    code = "provider-timeout"
    retryable = True


class ProviderRejected(ProviderError):
    """The provider refused the request as it stands; asking the same again cannot help."""

    code = "provider-rejected"


class ProviderUnauthorized(ProviderRejected):
    """The deployment's key or its rights."""

    code = "provider-unauthorized"


class ContextTooLong(ProviderRejected):
    """The request is larger than the model's context window."""

    code = "context-too-long"


class ContentRefused(ProviderRejected):
    """The model or the provider's filter declined to answer."""

    code = "content-refused"


class TaskUnsupported(ProviderRejected):
    """The deployment's model cannot do this task at all."""

    code = "task-unsupported"


class ProviderFailed(GatewayError):
    """Every deployment and fallback failed; the detail says what each tried and answered.

    `retryable` is False where every one of them rejected the request for good.
    """

    code = "provider-failed"
    title = "Every provider failed"

    def __init__(self, detail: str, *, retryable: bool, retry_after: float | None = None) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.retryable = retryable


class InvalidModelOutput(GatewayError):
    """The model gave no valid output, not even after it was shown its error."""

    code = "invalid-model-output"
    title = "Invalid model output"
    retryable = True


class Gone(GatewayError):
    """What was there and is no more, such as a prompt version after its sunset."""

    code = "gone"
    title = "Gone"


class Unavailable(GatewayError):
    """Shutting down, or a needed part is down or not configured."""

    code = "unavailable"
    title = "Unavailable"
    retryable = True


class NoSuitableModel(Unavailable):
    """No configured model does what was asked; the detail names the setting to mend, and asking again is in vain."""

    retryable = False


class CoolingDown(Unavailable):
    """Every deployment that may answer cools down; `retry_after` is when the first may be asked, where it is known."""


class DeadlineExceeded(GatewayError):
    """The call's deadline passed."""

    code = "deadline-exceeded"
    title = "Deadline exceeded"
    retryable = True
