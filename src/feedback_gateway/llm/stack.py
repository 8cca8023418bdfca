"""The order of the wrappers around the providers, written once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from feedback_gateway.clock import Clock
from feedback_gateway.llm.budgeting import CoveringClient, Purse, ReservingClient
from feedback_gateway.llm.caching import AnswerCache, CachingClient
from feedback_gateway.llm.chains import Fallbacks
from feedback_gateway.llm.choosing import Chooser, Routing
from feedback_gateway.llm.deadline import DeadlineClient
from feedback_gateway.llm.fallback import FallbackClient, Member
from feedback_gateway.llm.gathering import GatheringClient
from feedback_gateway.llm.health_watch import HealthWatch
from feedback_gateway.llm.limiting import LimitingClient
from feedback_gateway.llm.metering import MeteringClient
from feedback_gateway.llm.models import (
    AnswerT,
    Client,
    Completion,
    CompletionClient,
    Deployment,
    ForwardAnswer,
    ForwardClient,
    Forwarder,
    Leaf,
    Provider,
    RequestT,
)
from feedback_gateway.llm.retrying import RetryingClient
from feedback_gateway.llm.stored import Entries, Stored, unchanged
from feedback_gateway.llm.validating import ValidatingClient, proven
from feedback_gateway.ratelimits.models import RateLimiter

MOST_ALIASES = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Caching → gathering → reserving → deadline → validating → retrying → fallback → limiting → covering → metering.

    A stored answer costs nothing, so it is looked for before all else, where there is a cache. Money is set aside
    before anything is asked, with a deadline of its own so that a refusal says why; the repair turn stands inside the
    deadline; rounds stand outside the choice of deployments, so that nobody waits while another deployment may be
    asked; a request over a deployment's limit is no attempt, and each attempt is covered before it begins; metering
    stands innermost, because failed attempts cost money too, and tells the deployment's health, which is one for both
    kinds of requests.
    """

    deployments: Sequence[Deployment]
    fallbacks: Fallbacks
    routing: Mapping[str, Routing]
    health: HealthWatch
    purse: Purse
    backoff_s: float
    max_backoff_s: float
    limiter: RateLimiter
    clock: Clock
    random: Random
    cache: AnswerCache | None = None

    def tasks(self, provider: Callable[[Deployment], Provider]) -> CompletionClient:
        """The client of the tasks, whose answers are held to their schemas."""
        asking = GatheringClient(self._paid(ValidatingClient(self._rounds(provider))))
        if self.cache is None:
            return asking
        return CachingClient(asking, self.cache, Entries(Stored[Completion], proven), deployments=self.deployments)

    def forward(self, forwarder: Callable[[Deployment], Forwarder]) -> ForwardClient:
        """The client of requests that are passed on."""
        asking = self._paid(self._rounds(forwarder))
        if self.cache is None:
            return asking
        return CachingClient(
            asking, self.cache, Entries(Stored[ForwardAnswer], unchanged), deployments=self.deployments
        )

    def _paid(self, client: Client[RequestT, AnswerT]) -> Client[RequestT, AnswerT]:
        billed = lru_cache(MOST_ALIASES)(self._billed)
        return ReservingClient(DeadlineClient(client, clock=self.clock), self.purse, billed=billed, clock=self.clock)

    def _rounds(self, leaf: Callable[[Deployment], Leaf[RequestT, AnswerT]]) -> Client[RequestT, AnswerT]:
        members = [Member(deployment, self._asked(deployment, leaf(deployment))) for deployment in self.deployments]
        chooser = Chooser(self.routing, health=self.health, clock=self.clock, random=self.random)
        return RetryingClient(
            FallbackClient(members, fallbacks=self.fallbacks, chooser=chooser, health=self.health, clock=self.clock),
            backoff_s=self.backoff_s,
            max_backoff_s=self.max_backoff_s,
            clock=self.clock,
            random=self.random,
        )

    def _asked(self, deployment: Deployment, leaf: Leaf[RequestT, AnswerT]) -> Client[RequestT, AnswerT]:
        metering = MeteringClient(leaf, deployment, health=self.health, clock=self.clock)
        covering = CoveringClient(metering, deployment, self.purse, clock=self.clock)
        if not deployment.allowance.is_limited:
            return covering
        return LimitingClient(covering, deployment, limiter=self.limiter, clock=self.clock)

    def _billed(self, alias: str) -> list[Deployment]:
        """Every deployment that may answer for `alias`, whatever fails, and costs: what is held covers each."""
        aliases = self.fallbacks.reachable(alias)
        return [one for one in self.deployments if one.alias in aliases and not one.is_free]
