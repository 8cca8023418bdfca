"""Chooses who is asked: the deployments of an alias by weight, then those of its fallbacks, each once a round."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Generic

from feedback_gateway.calls.models import Attempt, Call
from feedback_gateway.clock import Clock
from feedback_gateway.errors import DeploymentLimited, ProviderError, ProviderTimeout
from feedback_gateway.llm.failures import FINAL, failure_of
from feedback_gateway.llm.models import AnswerT, Client, Deployment, RequestT


@dataclass(frozen=True, slots=True)
class Member(Generic[RequestT, AnswerT]):
    """A deployment and the client that asks it."""

    deployment: Deployment
    client: Client[RequestT, AnswerT]


class FallbackClient(Generic[RequestT, AnswerT]):
    """Asks one deployment after the other, without waiting, until one answers.

    A deployment that rejected the request for good is not asked again in the same call, nor is one before the
    moment its `Retry-After` named; one that is at its own limit makes room for another. Raises ProviderFailed,
    RateLimited where there was nothing but limits, or Unavailable where no deployment knows the task; a
    ProviderError only where an answer broke off that its caller has the beginning of.
    """

    def __init__(
        self,
        members: Sequence[Member[RequestT, AnswerT]],
        *,
        fallbacks: Mapping[str, Sequence[str]],
        clock: Clock,
        random: Random,
    ) -> None:
        self._members = members
        self._fallbacks = fallbacks
        self._clock = clock
        self._random = random

    async def complete(self, request: RequestT, call: Call) -> AnswerT:
        """One round over everyone who may still be asked."""
        order = self._order(request.model, call)
        chosen = plan(order, call)
        due = list(chosen)
        while due:
            member = due.pop(0)
            try:
                async with call.limit(self._share(call, left=len(due) + 1)):
                    answer = await member.client.complete(request, call)
            except DeploymentLimited:
                spare = [other for other in order if other not in chosen][:1]
                chosen += spare
                due = sorted(due + spare, key=order.index)
                continue
            except ProviderError:
                if call.is_answering:
                    raise
                continue
            except TimeoutError:
                give_up(call, member.deployment)
                continue
            call.deployment = member.deployment.name
            return answer
        raise failure_of(request.model, call, now=self._clock.monotonic())

    def _share(self, call: Call, *, left: int) -> float | None:
        """The seconds one of `left` deployments may take, so that one that hangs leaves time for the others."""
        return None if left == 1 else (call.deadline - self._clock.monotonic()) / left

    def _order(self, alias: str, call: Call) -> list[Member[RequestT, AnswerT]]:
        """Everyone who may be asked now, best first: by weight within an alias, alias after alias of the chain.

        Who answered this call before comes first of all: a repair turn goes to whoever erred.
        """
        chain = [alias, *self._fallbacks.get(alias, ())]
        members = [member for name in chain for member in self._by_weight(name, call)]
        return sorted(members, key=lambda member: member.deployment.name != call.deployment)

    def _by_weight(self, alias: str, call: Call) -> list[Member[RequestT, AnswerT]]:
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

    def _draw(self, member: Member[RequestT, AnswerT]) -> float:
        weight = member.deployment.weight
        return self._random.random() ** (1 / weight) if weight > 0 else -self._random.random()


def plan(order: Sequence[Member[RequestT, AnswerT]], call: Call) -> list[Member[RequestT, AnswerT]]:
    """Who of `order` is asked in this round, at most `call.attempts_left` of them.

    Where attempts are fewer than deployments every alias keeps one, so that a fallback is reached at all.
    """
    aliases = {member.deployment.alias for member in order}
    spare = max(call.attempts_left - len(aliases), 0)
    chosen = []
    for member in order:
        alias = member.deployment.alias
        if alias in aliases:
            aliases.remove(alias)
        elif spare:
            spare -= 1
        else:
            continue
        chosen.append(member)
    return chosen[: call.attempts_left]


def give_up(call: Call, deployment: Deployment) -> None:
    """Note that an attempt, if there is one yet, was left for the next deployment while it still ran."""
    for attempt in call.attempts[-1:]:
        if attempt.deployment == deployment.name:
            attempt.error = ProviderTimeout.code
            attempt.detail = "no answer in its share of the time"


def is_barred(attempt: Attempt, now: float) -> bool:
    """Whether this attempt's outcome forbids asking its deployment again now."""
    return attempt.error in FINAL or (attempt.retry_at is not None and attempt.retry_at > now)
