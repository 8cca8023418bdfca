"""Measures each attempt: how long it took, what it used and what that costs, whether or not anyone still waits."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Generic

from feedback_gateway.calls.models import Attempt, Call
from feedback_gateway.clock import Clock
from feedback_gateway.errors import ProviderError, ProviderTimeout
from feedback_gateway.llm.budgeting import bound_of
from feedback_gateway.llm.health import NEUTRAL, Outcome, outcome_of
from feedback_gateway.llm.health_watch import HealthWatch
from feedback_gateway.llm.models import Abandoned, AnswerT, Deployment, Leaf, RequestT, Usage
from feedback_gateway.llm.prices import cost


class MeteringClient(Generic[RequestT, AnswerT]):
    """Wraps the provider of one deployment.

    A billed request runs in a task of its own: a caller who leaves or runs out of time gets away at once, while the
    provider, who bills either way, is heard out for the deployment's time limit so that the cost is known. A free one
    ends with its caller, so that nobody waits behind answers that nobody reads, and so does a streamed one, whose
    provider stops where the connection closes: it is billed what was heard so far.
    """

    def __init__(
        self, inner: Leaf[RequestT, AnswerT], deployment: Deployment, *, health: HealthWatch, clock: Clock
    ) -> None:
        self._inner = inner
        self._deployment = deployment
        self._is_free = deployment.is_free
        self._health = health
        self._clock = clock

    async def complete(self, request: RequestT, call: Call) -> AnswerT:
        """Ask once. Raises ProviderError; on cancellation the attempt stays in `call.pending` until it is settled.

        Raises DeploymentCooling, and makes no attempt, where the deployment must be left alone.
        """
        await self._prepared(request, call)
        bound_usd = bound_of(request, self._deployment)
        ticket = await self._health.admit(self._deployment)
        attempt = self._begun(request, call, bound_usd=bound_usd)
        try:
            if self._is_free:
                attempt.cost_usd = Decimal(0)
                return await self._watched(request, call, attempt, ticket)
            asking = call.begin(self._watched(request, call, attempt, ticket))
            try:
                return await asyncio.shield(asking)
            except asyncio.CancelledError:
                if request.is_streamed:
                    asking.cancel()
                raise
        except asyncio.CancelledError:
            attempt.status = "abandoned"
            raise

    async def _prepared(self, request: RequestT, call: Call) -> None:
        """Let the provider's client load what it needs; a client that cannot has failed before it asked anybody."""
        try:
            await self._inner.prepare()
        except ProviderError as error:
            self._note_failure(self._begun(request, call, bound_usd=Decimal(0)), error)
            raise

    def _begun(self, request: RequestT, call: Call, *, bound_usd: Decimal | None) -> Attempt:
        now = self._clock.now()
        return call.start_attempt(self._deployment, started_at=now, purpose=request.purpose, bound_usd=bound_usd)

    async def _watched(self, request: RequestT, call: Call, attempt: Attempt, ticket: int) -> AnswerT:
        """Ask, and let it be known how that ended, whether or not anyone waits."""
        outcome = NEUTRAL
        try:
            answer = await self._ask(request, call, attempt)
            tokens = answer.usage.output_tokens
            outcome = Outcome(kind="success", latency_ms=attempt.latency_ms, output_tokens=tokens)
        except ProviderError as error:
            outcome = outcome_of(error)
            raise
        finally:
            await self._health.settle(self._deployment, ticket, outcome)
        return answer

    async def _ask(self, request: RequestT, call: Call, attempt: Attempt) -> AnswerT:
        started = self._clock.monotonic()
        try:
            async with call.limit(self._deployment.timeout_s):
                answer = await self._inner.complete(request, call)
        except TimeoutError:
            error = ProviderTimeout(f"no answer within {self._deployment.timeout_s:g} s")
            self._note_failure(attempt, error)
            raise error from None
        except ProviderError as error:
            self._note_failure(attempt, error)
            raise
        except Abandoned as left:
            self._bill(attempt, left.usage)
            raise
        finally:
            attempt.latency_ms = (self._clock.monotonic() - started) * 1000
        self._bill(attempt, answer.usage)
        attempt.finish_reason = answer.finish_reason
        attempt.answered_by = answer.model or None
        if attempt.status == "running":
            attempt.status = "ok"
        return replace(answer, deployment=self._deployment.name)

    def _note_failure(self, attempt: Attempt, error: ProviderError) -> None:
        if attempt.status == "running":
            attempt.status = "failed"
        attempt.error = error.code
        attempt.detail = error.detail
        attempt.http_status = error.status
        attempt.is_lost = error.is_lost
        if error.retry_after is not None:
            attempt.retry_at = self._clock.monotonic() + error.retry_after
        if error.usage is not None:
            self._bill(attempt, error.usage)

    def _bill(self, attempt: Attempt, usage: Usage) -> None:
        attempt.usage = usage
        if self._deployment.rates is not None:
            attempt.cost_usd = cost(usage, self._deployment.rates)
