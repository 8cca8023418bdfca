"""Every call is logged once, when the last of its attempts has settled."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback_gateway.calls.booking import call_row
from feedback_gateway.calls.models import Attempt, Call
from feedback_gateway.calls.recorder import Recorder
from feedback_gateway.calls.writer import WriterState
from feedback_gateway.clock import ManualClock
from feedback_gateway.consumers.models import LOCAL_CONSUMER, Consumer
from feedback_gateway.errors import DeadlineExceeded, Unavailable
from feedback_gateway.llm.models import Deployment, Usage

pytestmark = pytest.mark.anyio
USAGE = Usage(uncached_input_tokens=100, output_tokens=10)
COST = Decimal("0.00007")


class MemoryLog:
    """A LogWriter that keeps the rows as they were when the call was handed over."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.rows: list[dict[str, object]] = []
        self.has_room = asyncio.Event()
        self.has_room.set()
        self.state = WriterState(waiting=0, lag_s=0, failing_since=None, error="full", written=0, rejected=0)

    @property
    def is_full(self) -> bool:
        """While `has_room` is cleared."""
        return not self.has_room.is_set()

    async def admit(self) -> None:
        """Wait for that to end."""
        await self.has_room.wait()

    def append(self, call: Call) -> None:
        """Keep the call and its row."""
        self.calls.append(replace(call))
        self.rows.append(call_row(call))

    def hurry(self) -> None:
        """Everything is kept already."""

    async def flush(self) -> None:
        """Everything is kept already."""

    async def close(self) -> None:
        """Nothing is open."""


class Provider:
    """Starts attempts that outlive whoever waits for them, as the metering of the gateway does."""

    def __init__(self, deployment: Deployment, clock: ManualClock) -> None:
        self._deployment = deployment
        self._clock = clock
        self.answers: list[asyncio.Future[Usage]] = []

    def ask(self, call: Call) -> asyncio.Task[object]:
        """Start an attempt, which settles when the last of `answers` does."""
        attempt = call.start_attempt(self._deployment, started_at=self._clock.now(), purpose="answer")
        answer = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        task: asyncio.Task[object] = asyncio.create_task(self._settle(attempt, answer))
        call.pending.add(task)
        task.add_done_callback(call.pending.discard)
        return task

    async def _settle(self, attempt: Attempt, answer: asyncio.Future[Usage]) -> None:
        attempt.usage = await answer
        attempt.cost_usd = COST
        if attempt.status == "running":
            attempt.status = "ok"


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture
def log() -> MemoryLog:
    """A log that the test reads."""
    return MemoryLog()


@pytest.fixture
def recorder(clock: ManualClock, log: MemoryLog) -> Recorder:
    """What is tested."""
    return Recorder(clock, log, attempts=3, deadline_s=30)


@pytest.fixture
def provider(deployment: Deployment, clock: ManualClock) -> Provider:
    """A provider that answers when the test says so."""
    return Provider(deployment, clock)


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_call_is_opened_with_its_budget_and_deadline(recorder: Recorder, clock: ManualClock) -> None:
    """From the settings, or from what the caller allows."""
    clock.advance(5)

    async with recorder.record(Consumer(name="support"), "classify", 2, "default", timeout_s=None) as usual:
        pass
    async with recorder.record(Consumer(name="support"), "classify", 2, "default", timeout_s=1.5) as short:
        pass

    assert (usual.consumer, usual.task, usual.prompt_version, usual.model) == ("support", "classify", 2, "default")
    assert (usual.attempts_left, usual.deadline, usual.created_at) == (3, 35.0, clock.now())
    assert short.deadline == 6.5
    assert short.call_id != usual.call_id


async def test_a_call_that_went_well_is_logged_on_leaving(
    recorder: Recorder, clock: ManualClock, log: MemoryLog, provider: Provider
) -> None:
    """With the time it took."""
    async with recorder.record(LOCAL_CONSUMER, "classify", 1, "default", timeout_s=None) as call:
        task = provider.ask(call)
        provider.answers[0].set_result(USAGE)
        await task
        clock.advance(0.4127)

    (logged,) = log.calls
    assert (logged.status, logged.error) == ("ok", None)
    assert logged.latency_ms == pytest.approx(412.7)
    assert log.rows[0]["cost_usd"] == COST


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (DeadlineExceeded("no answer within 30 s"), "failed", "deadline-exceeded"),
        (asyncio.CancelledError(), "cancelled", None),
        (ZeroDivisionError(), "failed", "internal"),
        (KeyboardInterrupt(), "failed", "internal"),
    ],
)
async def test_a_call_that_failed_is_logged_with_its_error(
    recorder: Recorder, log: MemoryLog, error: BaseException, status: str, code: str | None
) -> None:
    """The error goes on to the caller."""

    async def fail() -> None:
        async with recorder.record(LOCAL_CONSUMER, "classify", 1, "default", timeout_s=None):
            raise error

    caught = await swallow(fail)

    assert caught is error
    assert [(call.status, call.error) for call in log.calls] == [(status, code)]


