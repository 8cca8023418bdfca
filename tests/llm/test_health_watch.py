"""What the watch over all deployments tells, and that it is one for both kinds of requests."""

import asyncio

import pytest

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import CoolingDown, ProviderFailed, ProviderRateLimited, ProviderRejected, RateLimited
from feedback_gateway.llm.models import ForwardAnswer, ForwardRequest, Usage
from tests.llm.bench import GOOD, Bench, outage
from tests.llm.calls import until

pytestmark = pytest.mark.anyio

FORWARD = ForwardRequest(operation="chat", model="default", body={"messages": []}, size=20, max_tokens=10)


class Forwarder:
    """Passes on until it is told to fail."""

    fails = False

    async def prepare(self) -> None:
        """Nothing to load."""

    async def complete(self, request: ForwardRequest, call: Call) -> ForwardAnswer:
        """Answer."""
        if self.fails:
            raise outage()
        usage = Usage(uncached_input_tokens=5, output_tokens=5)
        return ForwardAnswer(body=b"{}", finish_reason="stop", model="m", usage=usage)


async def test_requests_that_are_passed_on_and_tasks_share_one_state() -> None:
    """Who failed for the ones is left alone by the others."""
    bench, forwarder = Bench({"default/a": [GOOD]}, attempts=1), Forwarder()
    forward = bench.stack.forward(lambda _: forwarder)
    forwarder.fails = True
    for _ in range(3):
        with pytest.raises(ProviderFailed):
            await forward.complete(FORWARD, bench.call(deadline=1))

    with pytest.raises(CoolingDown) as failure:
        await bench.complete(bench.call(deadline=1))

    assert failure.value.retry_after == 5
    assert bench.sent == 0


async def test_all_cooling_down_waits_for_the_first_to_return_where_time_allows() -> None:
    """To the second, and then exactly that one is asked."""
    bench = Bench({"default/a": [ProviderRateLimited("busy", retry_after=9), GOOD], "default/b": [outage()]})
    for _ in range(2):
        with pytest.raises(ProviderFailed):
            await bench.complete(bench.call(deadline=1))
    bench.clients["default/b"].play([GOOD])
    begun, call = bench.clock.monotonic(), bench.call(deadline=20)

    completion = await bench.complete(call)

    assert completion.deployment == "default/b"
    assert bench.clock.monotonic() - begun == pytest.approx(5, abs=1)
    assert len(call.attempts) == 1


async def test_all_cooling_down_is_told_at_once_where_time_does_not_allow() -> None:
    """503 with the time, without a wait and without an attempt."""
    bench = Bench({"default/a": [outage()]})
    with pytest.raises(ProviderFailed):
        await bench.complete()
    slept = list(bench.clock.slept)

    with pytest.raises(CoolingDown, match="default/a: cools down after provider-unavailable") as failure:
        await bench.complete(bench.call(deadline=4))

    assert failure.value.retry_after == pytest.approx(5)
    assert bench.clock.slept == slept


async def test_everybody_at_the_providers_limit_stays_a_matter_of_limits() -> None:
    """The next caller is told 429, as the first was, although nobody was asked for him."""
    bench = Bench({"default/a": [ProviderRateLimited("busy", status=429, retry_after=40)]})

    for _ in range(2):
        with pytest.raises(RateLimited) as failure:
            await bench.complete()

    assert (failure.value.source, failure.value.name, failure.value.retry_after) == ("provider", "default/a", 40)
    assert bench.sent == 1


async def test_reports_say_how_each_deployment_does() -> None:
    """Counts, times, its share of what its alias was asked, and why it is left alone until when."""
    bench = Bench({"default/a": [GOOD], "default/b": [outage()], "cheap/c": [GOOD]}, weights={"default/b": 0.0})
    for _ in range(6):
        await bench.complete()
    bench.clients["default/a"].play([ProviderRejected("no", status=400)])
    for _ in range(3):
        with pytest.raises(ProviderFailed):
            await bench.complete(bench.call(deadline=0.5))

    first, second, third = bench.health.reports()

    assert (first.state, first.attempts, first.failures, first.share) == ("healthy", 9, 0, 0.75)
    assert (first.p50_ms, first.in_flight, first.cooling_down_until) == (0.0, 0, None)
    assert (second.state, second.reason, second.cooldowns) == ("cooling_down", "provider-unavailable", 1)
    assert second.cooling_down_until is not None
    assert (second.cooling_down_until - bench.clock.now()).total_seconds() == 5
    assert (third.attempts, third.share, third.p95_ms) == (0, None, None)


async def test_what_nobody_waits_for_any_more_is_under_way_until_it_ends() -> None:
    """And its outcome still counts."""
    bench = Bench({"default/a": [outage()]})
    released = asyncio.Event()
    complete = bench.clients["default/a"].complete

    async def hang(request: object, call: Call) -> object:
        await released.wait()
        return await complete(request, call)  # type: ignore[arg-type]

    bench.clients["default/a"].complete = hang  # type: ignore[assignment, method-assign]
    call = bench.call()
    running = asyncio.create_task(bench.complete(call))
    await until(lambda: len(call.attempts) == 1)
    running.cancel()
    await asyncio.wait({running})

    assert bench.health["default/a"].in_flight == 1
    released.set()
    await asyncio.wait(call.pending)

    assert (bench.health["default/a"].in_flight, bench.health["default/a"].failures) == (0, 1)
