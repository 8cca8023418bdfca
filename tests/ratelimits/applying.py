"""Asking a limiter, one at a time and many at once."""

import asyncio

from feedback_gateway.errors import RateLimited
from feedback_gateway.ratelimits.models import Allowance, RateLimiter, Scope, Standing

REQUESTS = Allowance(requests_per_minute=5)
TOKENS = Allowance(tokens_per_minute=1_000)


async def ask(
    limiter: RateLimiter, allowance: Allowance, *, name: str = "acme", tokens: int = 100, scope: Scope = "consumer"
) -> Standing | RateLimited | None:
    """What comes of one request."""
    try:
        return await limiter.admit(scope, name, allowance, tokens=tokens)
    except RateLimited as error:
        return error


async def refused(limiter: RateLimiter, allowance: Allowance, *, name: str = "acme", tokens: int = 100) -> RateLimited:
    """The refusal of one request, which must be one."""
    outcome = await ask(limiter, allowance, name=name, tokens=tokens)
    assert isinstance(outcome, RateLimited)
    return outcome


async def admitted_of(count: int, limiter: RateLimiter, allowance: Allowance, *, tokens: int = 100) -> int:
    """How many of `count` requests at once are admitted."""
    outcomes = await asyncio.gather(*(ask(limiter, allowance, tokens=tokens) for _ in range(count)))
    return sum(isinstance(outcome, Standing) for outcome in outcomes)
