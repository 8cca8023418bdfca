"""Cooldowns that processes share over one Redis: nobody asks whom another found to fail, and one of all probes."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import IO

import pytest
import redis

from feedback_gateway.clock import SystemClock
from feedback_gateway.errors import CoolingDown, DeploymentCooling, ProviderFailed
from feedback_gateway.llm.health import NEUTRAL, Outcome, Rules
from feedback_gateway.llm.health_watch import HealthWatch, field_of
from feedback_gateway.llm.models import Deployment
from feedback_gateway.llm.shared_cooldowns import KEY, SharedCooldowns
from feedback_gateway.redis_link.link import open_link
from tests.llm.bench import Bench, outage
from tests.ratelimits.servers import LeapingClock
from tests.servers import RedisServer

LONG_S = 10.0
DEPLOYMENT = Deployment(alias="default", name="p/m", model="p/m", params={"api_key": "sk-secret"}, timeout_s=60)
FIELD = field_of(DEPLOYMENT)
RULES = Rules(cooldown_s=100, max_cooldown_s=300)
GOOD = Outcome(kind="success", latency_ms=5, output_tokens=5)
BAD = Outcome(kind="failure", error="provider-unavailable")


class Pair:
    """Two gateways over one Redis, as two processes are, whose time passes without waiting."""

    def __init__(self, url: str, links: AsyncExitStack) -> None:
        self.clock = LeapingClock()
        self._url = url
        self._links = links
        self.watches: list[HealthWatch] = []

    async def open(self) -> None:
        """Connect both."""
        for _ in range(2):
            link = await self._links.enter_async_context(open_link(self._url, clock=self.clock, patience_s=LONG_S))
            self.watches.append(HealthWatch([DEPLOYMENT], rules=RULES, clock=self.clock, board=SharedCooldowns(link)))

    def pass_time(self, seconds: float) -> None:
        """Let time pass for both, and for what Redis keeps."""
        self.clock.leap(seconds)
        with redis.Redis.from_url(self._url, decode_responses=True) as client:
            for name, entry in dict(client.hgetall(KEY)).items():
                ends, rest = entry.split(" ", 1)
                client.hset(KEY, name, f"{int(ends) - round(seconds * 1000)} {rest}")
            probe = f"{KEY}:probe:{FIELD}"
            left = int(client.pttl(probe)) - round(seconds * 1000)
            client.pexpire(probe, max(left, 0))

    async def fail(self, which: int) -> None:
        """One gateway finds three failures in a row."""
        for _ in range(3):
            await self.watches[which].settle(DEPLOYMENT, await self.ask(which), BAD)

    async def ask(self, which: int) -> int:
        """Begin an attempt at one gateway. Raises DeploymentCooling."""
        await self.watches[which].look()
        return await self.watches[which].admit(DEPLOYMENT)

    async def answers(self) -> list[bool]:
        """Whether each gateway would ask."""
        found = []
        for which in range(2):
            try:
                await self.watches[which].settle(DEPLOYMENT, await self.ask(which), NEUTRAL)
                found.append(True)
            except DeploymentCooling:
                found.append(False)
        return found


@pytest.fixture
async def pair(redis_url: str) -> AsyncIterator[Pair]:
    """Both gateways."""
    async with AsyncExitStack() as links:
        pair = Pair(redis_url, links)
        await pair.open()
        yield pair


async def together(pair: Pair, count: int) -> list[tuple[int, int]]:
    """Who of `count` callers at each gateway is let in, all at once: (gateway, ticket)."""
    callers = [which for which in range(2) for _ in range(count)]
    outcomes = await asyncio.gather(*(pair.ask(which) for which in callers), return_exceptions=True)
    assert all(isinstance(outcome, int | DeploymentCooling) for outcome in outcomes)
    return [(which, outcome) for which, outcome in zip(callers, outcomes, strict=True) if isinstance(outcome, int)]


@pytest.mark.anyio
async def test_cooldown_is_held_to_by_the_other_from_its_next_call_on(pair: Pair) -> None:
    """Until it is over, with the reason."""
    await pair.fail(0)

    assert await pair.answers() == [False, False]
    pair.pass_time(99)
    assert await pair.answers() == [False, False]
    assert [watch.reports()[0].reason for watch in pair.watches] == ["provider-unavailable"] * 2


@pytest.mark.anyio
async def test_next_call_at_the_other_gateway_goes_to_nobody_who_was_found_to_fail(redis_url: str) -> None:
    """Through all wrappers: it is told at once, and its provider hears nothing."""
    async with AsyncExitStack() as links:
        opened = [
            await links.enter_async_context(open_link(redis_url, clock=SystemClock(), patience_s=LONG_S))
            for _ in range(2)
        ]
        first, second = (Bench({"default/a": [outage()]}, board=SharedCooldowns(link)) for link in opened)
        with pytest.raises(ProviderFailed):
            await first.complete()

        with pytest.raises(CoolingDown, match="default/a: cools down after provider-unavailable"):
            await second.complete(second.call(deadline=2))

        assert (first.sent, second.sent) == (3, 0)


@pytest.mark.anyio
async def test_exactly_one_of_all_callers_probes(pair: Pair) -> None:
    """Twenty at each gateway at once, and those who come while it is under way."""
    await pair.fail(0)
    pair.pass_time(100)

    first, later = await together(pair, 20), await together(pair, 20)

    assert (len(first), later) == (1, [])


@pytest.mark.anyio
async def test_probe_that_succeeds_opens_both(pair: Pair) -> None:
    """Whichever of them it was."""
    await pair.fail(0)
    pair.pass_time(100)
    ((which, ticket),) = await together(pair, 1)

    await pair.watches[which].settle(DEPLOYMENT, ticket, GOOD)

    assert await pair.answers() == [True, True]


@pytest.mark.anyio
async def test_probe_that_fails_closes_both_for_longer(pair: Pair) -> None:
    """200 s instead of 100."""
    await pair.fail(0)
    pair.pass_time(100)
    ((which, ticket),) = await together(pair, 1)

    await pair.watches[which].settle(DEPLOYMENT, ticket, BAD)

    pair.pass_time(199)
    assert await pair.answers() == [False, False]
    pair.pass_time(1)
    assert len(await together(pair, 3)) == 1


@pytest.mark.anyio
async def test_probe_that_says_nothing_leaves_it_to_the_next(pair: Pair) -> None:
    """As soon as the others have heard of it."""
    await pair.fail(0)
    pair.pass_time(100)
    ((which, ticket),) = await together(pair, 1)

    await pair.watches[which].settle(DEPLOYMENT, ticket, NEUTRAL)
    await asyncio.gather(*pair.watches[which]._telling)
    pair.pass_time(0.25)

    assert len(await together(pair, 3)) == 1


@pytest.mark.anyio
async def test_probe_of_a_process_that_died_blocks_nobody_for_good(pair: Pair) -> None:
    """Its lease ends with the longest time that the attempt could have taken."""
    await pair.fail(0)
    pair.pass_time(100)
    await together(pair, 1)

    pair.pass_time(64)
    assert await together(pair, 1) == []
    pair.pass_time(1)
    assert len(await together(pair, 1)) == 1


@pytest.mark.anyio
async def test_who_asks_at_the_same_time_shares_the_round_trip(pair: Pair, redis_url: str) -> None:
    """A hundred callers, two questions: one that was under way, and one for who came since."""
    with redis.Redis.from_url(redis_url) as client:
        client.config_resetstat()

        await asyncio.gather(*(pair.watches[0].look() for _ in range(100)))

        assert client.info("commandstats")["cmdstat_eval"]["calls"] <= 2


@pytest.mark.anyio
async def test_another_key_or_address_is_another_deployment(pair: Pair, redis_url: str) -> None:
    """A key that was refused does not keep the next one out, and Redis is told neither."""
    await pair.fail(0)

    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert list(client.hgetall(KEY)) == [FIELD]
    assert "sk-secret" not in FIELD
    assert field_of(replace(DEPLOYMENT, params={"api_key": "sk-other"})) != FIELD


@pytest.mark.anyio
async def test_without_redis_each_process_goes_on_from_what_it_knows(redis_server: RedisServer) -> None:
    """A dead Redis is no error; who found the failures leaves it alone, and probes by itself."""
    async with AsyncExitStack() as links:
        pair = Pair(redis_server.url, links)
        await pair.open()
        redis_server.kill()

        await pair.fail(0)

        assert await pair.answers() == [False, True]
        pair.clock.leap(100)
        assert len([which for which, _ in await together(pair, 3) if which == 0]) == 1


@pytest.mark.anyio
async def test_what_was_found_while_redis_was_away_is_not_undone_by_its_return(redis_server: RedisServer) -> None:
    """It does not know of the cooldown; the process that does keeps to it."""
    async with AsyncExitStack() as links:
        pair = Pair(redis_server.url, links)
        await pair.open()
        redis_server.kill()
        await pair.fail(0)
        redis_server.start()
        pair.clock.leap(10)

        assert (await pair.answers())[0] is False


class Process:
    """A real process that does as it is told."""

    def __init__(self, redis_url: str) -> None:
        command = [sys.executable, "-m", "tests.llm.processes", redis_url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, order: str) -> None:
        """Give an order."""
        pipe(self._process.stdin).write(f"{order}\n")
        pipe(self._process.stdin).flush()

    def hear(self) -> str:
        """What came of the order."""
        return pipe(self._process.stdout).readline().strip()

    def do(self, order: str) -> str:
        """Both."""
        self.tell(order)
        return self.hear()

    def end(self) -> None:
        """Let it go."""
        pipe(self._process.stdin).close()
        assert self._process.wait(30) == 0
        pipe(self._process.stdout).close()


def pipe(stream: IO[str] | None) -> IO[str]:
    """One that is there."""
    assert stream is not None
    return stream


@pytest.fixture
def processes(redis_url: str) -> Iterator[list[Process]]:
    """Two."""
    found = [Process(redis_url), Process(redis_url)]
    yield found
    for process in found:
        process.end()


def asked_by(processes: list[Process]) -> list[Process]:
    """Who of both asks, told at the same time."""
    for process in processes:
        process.tell("ask")
    return [process for process, said in [(one, one.hear()) for one in processes] if said == "asked"]


def test_two_processes_leave_it_alone_together_and_send_one_probe(processes: list[Process]) -> None:
    """After three failures at one of them, from the next call on, at both; when it is over one asks, and no more."""
    for _ in range(3):
        assert processes[0].do("ask") == "asked"
        assert processes[0].do("bad") == "bad"

    assert asked_by(processes) == []

    probing: list[Process] = []
    deadline = time.monotonic() + 30
    while not probing and time.monotonic() < deadline:
        probing = asked_by(processes)
    assert len(probing) == 1
    assert [asked_by(processes) for _ in range(10)] == [[]] * 10
    assert probing[0].do("good") == "good"
    assert asked_by(processes) == processes
    assert [process.do("good") for process in processes] == ["good", "good"]
