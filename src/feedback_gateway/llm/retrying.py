"""The one owner of retries: further rounds over the deployments, with full jitter between them."""

from random import Random
from typing import Generic

from feedback_gateway.calls.models import Call
from feedback_gateway.clock import Clock
from feedback_gateway.errors import CoolingDown, ProviderFailed, RateLimited
from feedback_gateway.llm.models import AnswerT, Client, RequestT


class RetryingClient(Generic[RequestT, AnswerT]):
    """Starts another round after one in which everybody failed, as long as attempts and time are left.

    The wait is what the providers' `Retry-After`, a deployment's own limit or its cooldown asks for, else random
    between 0 and a bound that doubles every round (full jitter; aws.amazon.com "Exponential Backoff And Jitter"). A
    wait that would end after the call's deadline is not begun: the failure is told at once. Seconds throughout.
    """

    def __init__(
        self,
        inner: Client[RequestT, AnswerT],
        *,
        backoff_s: float,
        max_backoff_s: float,
        clock: Clock,
        random: Random,
    ) -> None:
        self._inner = inner
        self._backoff = backoff_s
        self._max_backoff = max_backoff_s
        self._clock = clock
        self._random = random

    async def complete(self, request: RequestT, call: Call) -> AnswerT:
        """Complete within the call's budget of attempts."""
        bound = self._backoff
        while True:
            try:
                return await self._inner.complete(request, call)
            except (ProviderFailed, RateLimited, CoolingDown) as error:
                jitter = self._random.uniform(0, min(bound, self._max_backoff))
                wait = jitter if error.retry_after is None else error.retry_after
                is_over = call.attempts_left < 1 or self._clock.monotonic() + wait >= call.deadline
                if is_over or not error.retryable:
                    raise
            await self._clock.sleep(wait)
            bound *= 2
