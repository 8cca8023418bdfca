"""A provider that answers what it was told to: for tests, demonstrations and rehearsals, at no cost."""

import asyncio
from collections.abc import Callable, Iterable
from itertools import chain, repeat

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import GatewayError
from feedback_gateway.ledger.models import Grant, Hold, Refusal
from feedback_gateway.llm.models import Completion, CompletionRequest, FinishReason, Usage

Step = Completion | GatewayError | Callable[[CompletionRequest], Completion]


def answer(content: str, *, usage: Usage | None = None, finish_reason: FinishReason = "stop") -> Completion:
    """A completion as a provider would give it; 100 tokens in and 20 out unless `usage` says otherwise."""
    usage = usage or Usage(uncached_input_tokens=100, output_tokens=20)
    return Completion(content=content, finish_reason=finish_reason, model="scripted", usage=usage)


class OpenPurse:
    """Sets aside whatever is asked for, and keeps no account of it."""

    owner = "scripted"

    def hold(self, hold: Hold) -> "asyncio.Future[Grant | Refusal]":  # noqa: ARG002 the protocol's
        """Grant."""
        granted: asyncio.Future[Grant | Refusal] = asyncio.get_running_loop().create_future()
        granted.set_result(Grant())
        return granted


class ScriptedClient:
    """Plays its steps one a request, the last one for ever; `requests` keeps what it was asked."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self.play(steps)
        self.requests: list[CompletionRequest] = []

    def play(self, steps: Iterable[Step]) -> None:
        """Begin another script."""
        steps = list(steps)
        self._steps = chain(steps, repeat(steps[-1]))

    async def prepare(self) -> None:
        """Nothing to load."""

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:  # noqa: ARG002 the protocol's
        """Give the next step: a completion, an error to raise, or what a function makes of the request."""
        self.requests.append(request)
        step = next(self._steps)
        if isinstance(step, GatewayError):
            raise step
        return step if isinstance(step, Completion) else step(request)
