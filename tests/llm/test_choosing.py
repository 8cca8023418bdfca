"""Which deployment of an alias is asked first: by weight, load, pace or price."""

import asyncio
from collections import Counter
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import GatewayError
from feedback_gateway.llm.choosing import Chooser, Routing, Strategy
from feedback_gateway.llm.health import Outcome
from feedback_gateway.llm.models import Completion, CompletionRequest, Rates
from tests.llm.bench import GOOD, REQUEST, Bench, outage
from tests.llm.calls import until

pytestmark = pytest.mark.anyio

NAMES = ("default/a", "default/b", "default/c")


def bench_of(strategy: Strategy, *, seed: int = 0, **more: object) -> Bench:
    """Three deployments that answer."""
    return Bench({name: [GOOD] for name in NAMES}, routing=Routing(strategy=strategy), seed=seed, **more)  # type: ignore[arg-type]


def delay(bench: Bench, name: str, seconds: float) -> None:
    """Let a deployment take its time."""

    async def complete(request: CompletionRequest, call: Call) -> Completion:
        bench.clients[name].requests.append(request)
        bench.clock.advance(seconds)
        return GOOD

    bench.clients[name].complete = complete  # type: ignore[method-assign]


async def served(bench: Bench, calls: int) -> Counter[str | None]:
    """Who answered so many calls, one after the other."""
    return Counter([(await bench.complete()).deployment for _ in range(calls)])


async def test_least_busy_spreads_what_is_under_way() -> None:
    """Thirty calls at once are ten for each, whatever the weights."""
    bench = bench_of("least_busy", weights={"default/a": 50.0})
    waiting, most = asyncio.Event(), Counter[str]()

    async def hang(name: str) -> Completion:
        most[name] += 1
        await waiting.wait()
        return GOOD

    for name in NAMES:
        bench.clients[name].complete = lambda request, call, name=name: hang(name)  # type: ignore[method-assign, misc]
    calls = []
    for _ in range(30):
        calls.append(asyncio.create_task(bench.complete()))
        await until(lambda: most.total() == len(calls))
    waiting.set()
    await asyncio.gather(*calls)

    assert most == dict.fromkeys(NAMES, 10)


async def test_least_busy_falls_to_weight_where_nobody_is_busy() -> None:
    """Three to one, and nothing for a weight of 0."""
    bench = bench_of("least_busy", weights={"default/a": 3, "default/b": 1, "default/c": 0})

    found = await served(bench, 1000)

    assert 700 < found["default/a"] < 800
    assert found["default/c"] == 0


async def test_lowest_latency_tries_everybody_and_settles_on_the_quickest() -> None:
    """A small share of calls still goes by weight, so that a change is noticed."""
    bench = bench_of("lowest_latency")
    for name, seconds in zip(NAMES, (0.3, 0.1, 0.2), strict=True):
        delay(bench, name, seconds)

    found = await served(bench, 1000)

    assert found["default/b"] > 940
    assert min(found["default/a"], found["default/c"]) >= 2


async def test_lowest_latency_notices_that_the_quickest_has_slowed_down() -> None:
    """Its own answers tell."""
    bench = bench_of("lowest_latency")
    for name, seconds in zip(NAMES, (0.3, 0.1, 0.2), strict=True):
        delay(bench, name, seconds)
    await served(bench, 50)

    delay(bench, "default/b", 1.0)
    found = await served(bench, 500)

    assert found["default/c"] > 450


async def test_lowest_latency_lets_one_call_at_a_time_find_out() -> None:
    """Who is not measured yet does not get all calls of a burst."""
    bench = bench_of("lowest_latency")
    measured = Outcome(kind="success", latency_ms=200, output_tokens=20)
    bench.health["default/a"].settle(0, measured, now=bench.clock.monotonic())
    for name in NAMES[1:]:
        bench.health[name].in_flight = 1

    chooser = Chooser(
        {"default": Routing(strategy="lowest_latency")}, health=bench.health, clock=bench.clock, random=Random(1)
    )
    first = Counter(chooser.order("default", bench.deployments, REQUEST)[0].name for _ in range(200))

    assert first["default/a"] > 180
    assert first.total() == 200


async def test_lowest_cost_takes_the_cheapest_for_this_request_and_unknown_prices_last() -> None:
    """By the most that it can cost: a cheap input with a dear output may be the dearest."""
    rates = {
        "default/a": Rates(input=Decimal("0.000001"), output=Decimal(1)),
        "default/b": Rates(input=Decimal("0.00001"), output=Decimal("0.00001")),
        "default/c": None,
    }
    bench = bench_of("lowest_cost", rates=rates)
    assert await served(bench, 20) == {"default/b": 20}

    bench.clients["default/b"].play([outage()])
    bench.clients["default/a"].play([outage()])
    call = bench.call()
    await bench.complete(call)

    assert [attempt.deployment for attempt in call.attempts] == ["default/b", "default/a", "default/c"]


@given(
    strategy=st.sampled_from(["weight", "least_busy", "lowest_latency", "lowest_cost"]),
    weights=st.lists(st.sampled_from([0.0, 0.5, 1.0, 7.0]), min_size=3, max_size=3),
    down=st.sets(st.sampled_from(NAMES)),
    seed=st.integers(0, 1000),
)
def test_whatever_is_preferred_everybody_is_asked_before_a_call_fails(
    strategy: Strategy, weights: list[float], down: set[str], seed: int
) -> None:
    """An order leaves nobody out and asks nobody twice; a weight of 0 comes after every other."""
    bench = bench_of(strategy, weights=dict(zip(NAMES, weights, strict=True)), seed=seed)
    for name in down:
        bench.clients[name].play([outage()])
    call = bench.call()

    async def run() -> Completion | GatewayError:
        try:
            return await bench.complete(call)
        except GatewayError as error:
            return error

    outcome = asyncio.run(run())

    asked = [attempt.deployment for attempt in call.attempts]
    assert len(set(asked)) == len(asked)
    assert isinstance(outcome, Completion) == (down != set(NAMES))
    idle = [weights[NAMES.index(name)] == 0 for name in asked]
    assert idle == sorted(idle)
