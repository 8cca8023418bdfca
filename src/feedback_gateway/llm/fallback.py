"""Walks the deployments of an alias, then those of its fallbacks, each once a round, and without waiting."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

from feedback_gateway.calls.models import Attempt, Call
from feedback_gateway.clock import Clock
from feedback_gateway.errors import GatewayError, InvalidModelOutput, ProviderError, ProviderTimeout
from feedback_gateway.llm.chains import Fallbacks
from feedback_gateway.llm.choosing import Chooser
from feedback_gateway.llm.failures import FINAL, Absence, failure_of, given_up
from feedback_gateway.llm.health_watch import HealthWatch
from feedback_gateway.llm.hedging import first_good, patience_with
from feedback_gateway.llm.models import AnswerT, Client, Deployment, ForwardRequest, RequestT


@dataclass(frozen=True, slots=True)
class Member(Generic[RequestT, AnswerT]):
    """A deployment and the client that asks it."""

    deployment: Deployment
    client: Client[RequestT, AnswerT]


@dataclass(slots=True)
class Round:
    """One walk: the order of each alias, drawn once; who was asked, and the aliases that an attempt was made at."""

    orders: dict[str, list[Deployment]] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    tried: set[str] = field(default_factory=set)


class FallbackClient(Generic[RequestT, AnswerT]):
    """Asks one deployment after the other, without waiting, until one answers.

    A deployment that rejected the request for good is not asked again in the same call, nor is one before the
    moment its `Retry-After` named; one that cools down or is at its own limit makes room for another. Raises
    ProviderFailed, RateLimited where there was nothing but limits, CoolingDown where nobody may be asked now, or
    NoSuitableModel where no deployment knows the task; a ProviderError only where an answer broke off that its caller
    has the beginning of.
    """

    def __init__(
        self,
        members: Sequence[Member[RequestT, AnswerT]],
        *,
        fallbacks: Fallbacks,
        chooser: Chooser,
        health: HealthWatch,
        clock: Clock,
    ) -> None:
        self._clients = {member.deployment.name: member.client for member in members}
        self._deployments = {member.deployment.name: member.deployment for member in members}
        self._aliases: dict[str, list[Deployment]] = {}
        for member in members:
            self._aliases.setdefault(member.deployment.alias, []).append(member.deployment)
        self._fallbacks = fallbacks
        self._chooser = chooser
        self._health = health
        self._clock = clock

    async def complete(self, request: RequestT, call: Call) -> AnswerT:
        """One round over everyone who may still be asked."""
        await self._health.look()
        walk = Round()
        while due := self._due(request, call, walk):
            begun = len(call.attempts)
            try:
                if len(due) == 1:
                    answer = await self._ask(due[0], request, call, walk)
                else:
                    async with call.limit(self._share(call, among=len(due))):
                        answer = await self._ask(due[0], request, call, walk)
            except ProviderError:
                if call.is_answering:
                    raise
                continue
            except TimeoutError:
                give_up(call, begun)
                continue
            call.deployment = answer.deployment
            return answer
        raise self._failure(request, call)

    def _share(self, call: Call, *, among: int) -> float:
        """The seconds one of so many deployments may take, so that one that hangs leaves time for the others."""
        return (call.deadline - self._clock.monotonic()) / among

    def _due(self, request: RequestT, call: Call, walk: Round) -> list[Deployment]:
        """Who is asked next in this round, and who after that.

        Who answered this call before comes first of all: a repair turn goes to whoever erred, unless its attempt is
        the last one and a fallback has had none.
        """
        now = self._clock.monotonic()
        barred = {attempt.deployment for attempt in call.attempts if is_barred(attempt, now)} | given_up(call)
        order = [
            deployment
            for alias in self._chain(request.model, call)
            for deployment in self._order(alias, request, walk)
            if deployment.name not in walk.asked
            and deployment.name not in barred
            and self._health[deployment.name].may_ask(now)
            and not self._is_pointless(deployment, request, call)
        ]
        order.sort(key=lambda deployment: deployment.name != call.deployment)
        return plan(order, call.attempts_left, tried=walk.tried | self._erred(call))

    def _erred(self, call: Call) -> set[str]:
        """The aliases that gave an invalid answer."""
        invalid = [attempt.deployment for attempt in call.attempts if attempt.error == InvalidModelOutput.code]
        return {self._deployments[name].alias for name in invalid}

    def _chain(self, alias: str, call: Call) -> list[str]:
        failed = [(self._deployments[one.deployment].alias, one.error) for one in call.attempts]
        return self._fallbacks.chain(alias, failed)

    def _order(self, alias: str, request: RequestT, walk: Round) -> list[Deployment]:
        if alias not in walk.orders:
            walk.orders[alias] = self._chooser.order(alias, self._aliases.get(alias, ()), request)
        return walk.orders[alias]

    def _is_pointless(self, deployment: Deployment, request: RequestT, call: Call) -> bool:
        """Whether the same model said no to this request, under the same alias, and there is somebody for that case."""
        return any(
            self._deployments[attempt.deployment].model == deployment.model
            and self._deployments[attempt.deployment].alias == deployment.alias
            and self._fallbacks.after(attempt.error, deployment.alias, request.model)
            for attempt in call.attempts
        )

    async def _ask(self, deployment: Deployment, request: RequestT, call: Call, walk: Round) -> AnswerT:
        """Ask `deployment`, and one more where it is slow and its alias wants that. Raises ProviderError."""
        is_streamed = isinstance(request, ForwardRequest) and request.sink is not None
        if is_streamed or not self._chooser.hedges(deployment.alias):
            return await self._ask_one(deployment, request, call, walk)
        patience_s = patience_with(self._health[deployment.name])
        if patience_s is None:
            return await self._ask_one(deployment, request, call, walk)
        return await first_good(
            self._ask_one(deployment, request, call, walk),
            lambda: self._company(deployment, request, call, walk),
            patience=self._clock.sleep(patience_s),
        )

    async def _company(self, deployment: Deployment, request: RequestT, call: Call, walk: Round) -> AnswerT | None:
        """The answer of another deployment of the same alias, if there is one and an attempt is left for it."""
        is_running = any(one.deployment == deployment.name and one.status == "running" for one in call.attempts)
        due = [
            other
            for other in self._due(request, call, walk)
            if other.alias == deployment.alias and self._health[other.name].cooldown is None
        ]
        if not is_running or not due:
            return None
        return await self._ask_one(due[0], request, call, walk)

    async def _ask_one(self, deployment: Deployment, request: RequestT, call: Call, walk: Round) -> AnswerT:
        walk.asked.add(deployment.name)
        begun = len(call.attempts)
        try:
            return await self._clients[deployment.name].complete(request, call)
        finally:
            if any(attempt.deployment == deployment.name for attempt in call.attempts[begun:]):
                walk.tried.add(deployment.alias)

    def _failure(self, request: RequestT, call: Call) -> GatewayError:
        """What this round comes to."""
        now = self._clock.monotonic()
        hopeless = {attempt.deployment for attempt in call.attempts if attempt.error in FINAL} | given_up(call)
        cooling = {}
        for alias in self._chain(request.model, call):
            for deployment in self._aliases.get(alias, ()):
                health = self._health[deployment.name]
                if self._is_pointless(deployment, request, call):
                    hopeless.add(deployment.name)
                elif health.cooldown is not None:
                    absence = Absence(error=health.cooldown.error, returns_at=health.returns_at(now))
                    cooling[deployment.name] = absence
        return failure_of(request.model, call, cooling=cooling, hopeless=hopeless, now=now)


def plan(order: Sequence[Deployment], attempts_left: int, *, tried: set[str]) -> list[Deployment]:
    """Who of `order` is asked in this round, at most `attempts_left` of them.

    Where attempts are fewer than deployments every alias that was not `tried` keeps one, so that a fallback is
    reached at all.
    """
    aliases = {deployment.alias for deployment in order} - tried
    spare = max(attempts_left - len(aliases), 0)
    chosen = []
    for deployment in order:
        if deployment.alias in aliases:
            aliases.remove(deployment.alias)
        elif spare:
            spare -= 1
        else:
            continue
        chosen.append(deployment)
    return chosen[: max(attempts_left, 0)]


def give_up(call: Call, begun: int) -> None:
    """Note that the attempts since the first `begun` were left for the next deployment while they still ran."""
    for attempt in call.attempts[begun:]:
        if attempt.error is None and attempt.status != "ok":
            attempt.error = ProviderTimeout.code
            attempt.detail = "no answer in its share of the time"


def is_barred(attempt: Attempt, now: float) -> bool:
    """Whether this attempt's outcome forbids asking its deployment again now."""
    return attempt.error in FINAL or (attempt.retry_at is not None and attempt.retry_at > now)
