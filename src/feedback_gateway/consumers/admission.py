"""What everybody passes before a provider may be asked: scope and rate limits. Budgets come after, with the money."""

from feedback_gateway.consumers.models import Consumer
from feedback_gateway.ratelimits.models import Allowance, RateLimiter, Standing


class Admission:
    """Lets calls in, for whichever route or command they come from."""

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter

    async def admit(self, consumer: Consumer, *, tokens: int) -> Standing | None:
        """Count one call of so many tokens against the consumer's limits; how the tightest one stands then.

        None where there is no limit. Raises RateLimited.
        """
        limits = consumer.limits
        allowance = Allowance(
            requests_per_minute=limits.requests_per_minute, tokens_per_minute=limits.tokens_per_minute
        )
        return await self._limiter.admit("consumer", consumer.name, allowance, tokens=tokens)
