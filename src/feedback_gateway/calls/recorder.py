"""Opens a call, notes how it ended, and hands it to the log exactly once, when its last attempt has settled."""

import asyncio
from decimal import Decimal
from types import TracebackType
from typing import Any, Protocol

from feedback_gateway.calls.models import Call, CallStatus, retrieve
from feedback_gateway.calls.writer import LogWriter
from feedback_gateway.clock import Clock
from feedback_gateway.consumers.models import Consumer
from feedback_gateway.errors import GatewayError, Unavailable
from feedback_gateway.observability.models import Origin

ADMISSION_S = 2.0
CANCEL_S = 1.0


class CallObserver(Protocol):
    """Who is told of every call that is over."""

    def observe_call(self, call: Call) -> None:
        """Note `call`, once, when it is logged and nobody changes it any more. Never waits and never fails."""
        ...


class Recorder:
    """Records calls, one row each whatever happens.

    A call whose caller went away may still have requests under way (`call.pending`), which the provider bills.
    Its row waits for them in the background, so that what a late answer cost is in it; `drain` ends that wait.
    """

    def __init__(
        self,
        clock: Clock,
        writer: LogWriter,
        *,
        attempts: int,
        deadline_s: float,
        observer: CallObserver | None = None,
    ) -> None:
        self._clock = clock
        self._writer = writer
        self._attempts = attempts
        self._deadline = deadline_s
        self._observer = observer
        self._open: dict[str, Call] = {}
        self._settling: dict[str, Call] = {}

    @property
    def open(self) -> int:
        """How many calls somebody waits for."""
        return len(self._open)

    @property
    def settling(self) -> int:
        """How many calls are over for their caller, but not yet for a provider."""
        return len(self._settling)

    @property
    def reserved_usd(self) -> Decimal:
        """What the calls that are not over have set aside."""
        calls = (*self._open.values(), *self._settling.values())
        return sum((call.held_usd for call in calls if call.is_held and call.held_usd is not None), Decimal(0))

    def record(
        self,
        consumer: Consumer,
        task: str,
        prompt_version: int,
        model: str,
        *,
        timeout_s: float | None,
        origin: Origin | None = None,
    ) -> "Recording":
        """A context that opens the call and closes it; `timeout_s` is its whole time, None the configured deadline.

        `origin` is the request that it is made for. Entering raises Unavailable where the log has been full for a
        while: a call that cannot be booked is not made.
        """
        return Recording(self, consumer, task, prompt_version, model, timeout_s=timeout_s, origin=origin)

    async def begin(
        self,
        consumer: Consumer,
        task: str,
        prompt_version: int,
        model: str,
        *,
        timeout_s: float | None,
        origin: Origin | None = None,
    ) -> Call:
        """A new call, as soon as the log has room for it."""
        created_at, started = self._clock.now(), self._clock.monotonic()
        allowed = self._deadline if timeout_s is None else timeout_s
        if self._writer.is_full:
            await self._await_room(min(allowed, ADMISSION_S))
        call = Call(
            call_id=self._clock.new_id(),
            consumer=consumer.name,
            identity=consumer.identity,
            budgets=consumer.budgets_for(task),
            task=task,
            prompt_version=prompt_version,
            model=model,
            created_at=created_at,
            started=started,
            deadline=started + allowed,
            attempts_left=self._attempts,
            origin=origin,
        )
        self._open[call.call_id] = call
        return call

    def close(self, call: Call, error: BaseException | None) -> None:
        """Note how `call` ended, and log it now or when the last of its attempts has settled."""
        call.status, call.error = outcome(error)
        call.latency_ms = (self._clock.monotonic() - call.started) * 1000
        for attempt in call.attempts:
            if attempt.status == "running":
                attempt.status = "abandoned"
        self._open.pop(call.call_id, None)
        self._settling[call.call_id] = call

        def settle(work: "asyncio.Future[Any]") -> None:
            retrieve(work)
            self._log_if_settled(call)

        for task in call.pending:
            task.add_done_callback(settle)
        self._log_if_settled(call)

    async def drain(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` seconds for attempts nobody waits for; cancel the rest, and log what is known."""
        if pending := self._pending():
            await asyncio.wait(pending, timeout=timeout_s)
        if pending := self._pending():
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=CANCEL_S)
        for call in list(self._settling.values()):
            self._log(call)

    async def _await_room(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._writer.admit()
        except TimeoutError:
            raise Unavailable(f"the call log is full: {self._writer.state.error}", retry_after=5.0) from None

    def _pending(self) -> set["asyncio.Future[Any]"]:
        return {task for call in self._settling.values() for task in call.pending if not task.done()}

    def _log_if_settled(self, call: Call) -> None:
        if all(task.done() for task in call.pending):
            self._log(call)

    def _log(self, call: Call) -> None:
        if self._settling.pop(call.call_id, None) is not None:
            self._writer.append(call)
            if self._observer is not None:
                self._observer.observe_call(call)


class Recording:
    """One call being recorded: entering gives the call, leaving logs it."""

    def __init__(
        self,
        recorder: Recorder,
        consumer: Consumer,
        task: str,
        prompt_version: int,
        model: str,
        *,
        timeout_s: float | None,
        origin: Origin | None,
    ) -> None:
        self._recorder = recorder
        self._about = (consumer, task, prompt_version, model)
        self._timeout = timeout_s
        self._origin = origin
        self._call: Call | None = None

    async def __aenter__(self) -> Call:
        """Open the call."""
        self._call = await self._recorder.begin(*self._about, timeout_s=self._timeout, origin=self._origin)
        return self._call

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the call without waiting for anything, so that not even a second cancellation comes between."""
        if self._call is not None:
            self._recorder.close(self._call, error)


def outcome(error: BaseException | None) -> tuple[CallStatus, str | None]:
    """The status of a call that ended with `error`, and the error's code."""
    if error is None:
        return "ok", None
    if isinstance(error, GatewayError):
        return "failed", error.code
    if isinstance(error, asyncio.CancelledError):
        return "cancelled", None
    return "failed", "internal"
