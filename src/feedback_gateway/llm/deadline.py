"""One total time limit around everything a call does: waits, attempts and the repair turn."""

from typing import Generic

from feedback_gateway.calls.models import Call
from feedback_gateway.clock import Clock
from feedback_gateway.errors import DeadlineExceeded
from feedback_gateway.llm.models import AnswerT, Client, RequestT


class DeadlineClient(Generic[RequestT, AnswerT]):
    """Gives up, as DeadlineExceeded, when the call's deadline passes before an answer, or the beginning of one."""

    def __init__(self, inner: Client[RequestT, AnswerT], *, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock

    async def complete(self, request: RequestT, call: Call) -> AnswerT:
        """Complete before `call.deadline`, or raise DeadlineExceeded."""
        remaining = call.deadline - self._clock.monotonic()
        try:
            async with call.limit(remaining):
                return await self._inner.complete(request, call)
        except TimeoutError:
            tried = ", ".join(attempt.deployment for attempt in call.attempts) or "nobody"
            allowed = call.deadline - call.started
            raise DeadlineExceeded(f"no answer within {allowed:.3g} s; asked: {tried}") from None
