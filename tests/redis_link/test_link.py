"""What everyone who asks Redis has in common: answers, silence, slowness, and what is told of them."""

import asyncio
import random

import pytest

from feedback_gateway.redis_link.link import REST_S, RedisLink, Script, open_link
from feedback_gateway.redis_link.models import RedisSilentError
from feedback_gateway.redis_link.opening import open_redis_link
from tests.proxies import DelayingProxy
from tests.ratelimits.servers import LeapingClock
from tests.servers import RedisServer

pytestmark = pytest.mark.anyio

LONG_S = 10.0


async def test_answer_is_given(redis_server: RedisServer, clock: LeapingClock) -> None:
    """What the question returns; and the link is well."""
    async with open_link(redis_server.url, clock=clock, patience_s=LONG_S) as link:
        await link.command("SET", "name", "value")
        answer = await link.command("GET", "name")

    assert answer == b"value"
    assert (link.state.is_open, link.state.failures, link.state.trouble) == (False, 0, None)


async def test_commands_of_the_same_time_travel_together(redis_server: RedisServer, clock: LeapingClock) -> None:
    """A thousand take a few round trips; each is told what was said to it, and one that is refused hurts no other."""
    async with open_link(redis_server.url, clock=clock, patience_s=LONG_S) as link:
        await link.command("SET", "name", "value")
        before = redis_server.reads
        said = await asyncio.gather(
            *(link.command("ECHO", number) for number in range(1_000)),
            link.command("LPUSH", "name", "other"),
            return_exceptions=True,
        )

    assert said[:-1] == [str(number).encode() for number in range(1_000)]
    assert isinstance(said[-1], RedisSilentError)
    assert redis_server.reads - before < 50


async def test_script_is_told_again_where_redis_forgot_it(redis_server: RedisServer, clock: LeapingClock) -> None:
    """As it does when it is started anew."""
    script = Script("return {KEYS[1], ARGV[1]}")
    async with open_link(redis_server.url, clock=clock, patience_s=LONG_S) as link:
        said = [await link.script(script, ["key"], number) for number in (1, 2)]
        told = redis_server.calls("eval")
        with redis_server.client() as client:
            client.script_flush()
        said += [await link.script(script, ["key"], 3)]

    assert (said, told) == ([[b"key", b"1"], [b"key", b"2"], [b"key", b"3"]], 1)


async def test_caller_who_leaves_keeps_nobody_from_an_answer(redis_server: RedisServer, clock: LeapingClock) -> None:
    """The others of the same batch are answered."""
    async with open_link(redis_server.url, clock=clock, patience_s=LONG_S) as link:
        left = asyncio.create_task(link.command("ECHO", "left"))
        stays = asyncio.create_task(link.command("ECHO", "stays"))
        await asyncio.sleep(0)
        left.cancel()
        said = await asyncio.gather(left, stays, return_exceptions=True)

    assert isinstance(said[0], asyncio.CancelledError)
    assert said[1] == b"stays"


@pytest.mark.parametrize("kind", ["full", "wrong type"])
async def test_refused_question_says_nothing_against_redis(
    redis_server: RedisServer, clock: LeapingClock, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """Whoever asked goes on without it, and everybody else still asks; it is logged once."""
    async with open_link(redis_server.url, clock=clock, patience_s=LONG_S) as link:
        await link.command("SET", "name", "value")
        if kind == "full":
            await link.command("CONFIG", "SET", "maxmemory", 1)
        for _ in range(2):
            with pytest.raises(RedisSilentError):
                await link.command("LPUSH", "name", "other")
        answer = await link.command("GET", "name")

    assert answer == b"value"
    assert (link.state.is_open, link.state.openings, link.state.failures, link.state.trouble) == (False, 0, 2, None)
    assert [record.message for record in caplog.records if "refused a question" in record.message][1:] == []
    assert "refused a question" in caplog.text


@pytest.mark.parametrize("stale", ["yes", "no"])
async def test_replica_is_left_alone(redis_server: RedisServer, clock: LeapingClock, stale: str) -> None:
    """It takes no writes, and one that is cut off from its master no questions."""
    async with open_link(redis_server.url, clock=clock, patience_s=LONG_S) as link:
        await link.command("CONFIG", "SET", "replica-serve-stale-data", stale)
        await link.command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(RedisSilentError):
            await link.command("SET", "name", "value")

    assert (link.state.is_open, link.state.openings) == (True, 1)


async def test_redis_that_still_reads_its_file_is_left_alone(redis_server: RedisServer, clock: LeapingClock) -> None:
    """It says so to every question, for as long as that takes."""
    with redis_server.client() as client:
        client.mset({str(number): random.randbytes(2_000) for number in range(6_000)})  # the file is compressed
        client.save()
    redis_server.kill()
    redis_server.start("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")
    async with open_link(redis_server.url, clock=clock, patience_s=LONG_S) as link:
        with pytest.raises(RedisSilentError):
            await link.command("GET", "name")

    assert link.state.trouble == "Redis does not answer (BusyLoadingError): each process goes on alone"


async def test_silence_is_counted_and_dated(redis_server: RedisServer, link: RedisLink, clock: LeapingClock) -> None:
    """One opening and one failure; those who come after are turned away; the next probe ends it."""
    redis_server.kill()
    before = clock.now()
    for _ in range(3):
        with pytest.raises(RedisSilentError):
            await link.command("GET", "name")
    silent = link.state
    redis_server.start()
    clock.leap(REST_S)
    back = await link.check()

    assert (silent.is_open, silent.openings, silent.failures, silent.refusals) == (True, 1, 1, 2)
    assert silent.since >= before
    assert (back, link.state.is_open, link.state.openings) == (None, False, 1)
    assert link.state.since > silent.since


async def test_redis_that_is_slow_is_left_alone_until_it_is_not(redis_server: RedisServer, clock: LeapingClock) -> None:
    """Answers that come, but late, cost every request several waits: after a few of them nobody asks."""
    async with (
        DelayingProxy(redis_server.port) as proxy,
        open_link(f"redis://127.0.0.1:{proxy.port}/0", clock=clock, patience_s=1.0) as link,
    ):
        assert await link.check() is None
        proxy.delay_s = 0.25
        asked = 0
        while not link.state.is_open and asked < 20:
            await link.check()
            asked += 1
        slow = link.state
        clock.leap(REST_S)
        still = await link.check()
        proxy.delay_s = 0.0
        clock.leap(REST_S)
        back = await link.check()

    assert 1 < asked < 20
    assert slow.trouble == still == "Redis is slow: each process goes on alone"
    assert back is None


async def test_without_a_url_there_is_no_link(clock: LeapingClock) -> None:
    """And nothing is opened."""
    async with open_redis_link(None, clock=clock) as link:
        assert link is None
