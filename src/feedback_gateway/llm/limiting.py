"""Holds a deployment to the requests and tokens a minute that the operator set, before it is asked."""

import math
from typing import Generic

from feedback_gateway.calls.models import Call, Refusal
from feedback_gateway.clock import Clock
from feedback_gateway.errors import DeploymentLimited, RateLimited
from feedback_gateway.llm.models import AnswerT, Client, Deployment, RequestT
from feedback_gateway.llm.tokens import token_estimate
from feedback_gateway.ratelimits.models import RateLimiter


class LimitingClient(Generic[RequestT, AnswerT]):
    """Takes each request from the deployment's allowance; one that does not fit is no attempt.

    Why, and when it may be asked again, stays in `call.refusals`.
    """

    def __init__(
        self, inner: Client[RequestT, AnswerT], deployment: Deployment, *, limiter: RateLimiter, clock: Clock
    ) -> None:
        self._inner = inner
        self._deployment = deployment
        self._limiter = limiter
        self._clock = clock

    async def complete(self, request: RequestT, call: Call) -> AnswerT:
        """Ask, if the allowance has room. Raises DeploymentLimited."""
        name = self._deployment.name
        call.refusals.pop(name, None)
        try:
            await self._limiter.admit("deployment", name, self._deployment.allowance, tokens=token_estimate(request))
        except RateLimited as error:
            wait = math.inf if error.retry_after is None else error.retry_after
            call.refusals[name] = Refusal(error=error, retry_at=self._clock.monotonic() + wait)
            raise DeploymentLimited(error.detail, retry_after=error.retry_after) from None
        return await self._inner.complete(request, call)
