"""A gateway whose Redis is killed, frozen or slow goes on, hardly slower, and is well again by itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio import to_thread

from tests.faults.asking import call, call_often, is_ready, readiness, until
from tests.faults.gateways import GatewayProcess, gateway_process
from tests.proxies import DelayingProxy
from tests.servers import RedisServer

pytestmark = pytest.mark.anyio

CALLS = 300
BOUND_MS = 100.0
SILENT = "Redis does not answer ("
"""Why is left open: on a busy machine patience may end before a refused connection is heard of."""
FAULTS: dict[str, tuple[Callable[[RedisServer], None], Callable[[RedisServer], None]]] = {
    "killed": (RedisServer.kill, RedisServer.start),
    "frozen": (RedisServer.freeze, RedisServer.thaw),
}


def settings_over(redis_url: str) -> dict[str, Any]:
    """The embedded model behind a rate limit that nobody reaches, so that every call asks Redis."""
    deployment = {"model_name": "default", "litellm_params": {"model": "embedded/student", "rpm": 1_000_000}}
    return {"redis_url": redis_url, "model_list": [deployment]}


@contextmanager
def warm(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    """A client of a gateway that has answered."""
    with httpx.Client(base_url=gateway.url, timeout=60) as client:
        assert call(client).status_code == 200
        until(client, is_ready)
        yield client


@pytest.mark.parametrize("fault", FAULTS)
def test_calls_go_on_without_redis_and_hardly_slower(tmp_path: Path, redis_server: RedisServer, fault: str) -> None:
    """All are answered; the slowest of a hundred waits less than 100 ms more; readiness tells, and is well again."""
    begin, end = FAULTS[fault]
    with gateway_process(tmp_path / "gateway", settings_over(redis_server.url)) as gateway, warm(gateway) as client:
        before = call_often(client, CALLS)
        begin(redis_server)
        during = call_often(client, CALLS)
        trouble = readiness(client)
        end(redis_server)
        until(client, is_ready)
        counted = redis_server.calls("evalsha") + redis_server.calls("eval")
        after = call_often(client, 10)
        counted_after = redis_server.calls("evalsha") + redis_server.calls("eval")
        code = gateway.stop()

    assert {*before.statuses, *during.statuses, *after.statuses} == {200}
    assert during.p99_ms - before.p99_ms < BOUND_MS
    (warning,) = trouble["warnings"]
    assert (trouble["http"], warning[: len(SILENT)]) == (200, SILENT)
    assert counted_after > counted
    assert code == 0
    assert [line for line in gateway.errors.splitlines() if "Redis" not in line] == []


async def test_calls_go_on_over_a_slow_redis(tmp_path: Path, redis_server: RedisServer) -> None:
    """Answers that come 30 ms late are waited for a few times, and then no more."""
    async with DelayingProxy(redis_server.port) as proxy:

        def ask() -> None:
            url = f"redis://127.0.0.1:{proxy.port}/0"
            with gateway_process(tmp_path / "gateway", settings_over(url)) as gateway, warm(gateway) as client:
                before = call_often(client, CALLS)
                proxy.delay_s = 0.03
                during = call_often(client, CALLS)
                trouble = readiness(client)
                proxy.delay_s = 0.0
                until(client, is_ready)

            assert {*before.statuses, *during.statuses} == {200}
            assert during.p99_ms - before.p99_ms < BOUND_MS
            assert len(trouble["warnings"]) == 1

        await to_thread.run_sync(ask)


def test_gateway_starts_without_redis_and_finds_it_later(tmp_path: Path, redis_server: RedisServer) -> None:
    """It is ready, with a warning; nobody restarts it once Redis is there."""
    redis_server.kill()
    with (
        gateway_process(tmp_path / "gateway", settings_over(redis_server.url)) as gateway,
        httpx.Client(base_url=gateway.url, timeout=60) as client,
    ):
        answer = call(client)
        alone = readiness(client)
        redis_server.start()
        until(client, is_ready)

    assert (answer.status_code, alone["http"], len(alone["warnings"])) == (200, 200, 1)
