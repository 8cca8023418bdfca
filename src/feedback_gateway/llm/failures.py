"""What a round in which nobody answered comes to: which error, whose fault, and whether and when to try again."""

import math

from feedback_gateway.calls.models import Attempt, Call
from feedback_gateway.errors import (
    ContentRefused,
    ContextTooLong,
    GatewayError,
    ProviderFailed,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnauthorized,
    RateLimited,
    TaskUnsupported,
    Unavailable,
)

FINAL = frozenset(
    kind.code for kind in (ProviderRejected, ProviderUnauthorized, ContextTooLong, ContentRefused, TaskUnsupported)
)


def failure_of(alias: str, call: Call, *, now: float) -> GatewayError:
    """The error of a call whose attempts and refusals so far are all that came; `now` in monotonic seconds.

    RateLimited where nothing but limits stood in the way, Unavailable where nobody knows the task, else
    ProviderFailed. `retry_after` is known where it is for everyone who may be asked again.
    """
    last = [attempt for name, attempt in last_attempts(call).items() if name not in call.refusals]
    if last and not call.refusals and all(attempt.error == TaskUnsupported.code for attempt in last):
        return Unavailable(last[0].detail or "")
    told = [describe(attempt) for attempt in call.attempts if attempt.error]
    told += [refusal.error.detail for refusal in call.refusals.values()]
    detail = f"model {alias!r}: {'; '.join(told) or 'no deployment may be asked'}"
    hopes = [attempt.retry_at for attempt in last if attempt.error not in FINAL]
    hopes += [refusal.retry_at for refusal in call.refusals.values() if refusal.retry_at < math.inf]
    waits = [max(retry_at - now, 0.0) for retry_at in hopes if retry_at is not None]
    retry_after = min(waits) if waits and len(waits) == len(hopes) else None
    limit = limit_of(call, last)
    if limit is None:
        return ProviderFailed(detail, retryable=bool(hopes), retry_after=retry_after)
    return RateLimited(
        detail,
        source=limit.source,
        scope=limit.scope,
        name=limit.name,
        limit=limit.limit,
        unit=limit.unit,
        retryable=bool(hopes),
        retry_after=retry_after,
    )


def limit_of(call: Call, last: list[Attempt]) -> RateLimited | None:
    """The limit that gives way first, where nothing else went wrong; that a model cannot do the task does not count."""
    if {attempt.error for attempt in call.attempts} - {None, ProviderRateLimited.code, TaskUnsupported.code}:
        return None
    limits = [(refusal.retry_at, refusal.error) for refusal in call.refusals.values()]
    for attempt in last:
        if attempt.error == ProviderRateLimited.code:
            error = RateLimited("", source="provider", scope="provider", name=attempt.deployment)
            limits.append((attempt.retry_at or -math.inf, error))
    return min(limits, key=lambda limit: limit[0])[1] if limits else None


def last_attempts(call: Call) -> dict[str, Attempt]:
    """The latest attempt at each deployment."""
    return {attempt.deployment: attempt for attempt in call.attempts}


def describe(attempt: Attempt) -> str:
    """One attempt's failure in words, for the caller."""
    status = f" (HTTP {attempt.http_status})" if attempt.http_status else ""
    return f"{attempt.deployment}: {attempt.error}{status}: {attempt.detail}"
