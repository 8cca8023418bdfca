"""What a round in which nobody answered comes to: which error, whose fault, and whether and when to try again."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from feedback_gateway.calls.models import Attempt, Call
from feedback_gateway.errors import (
    ContentRefused,
    ContextTooLong,
    CoolingDown,
    GatewayError,
    InvalidModelOutput,
    NoSuitableModel,
    ProviderFailed,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnauthorized,
    RateLimited,
    TaskUnsupported,
)

FINAL = frozenset(
    kind.code for kind in (ProviderRejected, ProviderUnauthorized, ContextTooLong, ContentRefused, TaskUnsupported)
)


MOST_INVALID = 2
"""Answers of one deployment that do not fit, the repaired one included: it is not asked again in that call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """A deployment that cools down: after which `error`, and the monotonic second at which it may be asked, if known.

    That is not known while somebody's probe decides.
    """

    error: str
    returns_at: float | None


def failure_of(
    alias: str, call: Call, *, cooling: Mapping[str, Absence], hopeless: set[str], now: float
) -> GatewayError:
    """The error of a call whose attempts and refusals so far are all that came; `now` in monotonic seconds.

    RateLimited where nothing but limits stood in the way, NoSuitableModel where nobody knows the task, CoolingDown
    where nobody was asked who does, else ProviderFailed. `cooling` names those of its deployments that cool down,
    `hopeless` those that nobody asks again for this request.
    `retry_after` is known where it is for everyone who may be asked again.
    """
    last = [attempt for name, attempt in last_attempts(call).items() if name not in call.refusals]
    asked = {attempt.deployment for attempt in last}
    idle = {name: one for name, one in cooling.items() if name not in asked | call.refusals.keys() | hopeless}
    if last and not call.refusals and not idle and all(attempt.error == TaskUnsupported.code for attempt in last):
        return NoSuitableModel(last[0].detail or "")
    told = [describe(attempt) for attempt in call.attempts if attempt.error not in {None, InvalidModelOutput.code}]
    told += [refusal.error.detail for refusal in call.refusals.values()]
    told += [f"{name}: cools down after {absence.error}" for name, absence in idle.items()]
    detail = f"model {alias!r}: {'; '.join(told) or 'no deployment may be asked'}"
    hopes = [return_of(attempt, cooling, now=now) for attempt in last if attempt.deployment not in hopeless]
    hopes += [one.retry_at for name, one in call.refusals.items() if one.retry_at < math.inf and name not in hopeless]
    hopes += [absence.returns_at for absence in idle.values()]
    waits = [max(retry_at - now, 0.0) for retry_at in hopes if retry_at is not None]
    retry_after = min(waits) if waits and len(waits) == len(hopes) else None
    limit = limit_of(call, last, idle)
    if limit is None and idle and not failures_of(call):
        return CoolingDown(detail, retry_after=retry_after)
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


def return_of(attempt: Attempt, cooling: Mapping[str, Absence], *, now: float) -> float | None:
    """When the deployment of a failed attempt may be asked again, None where nobody knows or at any time."""
    absence = cooling.get(attempt.deployment)
    if absence is None or absence.returns_at is None or absence.returns_at <= now:
        return attempt.retry_at
    return max(absence.returns_at, attempt.retry_at or absence.returns_at)


def failures_of(call: Call) -> set[str | None]:
    """What went wrong with attempts, but for models that cannot do the task."""
    return {attempt.error for attempt in call.attempts} - {None, TaskUnsupported.code}


def limit_of(call: Call, last: list[Attempt], idle: Mapping[str, Absence]) -> RateLimited | None:
    """The limit that gives way first, where nothing else went wrong; that a model cannot do the task does not count."""
    told = failures_of(call) | {absence.error for absence in idle.values()}
    if told - {ProviderRateLimited.code}:
        return None
    limits = [(refusal.retry_at, refusal.error) for refusal in call.refusals.values()]
    theirs = [(one.deployment, one.retry_at) for one in last if one.error == ProviderRateLimited.code]
    theirs += [(name, absence.returns_at) for name, absence in idle.items()]
    for name, retry_at in theirs:
        limits.append((retry_at or -math.inf, RateLimited("", source="provider", scope="provider", name=name)))
    return min(limits, key=lambda limit: limit[0])[1] if limits else None


def given_up(call: Call) -> set[str]:
    """The deployments whose answers were invalid also after they were told so."""
    invalid = [attempt.deployment for attempt in call.attempts if attempt.error == InvalidModelOutput.code]
    return {name for name in invalid if invalid.count(name) >= MOST_INVALID}


def last_attempts(call: Call) -> dict[str, Attempt]:
    """The latest attempt at each deployment."""
    return {attempt.deployment: attempt for attempt in call.attempts}


def describe(attempt: Attempt) -> str:
    """One attempt's failure in words, for the caller."""
    status = f" (HTTP {attempt.http_status})" if attempt.http_status else ""
    return f"{attempt.deployment}: {attempt.error}{status}: {attempt.detail}"
