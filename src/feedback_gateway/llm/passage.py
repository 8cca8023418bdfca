"""A streamed answer on its way through: what it says of usage and of its end is read, and the rest goes on at once."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import ProviderError, ProviderUnavailable
from feedback_gateway.llm.models import FINISHED, Abandoned, FinishReason, ForwardAnswer, ForwardRequest, Sink, Usage
from feedback_gateway.llm.openai_answers import FINISH, Reply, member, renamed, said_in, split, usage_in
from feedback_gateway.llm.openai_events import DONE, END, event, wants_usage
from feedback_gateway.llm.usage import estimate

OK = 200


class Road(Protocol):
    """The way to one deployment: its alias, what it raises, and what that means."""

    @property
    def alias(self) -> str:
        """What callers know the deployment by."""
        ...

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What may be raised while a stream is read."""
        ...

    def failure(self, error: BaseException, asked: Mapping[str, Any], *, usage: Usage | None = None) -> ProviderError:
        """Our error for one of `failures`."""
        ...

    def refusal(self, reply: Reply, asked: Mapping[str, Any], *, usage: Usage | None = None) -> ProviderError:
        """Our error for an event that is none of the answer's."""
        ...


class Passage:
    """One streamed answer on its way through, and what it comes to."""

    def __init__(self, request: ForwardRequest, call: Call, *, sink: Sink, road: Road) -> None:
        self._request = request
        self._call = call
        self._sink = sink
        self._road = road
        self._wants_usage = wants_usage(request.body)
        self._model = ""
        self._finish: FinishReason | None = None
        self._usage: Usage | None = None
        self._said = 0

    async def run(self, events: AsyncIterator[bytes]) -> ForwardAnswer:
        """Pass it on to its end; `events` gives the data of each event.

        Raises ProviderError where it breaks off, and Abandoned where it is left.
        """
        try:
            async for data in events:
                if data == END:
                    break
                await self._part(data)
        except ProviderError as error:
            error.usage = error.usage or self._billed()
            raise
        except self._road.failures as error:
            raise self._road.failure(error, self._request.body, usage=self._billed()) from None
        except asyncio.CancelledError:
            usage = self._billed()
            if usage is None:
                raise
            raise Abandoned(usage) from None
        if self._finish is None:
            raise ProviderUnavailable("the stream broke off", status=OK, usage=self._billed())
        await self._sink(DONE)
        usage = self._billed() or estimate(prompt=self._request.size, answer=self._said)
        return ForwardAnswer(body=b"", finish_reason=self._finish, model=self._model, usage=usage)

    async def _part(self, data: bytes) -> None:
        """One event: read what it says of usage and of the end, and pass on what the caller asked for."""
        parts = split(data)
        if parts is None or member(parts, "error"):
            raise self._road.refusal(Reply(OK, {}, data), self._request.body, usage=self._billed())
        choices = member(parts, "choices") or []
        if not isinstance(choices, list):
            raise self._road.refusal(Reply(OK, {}, data), self._request.body, usage=self._billed())
        self._said += said_in(choices, key="delta")
        self._usage = usage_in(parts) or self._usage
        self._model = self._model or str(member(parts, "model") or "")
        for choice in choices:
            reason = choice.get("finish_reason") if isinstance(choice, Mapping) else None
            if reason and (self._finish is None or self._finish in FINISHED):
                self._finish = FINISH.get(str(reason), "other")
        if not self._wants_usage and parts.pop("usage", None) is not None and not choices:
            return
        if not self._call.is_answering:
            self._call.begin_answer()
        await self._sink(event(renamed(parts, self._road.alias)))

    def _billed(self) -> Usage | None:
        """What was billed so far; None where nothing came yet."""
        if self._usage is not None or not self._call.is_answering:
            return self._usage
        return estimate(prompt=self._request.size, answer=self._said)
