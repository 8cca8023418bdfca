"""What everybody passes before a provider may be asked: scope and rate limits. Budgets come after, with the money."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from feedback_gateway.consumers.models import Consumer
from feedback_gateway.errors import RateLimited
from feedback_gateway.ratelimits.limiter import Applicant
from feedback_gateway.ratelimits.models import Allowance, RateLimiter, Standing

MOST_BARRED = 10_000


@dataclass(frozen=True, slots=True)
class Bar:
    """Until when, in the clock's seconds, no request is admitted: that was found under a limit of so many a minute."""

    until: float
    limit: int | None


class Admission:
    """Lets calls in, for whichever route or command they come from; `refused` is told of whom `look` turned away."""

    def __init__(
        self, limiter: RateLimiter, *, now: Callable[[], float], refused: Callable[[str, str], None] = lambda *_: None
    ) -> None:
        self._limiter = limiter
        self._now = now
        self._refused = refused
        self._bars: dict[str, Bar] = {}

    def look(self, consumer: Consumer) -> None:
        """Turn away at no cost who used up their requests, until the first of them is forgotten. Raises RateLimited.

        Asks nobody, so that it can come before all work that a call makes.
        """
        bar, limit = self._bars.get(consumer.name), consumer.limits.requests_per_minute
        if bar is None or limit is None or bar.limit != limit or (wait := bar.until - self._now()) <= 0:
            return
        self._refused("consumer", "requests")
        told = None if math.isinf(wait) else wait
        raise Applicant("consumer", consumer.name).refusal(limit, "requests", cost=1, wait=told)

    async def admit(self, consumer: Consumer, *, tokens: int) -> Standing | None:
        """Count one call of so many tokens against the consumer's limits; how the tightest one stands then.

        None where there is no limit. Raises RateLimited.
        """
        limits = consumer.limits
        allowance = Allowance(
            requests_per_minute=limits.requests_per_minute, tokens_per_minute=limits.tokens_per_minute
        )
        try:
            return await self._limiter.admit("consumer", consumer.name, allowance, tokens=tokens)
        except RateLimited as error:
            if error.unit == "requests":
                self._bar(consumer, wait=math.inf if error.retry_after is None else error.retry_after)
            raise

    def _bar(self, consumer: Consumer, *, wait: float) -> None:
        if len(self._bars) >= MOST_BARRED:
            self._bars.clear()
        self._bars[consumer.name] = Bar(self._now() + wait, consumer.limits.requests_per_minute)
