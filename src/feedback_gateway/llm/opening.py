"""Builds what the settings ask for of health, fallbacks and wrappers."""

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from feedback_gateway.clock import Clock
from feedback_gateway.llm.budgeting import Purse
from feedback_gateway.llm.caching import AnswerCache
from feedback_gateway.llm.chains import Fallbacks
from feedback_gateway.llm.choosing import Routing
from feedback_gateway.llm.health import Rules
from feedback_gateway.llm.health_watch import HealthWatch
from feedback_gateway.llm.models import Deployment
from feedback_gateway.llm.shared_cooldowns import SharedCooldowns
from feedback_gateway.llm.stack import Stack
from feedback_gateway.ratelimits.models import RateLimiter
from feedback_gateway.settings import Settings

if TYPE_CHECKING:
    from feedback_gateway.redis_link.link import RedisLink


def health_of(
    settings: Settings,
    deployments: Sequence[Deployment],
    redis: "RedisLink | None",
    *,
    clock: Clock,
) -> HealthWatch:
    """The one state of health of each deployment, shared with other processes where there is a Redis."""
    rules = Rules(
        cooldown_s=settings.routing.cooldown.total_seconds(),
        max_cooldown_s=settings.routing.max_cooldown.total_seconds(),
    )
    board = None if redis is None else SharedCooldowns(redis)
    return HealthWatch(deployments, rules=rules, clock=clock, board=board)


def fallbacks_of(settings: Settings) -> Fallbacks:
    """Who is asked in whose place."""
    return Fallbacks(
        general=settings.fallbacks,
        context=settings.context_window_fallbacks,
        content=settings.content_policy_fallbacks,
    )


def stack_of(
    settings: Settings,
    deployments: Sequence[Deployment],
    redis: "RedisLink | None",
    *,
    purse: Purse,
    limiter: RateLimiter,
    cache: AnswerCache,
    clock: Clock,
) -> Stack:
    """The wrappers over all deployments."""
    return Stack(
        deployments=deployments,
        fallbacks=fallbacks_of(settings),
        routing={
            alias: Routing(**settings.routing.of(alias)) for alias in {deployment.alias for deployment in deployments}
        },
        health=health_of(settings, deployments, redis, clock=clock),
        purse=purse,
        backoff_s=settings.retry.backoff.total_seconds(),
        max_backoff_s=settings.retry.max_backoff.total_seconds(),
        limiter=limiter,
        cache=cache,
        clock=clock,
        random=Random(),  # noqa: S311 chooses deployments, keeps no secret
    )