async def swallow(function: Callable[[], Awaitable[None]]) -> BaseException | None:
    """What `function` raises."""
    try:
        await function()
    except BaseException as error:  # noqa: BLE001
        return error
    return None


async def test_an_attempt_cut_off_on_leaving_is_abandoned(
    recorder: Recorder, log: MemoryLog, clock: ManualClock, deployment: Deployment
) -> None:
    """Where nothing goes on in the background, the row need not wait."""
    async with recorder.record(LOCAL_CONSUMER, "classify", 1, "default", timeout_s=None) as call:
        call.start_attempt(deployment, started_at=clock.now(), purpose="answer")

    assert [attempt.status for attempt in log.calls[0].attempts] == ["abandoned"]
    assert log.rows[0]["cost_usd"] is None


async def test_the_row_waits_for_an_answer_that_the_caller_did_not_wait_for(
    recorder: Recorder, log: MemoryLog, provider: Provider
) -> None:
    """Its cost is booked, the attempt stays abandoned."""

    async def leave() -> None:
        async with recorder.record(LOCAL_CONSUMER, "classify", 1, "default", timeout_s=None) as call:
            provider.ask(call)
            raise DeadlineExceeded("late")

    with pytest.raises(DeadlineExceeded):
        await leave()
    await settle()
    logged_early = list(log.calls)

    provider.answers[0].set_result(USAGE)
    await settle()

    assert logged_early == []
    assert log.calls[0].attempts[0].status == "abandoned"
    assert log.rows[0]["cost_usd"] == COST
    assert log.rows[0]["status"] == "failed"
    assert recorder.settling == 0


async def test_the_caller_does_not_wait_for_the_background(recorder: Recorder, provider: Provider) -> None:
    """Leaving takes no time, and the latency is the caller's own."""
    async with asyncio.timeout(5):
        async with recorder.record(LOCAL_CONSUMER, "classify", 1, "default", timeout_s=None) as call:
            provider.ask(call)
    assert recorder.settling == 1

    provider.answers[0].set_result(USAGE)
    await recorder.drain(5)

    assert recorder.settling == 0


