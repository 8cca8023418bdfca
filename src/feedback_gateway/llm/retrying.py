"""The one owner of retries: further rounds over the deployments, with full jitter between them."""

from random import Random
from typing import Any, Generic

import tenacity

from feedback_gateway.calls.models import Call
from feedback_gateway.clock import Clock
from feedback_gateway.errors import CoolingDown, GatewayError, ProviderFailed, RateLimited
from feedback_gateway.llm.models import AnswerT, Client, RequestT

RETRIED = (ProviderFailed, RateLimited, CoolingDown)


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
        try:
            return await self._inner.complete(request, call)
        except RETRIED as error:
            if not may_retry(error, call):
                raise
            return await self._again(request, call, after=error)

    async def _again(self, request: RequestT, call: Call, *, after: GatewayError) -> AnswerT:
        """Further rounds, by the library, whose loop is slow to set up: who is answered at once never waits for it."""
        failed: list[GatewayError] = [after]

        async def round_of() -> AnswerT:
            if failed:
                raise failed.pop()
            return await self._inner.complete(request, call)

        def is_late(state: tenacity.RetryCallState) -> bool:
            return self._clock.monotonic() + state.upcoming_sleep >= call.deadline

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: may_retry(error, call)),
            wait=self._wait,
            stop=is_late,
            sleep=self._clock.sleep,
            reraise=True,
        )
        answer: AnswerT = await retrying(round_of)
        return answer

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error: Any = state.outcome.exception() if state.outcome else None
        if isinstance(error, GatewayError) and error.retry_after is not None:
            return error.retry_after
        bound = min(self._max_backoff, self._backoff * 2.0 ** (state.attempt_number - 1))
        return self._random.uniform(0, bound)


def may_retry(error: BaseException, call: Call) -> bool:
    """Whether another round may bring what the last one did not."""
    return isinstance(error, RETRIED) and error.retryable and call.attempts_left > 0
