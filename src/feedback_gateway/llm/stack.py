"""The order of the wrappers around the providers, written once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random

from feedback_gateway.clock import Clock
from feedback_gateway.llm.deadline import DeadlineClient
from feedback_gateway.llm.fallback import FallbackClient, Member
from feedback_gateway.llm.metering import MeteringClient
from feedback_gateway.llm.models import CompletionClient, Deployment, Provider
from feedback_gateway.llm.retrying import RetryingClient
from feedback_gateway.llm.validating import ValidatingClient


def build_stack(
    deployments: Iterable[Deployment],
    provider: Callable[[Deployment], Provider],
    *,
    fallbacks: Mapping[str, Sequence[str]],
    backoff_s: float,
    max_backoff_s: float,
    clock: Clock,
    random: Random,
) -> CompletionClient:
    """Deadline → validating → retrying → fallback → metering → provider.

    The repair turn stands inside the deadline; rounds stand outside the choice of deployments, so that nobody
    waits while another deployment may be asked; metering stands innermost, because failed attempts cost money too.
    """
    members = [
        Member(deployment, MeteringClient(provider(deployment), deployment, clock=clock)) for deployment in deployments
    ]
    client: CompletionClient = FallbackClient(members, fallbacks=fallbacks, clock=clock, random=random)
    client = RetryingClient(client, backoff_s=backoff_s, max_backoff_s=max_backoff_s, clock=clock, random=random)
    return DeadlineClient(ValidatingClient(client), clock=clock)