async def test_a_late_failure_is_logged_and_nobody_is_told_of_it(
    recorder: Recorder, log: MemoryLog, provider: Provider
) -> None:
    """It is nobody's unhandled exception."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with recorder.record(LOCAL_CONSUMER, "classify", 1, "default", timeout_s=None) as call:
        provider.ask(call)

    provider.answers[0].set_exception(Unavailable("gone"))
    provider.answers.clear()
    await settle()

    assert len(log.calls) == 1
    assert complaints == []


async def test_draining_waits_and_then_logs_what_is_known(
    recorder: Recorder, log: MemoryLog, provider: Provider
) -> None:
    """A provider that never answers is cancelled; what it costs is unknown, not nothing."""
    async with recorder.record(LOCAL_CONSUMER, "classify", 1, "default", timeout_s=None) as silent:
        task = provider.ask(silent)

    await recorder.drain(0.01)

    assert task.cancelled()
    assert log.calls[0].attempts[0].status == "abandoned"
    assert log.calls[0].attempts[0].usage is None
    assert log.rows[0]["cost_usd"] is None
    assert recorder.settling == 0


async def test_draining_does_not_wait_for_what_refuses_to_end(recorder: Recorder, log: MemoryLog) -> None:
    """The row is written all the same, once."""
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with recorder.record(LOCAL_CONSUMER, "classify", 1, "default", timeout_s=None) as call:
        task: asyncio.Task[object] = asyncio.create_task(stubborn())
        call.pending.add(task)

    await recorder.drain(0)
    release.set()
    await task
    await settle()

    assert len(log.calls) == 1


async def test_draining_nothing_is_done_at_once(recorder: Recorder, log: MemoryLog) -> None:
    """The usual shutdown."""
    await recorder.drain(5)

    assert log.calls == []


async def test_no_call_is_made_while_the_log_is_full(clock: ManualClock, log: MemoryLog) -> None:
    """What cannot be booked is not spent; the caller may come back."""
    recorder = Recorder(clock, log, attempts=3, deadline_s=0.01)
    log.has_room.clear()

    with pytest.raises(Unavailable, match="full") as caught:
        async with recorder.record(LOCAL_CONSUMER, "classify", 1, "default", timeout_s=None):
            pytest.fail("a call was made")

    assert caught.value.retry_after is not None
    assert log.calls == []


@settings(max_examples=60, deadline=timedelta(seconds=5))
@given(
    plans=st.lists(
        st.tuples(
            st.sampled_from(["ok", "error", "bug", "cancel"]),
            st.lists(st.sampled_from(["before", "late", "fails", "never"]), max_size=3),
        ),
        max_size=8,
    )
)
async def test_every_call_is_logged_exactly_once(deployment: Deployment, plans: list[tuple[str, list[str]]]) -> None:
    """Under any mix of success, error and cancellation with attempts that settle before, late or never."""
    clock, log = ManualClock(), MemoryLog()
    recorder, provider = Recorder(clock, log, attempts=3, deadline_s=30), Provider(deployment, clock)
    late: list[tuple[asyncio.Future[Usage], str]] = []
    errors = {"error": DeadlineExceeded("late"), "bug": ZeroDivisionError(), "cancel": asyncio.CancelledError()}

    async def run(end: str, attempts: list[str]) -> None:
        async with recorder.record(LOCAL_CONSUMER, "classify", 1, "default", timeout_s=None) as call:
            for attempt in attempts:
                task = provider.ask(call)
                late.append((provider.answers[-1], attempt))
                if attempt == "before":
                    provider.answers[-1].set_result(USAGE)
                    await task
            if end != "ok":
                raise errors[end]

    await asyncio.gather(*(run(end, attempts) for end, attempts in plans), return_exceptions=True)
    for answer, attempt in late:
        if attempt == "late":
            answer.set_result(USAGE)
        elif attempt == "fails":
            answer.set_exception(Unavailable("gone"))
    await recorder.drain(0)

    assert len(log.calls) == len({call.call_id for call in log.calls}) == len(plans)
    statuses = {"ok": "ok", "error": "failed", "bug": "failed", "cancel": "cancelled"}
    assert sorted(call.status for call in log.calls) == sorted(statuses[end] for end, _ in plans)
    assert all(attempt.status != "running" for call in log.calls for attempt in call.attempts)
    answered = sum(attempts.count("before") + attempts.count("late") for _, attempts in plans)
    assert sum(attempt.cost_usd == COST for call in log.calls for attempt in call.attempts) == answered


class Told:
    """An observer that keeps what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Call, Decimal | None]] = []

    def observe_call(self, call: Call) -> None:
        """Note a call and what it is known to cost."""
        self.calls.append((call, call.receipt().cost_usd))


async def test_observer_is_told_of_every_call_once(clock: ManualClock, log: MemoryLog, provider: Provider) -> None:
    """When its last attempt has settled, and not when its caller leaves."""
    told = Told()
    recorder = Recorder(clock, log, attempts=3, deadline_s=30, observer=told)
    async with recorder.record(LOCAL_CONSUMER, "classify", 1, "default", timeout_s=None) as plain:
        pass
    with suppress(asyncio.CancelledError):
        async with recorder.record(LOCAL_CONSUMER, "classify", 1, "default", timeout_s=None) as left:
            provider.ask(left)
            raise asyncio.CancelledError
    early = list(told.calls)

    provider.answers[0].set_result(USAGE)
    await settle()
    await recorder.drain(1.0)

    assert [call for call, _ in early] == [plain]
    assert [(call, cost) for call, cost in told.calls] == [(plain, Decimal(0)), (left, COST)]


async def test_calls_under_way_and_what_they_hold_are_known(recorder: Recorder, provider: Provider) -> None:
    """Until a provider is done with them."""
    with suppress(asyncio.CancelledError):
        async with recorder.record(LOCAL_CONSUMER, "classify", 1, "default", timeout_s=None) as call:
            call.is_held, call.held_usd = True, Decimal("0.5")
            provider.ask(call)
            during = recorder.open, recorder.settling, recorder.reserved_usd
            raise asyncio.CancelledError
    between = recorder.open, recorder.settling, recorder.reserved_usd
    provider.answers[0].set_result(USAGE)
    await settle()

    assert during == (1, 0, Decimal("0.5"))
    assert between == (0, 1, Decimal("0.5"))
    assert (recorder.open, recorder.settling, recorder.reserved_usd) == (0, 0, Decimal(0))
