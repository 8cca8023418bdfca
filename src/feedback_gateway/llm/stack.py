"""The order of the wrappers around the providers, written once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random

from feedback_gateway.clock import Clock
from feedback_gateway.llm.budgeting import CoveringClient, Purse, ReservingClient
from feedback_gateway.llm.deadline import DeadlineClient
from feedback_gateway.llm.fallback import FallbackClient, Member
from feedback_gateway.llm.limiting import LimitingClient
from feedback_gateway.llm.metering import MeteringClient
from feedback_gateway.llm.models import CompletionClient, Deployment, Provider
from feedback_gateway.llm.retrying import RetryingClient
from feedback_gateway.llm.validating import ValidatingClient
from feedback_gateway.ratelimits.models import RateLimiter


def build_stack(
    deployments: Iterable[Deployment],
    provider: Callable[[Deployment], Provider],
    *,
    fallbacks: Mapping[str, Sequence[str]],
    purse: Purse,
    backoff_s: float,
    max_backoff_s: float,
    limiter: RateLimiter,
    clock: Clock,
    random: Random,
) -> CompletionClient:
    """Reserving → deadline → validating → retrying → fallback → limiting → covering → metering → provider.

    Money is set aside before anything is asked, with a deadline of its own so that a refusal says why; the repair turn
    stands inside the deadline; rounds stand outside the choice of deployments, so that nobody waits while another
    deployment may be asked; a request over a deployment's limit is no attempt, and each attempt is covered before it
    begins; metering stands innermost, because failed attempts cost money too.
    """
    deployments = tuple(deployments)

    def asked(deployment: Deployment) -> CompletionClient:
        metering = MeteringClient(provider(deployment), deployment, clock=clock)
        covering = CoveringClient(metering, deployment, purse, clock=clock)
        if not deployment.allowance.is_limited:
            return covering
        return LimitingClient(covering, deployment, limiter=limiter, clock=clock)

    def eligible(alias: str) -> list[Deployment]:
        chain = (alias, *fallbacks.get(alias, ()))
        return [deployment for deployment in deployments if deployment.alias in chain]

    members = [Member(deployment, asked(deployment)) for deployment in deployments]
    client: CompletionClient = FallbackClient(members, fallbacks=fallbacks, clock=clock, random=random)
    client = RetryingClient(client, backoff_s=backoff_s, max_backoff_s=max_backoff_s, clock=clock, random=random)
    client = DeadlineClient(ValidatingClient(client), clock=clock)
    return ReservingClient(client, purse, eligible=eligible, clock=clock)
