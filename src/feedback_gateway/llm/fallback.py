"""Chooses who is asked: the deployments of an alias by weight, then those of its fallbacks, each once a round."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from feedback_gateway.calls.models import Attempt, Call
from feedback_gateway.clock import Clock
from feedback_gateway.errors import (
    ContentRefused,
    ContextTooLong,
    ProviderError,
    ProviderFailed,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnauthorized,
    TaskUnsupported,
    Unavailable,
)
from feedback_gateway.llm.models import Completion, CompletionClient, CompletionRequest, Deployment

FINAL = frozenset(
    kind.code for kind in (ProviderRejected, ProviderUnauthorized, ContextTooLong, ContentRefused, TaskUnsupported)
)


@dataclass(frozen=True, slots=True)
class Member:
    """A deployment and the client that asks it."""

    deployment: Deployment
    client: CompletionClient


class FallbackClient:
    """Asks one deployment after the other, without waiting, until one answers.

    A deployment that rejected the request for good is not asked again in the same call, nor is one before the
    moment its `Retry-After` named. Raises ProviderFailed, or Unavailable where no deployment knows the task.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        fallbacks: Mapping[str, Sequence[str]],
        clock: Clock,
        random: Random,
    ) -> None:
        self._members = members
        self._fallbacks = fallbacks
        self._clock = clock
        self._random = random

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """One round over everyone who may still be asked."""
        members = self.plan(request.model, call)
        for left, member in zip(range(len(members), 0, -1), members, strict=True):
            try:
                async with asyncio.timeout(self._share(call, left=left)):
                    completion = await member.client.complete(request, call)
            except ProviderError:
                continue
            except TimeoutError:
                give_up(call, member.deployment)
                continue
            call.deployment = member.deployment.name
            return completion
        raise self._failure(request.model, call)

    def _share(self, call: Call, *, left: int) -> float | None:
        """The seconds one of `left` deployments may take, so that one that hangs leaves time for the others."""
        return None if left == 1 else (call.deadline - self._clock.monotonic()) / left

    def plan(self, alias: str, call: Call) -> list[Member]:
        """Who is asked in this round, in this order, at most `call.attempts_left` of them.

        Who answered this call before comes first (a repair turn goes to whoever erred). Where attempts are fewer
        than deployments every alias of the chain keeps one, so that a fallback is reached at all.
        """
        chain = [self._by_weight(name, call) for name in (alias, *self._fallbacks.get(alias, ()))]
        chain = [group for group in chain if group]
        spare = max(call.attempts_left - len(chain), 0)
        chosen = [member for group in chain for member in group if member.deployment.name == call.deployment]
        for group in chain:
            extra = min(spare, len(group) - 1)
            spare -= extra
            chosen += [member for member in group[: 1 + extra] if member not in chosen]
        return chosen[: call.attempts_left]

    def _by_weight(self, alias: str, call: Call) -> list[Member]:
        """A random order in which the first place falls to each in proportion to its weight (Efraimidis and Spirakis).

        A weight of 0 takes no share and stands in last.
        """
        now = self._clock.monotonic()
        barred = {attempt.deployment for attempt in call.attempts if is_barred(attempt, now)}
        free = [
            member
            for member in self._members
            if member.deployment.alias == alias and member.deployment.name not in barred
        ]
        return sorted(free, key=self._draw, reverse=True)

    def _draw(self, member: Member) -> float:
        weight = member.deployment.weight
        return self._random.random() ** (1 / weight) if weight > 0 else -self._random.random()

    def _failure(self, alias: str, call: Call) -> ProviderFailed | Unavailable:
        last = {attempt.deployment: attempt for attempt in call.attempts}
        if last and all(attempt.error == TaskUnsupported.code for attempt in last.values()):
            return Unavailable(next(iter(last.values())).detail or "")
        told = "; ".join(describe(attempt) for attempt in call.attempts if attempt.error)
        hopeful = [attempt for attempt in last.values() if attempt.error not in FINAL]
        now = self._clock.monotonic()
        waits = [max(attempt.retry_at - now, 0.0) for attempt in hopeful if attempt.retry_at is not None]
        return ProviderFailed(
            f"model {alias!r}: {told or 'no deployment may be asked'}",
            retryable=bool(hopeful),
            retry_after=min(waits) if waits and len(waits) == len(hopeful) else None,
        )


def give_up(call: Call, deployment: Deployment) -> None:
    """Note that an attempt, if there is one yet, was left for the next deployment while it still ran."""
    for attempt in call.attempts[-1:]:
        if attempt.deployment == deployment.name:
            attempt.error = ProviderTimeout.code
            attempt.detail = "no answer in its share of the time"


def is_barred(attempt: Attempt, now: float) -> bool:
    """Whether this attempt's outcome forbids asking its deployment again now."""
    return attempt.error in FINAL or (attempt.retry_at is not None and attempt.retry_at > now)


def describe(attempt: Attempt) -> str:
    """One attempt's failure in words, for the caller."""
    status = f" (HTTP {attempt.http_status})" if attempt.http_status else ""
    return f"{attempt.deployment}: {attempt.error}{status}: {attempt.detail}"
