"""Counting in a real Redis: together while it answers, alone and without waiting while it does not."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from feedback_gateway.errors import ConfigurationError, RateLimited
from feedback_gateway.ratelimits.models import Allowance, Standing
from feedback_gateway.ratelimits.opening import rate_limiter_over
from feedback_gateway.ratelimits.redis import PREFIX, SharedLimiter
from feedback_gateway.redis_link.link import AT_ONCE, PATIENCE_S, REST_S, RedisLink, open_link, ping
from feedback_gateway.redis_link.opening import open_redis_link
from tests.ratelimits.applying import REQUESTS, TOKENS, admitted_of, ask
from tests.ratelimits.conftest import limiter_over
from tests.ratelimits.servers import LeapingClock, SilentServer
from tests.servers import RedisServer

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
PROCESS = """
import asyncio, json, sys
from feedback_gateway.clock import SystemClock
from feedback_gateway.ratelimits.models import Allowance
from feedback_gateway.ratelimits.opening import rate_limiter_over
from feedback_gateway.redis_link.link import open_link
from tests.ratelimits.applying import admitted_of

async def main():
    url, allowance, clock = sys.argv[1], Allowance(**json.loads(sys.argv[2])), SystemClock()
    async with open_link(url, clock=clock, patience_s=10) as link:
        limiter = rate_limiter_over(link, clock=clock)
        assert await link.check() is None
        print("ready", flush=True)
        sys.stdin.readline()
        admitted = await admitted_of(100, limiter, allowance)
        assert await link.check() is None
    print(admitted, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("allowance", "sum_"),
    [({"requests_per_minute": 5}, 5), ({"tokens_per_minute": 1_000}, 10)],
)
def test_two_processes_with_one_redis_admit_the_limit_in_sum(
    redis_server: RedisServer, allowance: dict[str, int], sum_: int
) -> None:
    """A hundred requests of a hundred tokens at once in each: five a minute are five, a thousand tokens are ten."""
    command = [sys.executable, "-c", PROCESS, redis_server.url, json.dumps(allowance)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    admitted = [int(process.communicate(timeout=60)[0]) for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    assert sum(admitted) == sum_


async def test_frozen_redis_holds_up_two_batches_and_the_limit_still_holds(
    redis_server: RedisServer, shared: SharedLimiter, link: RedisLink
) -> None:
    """Of 200 requests at once all wait for the same two batches at most; five are admitted, none fails."""
    await link.check()
    redis_server.freeze()

    admitted = await admitted_of(200, shared, REQUESTS)
    trouble = await link.check()
    redis_server.thaw()

    assert admitted == 5
    assert trouble == "Redis does not answer (TimeoutError): each process goes on alone"
    assert 1 <= link.state.failures <= AT_ONCE


async def test_frozen_redis_is_asked_by_one_probe_at_a_time(clock: LeapingClock) -> None:
    """A server that takes connections and never answers: two at most wait at first, then one every few seconds."""
    server = SilentServer()
    url = await server.start()
    waited = []
    async with open_link(url, clock=clock) as link:
        limiter = limiter_over(link, clock)
        for _ in range(3):
            before = server.connections
            assert await admitted_of(200, limiter, REQUESTS) <= 5
            waited.append(server.connections - before)
            clock.leap(REST_S)
    await server.stop()

    assert 1 <= waited[0] <= AT_ONCE
    assert waited[1:] == [1, 1]


async def test_redis_that_comes_back_counts_again_by_itself(
    redis_server: RedisServer, shared: SharedLimiter, clock: LeapingClock, link: RedisLink
) -> None:
    """The first question after the rest finds out."""
    redis_server.freeze()
    await ask(shared, REQUESTS)
    silent = await link.check()
    redis_server.thaw()
    still = await link.check()
    clock.leap(REST_S)

    back = await link.check()
    before = redis_server.calls("evalsha")
    await ask(shared, REQUESTS, name="somebody else")

    assert silent == still
    assert (silent is None, back) == (False, None)
    assert redis_server.calls("evalsha") > before


async def test_killed_redis_leaves_each_process_with_its_own_use(
    redis_server: RedisServer, shared: SharedLimiter, clock: LeapingClock, link: RedisLink
) -> None:
    """Three of five were admitted before: two are after, and when it is back, empty, it counts anew."""
    before = await admitted_of(3, shared, REQUESTS)
    redis_server.kill()

    during = await admitted_of(100, shared, REQUESTS)
    trouble = await link.check()
    redis_server.start()
    clock.leap(REST_S)
    after = await ask(shared, REQUESTS)

    assert (before, during) == (3, 2)
    assert trouble == "Redis does not answer (ConnectionError): each process goes on alone"
    assert isinstance(after, Standing)
    assert await link.check() is None


async def test_redis_that_is_down_at_the_start_is_used_once_it_is_up(
    redis_server: RedisServer, clock: LeapingClock
) -> None:
    """Nothing refuses to start; the check tells."""
    redis_server.kill()
    async with open_redis_link(redis_server.url, clock=clock) as link:
        assert link is not None
        limiter = rate_limiter_over(link, clock=clock)
        down = await link.check()
        admitted = await admitted_of(100, limiter, REQUESTS)
        redis_server.start()
        clock.leap(REST_S)
        up = await link.check()

    assert down is not None
    assert (admitted, up) == (5, None)


async def test_redis_without_a_free_connection_is_done_without(
    redis_server: RedisServer, shared: SharedLimiter, link: RedisLink
) -> None:
    """A refused connection counts as silence."""
    with redis_server.client() as client:
        client.config_set("maxclients", 1)

        admitted = await admitted_of(100, shared, REQUESTS)

        client.config_set("maxclients", 100)

    assert admitted == 5
    assert (await link.check() or "").startswith("Redis does not answer")


async def test_redis_that_refuses_to_write_is_done_without(
    redis_server: RedisServer, shared: SharedLimiter, link: RedisLink
) -> None:
    """Full memory, a lost disk: this process counts by itself, and Redis is still asked what it does answer."""
    with redis_server.client() as client:
        client.config_set("maxmemory", "1")

    admitted = await admitted_of(100, shared, REQUESTS)

    assert admitted == 5
    assert (await link.check(), link.state.is_open) == (None, False)


async def test_thousands_at_once_are_no_reason_to_do_without_redis(
    redis_server: RedisServer, clock: LeapingClock
) -> None:
    """They queue in this process, for longer than any of them may wait for Redis: that is not Redis being slow."""
    patience_s, requests, admitted, lasted = 0.5, 4_000, 0, 0.0
    allowance = Allowance(requests_per_minute=400, tokens_per_minute=10**9)
    async with open_link(redis_server.url, clock=clock, patience_s=patience_s) as link:
        limiter = limiter_over(link, clock)
        while lasted <= patience_s:
            before, requests = clock.monotonic(), 2 * requests
            admitted += await admitted_of(requests, limiter, allowance)
            lasted = clock.monotonic() - before
        trouble = await link.check()

    assert (admitted, trouble) == (400, None)


async def test_standstill_of_this_process_is_not_the_silence_of_redis(shared: SharedLimiter, link: RedisLink) -> None:
    """The loop is held up for longer than anybody's patience while a question is under way."""
    await link.check()
    question = asyncio.create_task(link.check())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    until = time.monotonic() + 2 * PATIENCE_S
    while time.monotonic() < until:
        pass

    assert await question is None


async def test_change_is_logged_once(
    redis_server: RedisServer, patient: SharedLimiter, clock: LeapingClock, caplog: pytest.LogCaptureFixture
) -> None:
    """One line when it falls silent, one when it answers again, however many asked in between."""
    caplog.set_level(logging.INFO)
    redis_server.kill()
    for _ in range(3):
        await admitted_of(100, patient, REQUESTS)
        clock.leap(REST_S)
    redis_server.start()
    await admitted_of(100, patient, TOKENS)

    told = [record.getMessage() for record in caplog.records if record.name.startswith("feedback_gateway")]
    assert told == [
        "Redis does not answer (ConnectionError): each process goes on alone",
        "Redis answers again: the processes share what they know",
    ]


async def test_what_is_stored_names_nobody_and_expires(redis_server: RedisServer, patient: SharedLimiter) -> None:
    """A digest stands for the name; nothing stays longer than two windows."""
    both = Allowance(requests_per_minute=5, tokens_per_minute=1_000)
    await ask(patient, both, name="jane@example.com")

    with redis_server.client() as client:
        ages = {key: client.ttl(key) for key in client.scan_iter()}

    assert len(ages) == 2
    assert all(key.startswith(f"{PREFIX}:") and "jane" not in key for key in ages)
    assert all(0 < age <= 120 for age in ages.values())


@pytest.fixture
async def guarded(redis_server: RedisServer, clock: LeapingClock) -> AsyncIterator[tuple[RedisServer, RedisLink]]:
    """A Redis with a password, and a link that has a wrong one."""
    redis_server.kill()
    redis_server.start("--requirepass", "right-password")
    url = redis_server.url.replace("redis://", "redis://:wrong-password@")
    async with open_link(url, clock=clock) as link:
        yield redis_server, link


async def test_wrong_password_is_told_without_the_password(
    guarded: tuple[RedisServer, RedisLink], clock: LeapingClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the log nor to whoever checks."""
    server, link = guarded
    url = server.url.replace("redis://", "redis://:wrong-password@")

    admitted = await admitted_of(100, limiter_over(link, clock), REQUESTS)

    assert admitted == 5
    assert await link.check() == "Redis does not answer (AuthenticationError): each process goes on alone"
    assert await ping(url, timeout_s=1) == "AuthenticationError"
    assert "password" not in caplog.text


async def test_ping_tells_whether_redis_answers(redis_server: RedisServer) -> None:
    """And if not, with what kind of failure."""
    up = await ping(redis_server.url, timeout_s=1)
    redis_server.freeze()
    frozen = await ping(redis_server.url, timeout_s=0.05)
    redis_server.thaw()
    redis_server.kill()

    assert (up, frozen, await ping(redis_server.url, timeout_s=1)) == (None, "TimeoutError", "ConnectionError")


async def test_what_is_no_url_of_a_redis_is_not_repeated(clock: LeapingClock) -> None:
    """It may hold a password."""
    with pytest.raises(ConfigurationError) as failure:
        async with open_redis_link("http://:secret@127.0.0.1", clock=clock):
            pass

    assert failure.value.detail == "redis_url: must be redis://…, rediss://… or unix://…"


async def test_refusal_of_redis_is_an_answer(patient: SharedLimiter, patient_link: RedisLink) -> None:
    """It is passed on, and is no reason to count alone."""
    await admitted_of(5, patient, REQUESTS)

    assert isinstance(await ask(patient, REQUESTS), RateLimited)
    assert await patient_link.check() is None


async def test_refusal_of_a_probe_ends_the_counting_alone(
    redis_server: RedisServer, patient: SharedLimiter, clock: LeapingClock, patient_link: RedisLink
) -> None:
    """Whoever refuses, answers."""
    await admitted_of(5, patient, REQUESTS)
    with redis_server.client() as client:
        client.config_set("maxmemory", "1")
        await ask(patient, TOKENS)
        client.config_set("maxmemory", "0")
    clock.leap(REST_S)

    assert isinstance(await ask(patient, REQUESTS), RateLimited)
    assert await patient_link.check() is None
