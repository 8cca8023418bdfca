"""Processes that share a Redis ask once for what all of them want, and none waits for one that died."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from feedback_gateway.cache.redis import entry_key
from feedback_gateway.calls.models import Call
from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.scripted import answer
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import CallOptions
from tests.api.conftest import MOOD
from tests.servers import RedisServer

pytestmark = pytest.mark.anyio
DEADLINE_S = 60.0
OPTIONS = CallOptions()


def asker(folder: Path, server: RedisServer, *, count: int) -> "subprocess.Popen[str]":
    """A process that asks, with a database of its own."""
    folder.mkdir()
    (folder / "mood.v1.prompt").write_text(MOOD)
    command = [sys.executable, "-m", "tests.llm.asker", str(folder), server.url, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def await_until(condition: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_hundred_identical_calls_of_two_processes_cost_one(redis_server: RedisServer, tmp_path: Path) -> None:
    """All at once: one provider call, 99 hits."""
    askers = [asker(tmp_path / name, redis_server, count=50) for name in ("one", "two")]
    with redis_server.client() as client:
        await_until(lambda: client.get("there") == "2" and client.get("asked") == "1")
        client.set("go", 1)
        hits = [int(one.communicate(timeout=DEADLINE_S)[0]) for one in askers]
        asked = client.get("asked")

    assert (asked, sum(hits)) == ("1", 99)


def test_process_that_is_killed_while_it_asks_strands_nobody(redis_server: RedisServer, tmp_path: Path) -> None:
    """Its lease runs out within seconds, and another process asks in its place."""
    with redis_server.client() as client:
        first = asker(tmp_path / "one", redis_server, count=5)
        await_until(lambda: client.get("asked") == "1")
        second = asker(tmp_path / "two", redis_server, count=5)
        await_until(lambda: client.get("there") == "2")
        first.kill()
        first.communicate()
        killed = time.monotonic()
        await_until(lambda: client.get("asked") == "2")
        waited = time.monotonic() - killed
        client.set("go", 1)
        hits = int(second.communicate(timeout=DEADLINE_S)[0])

    assert hits == 4
    assert waited < 20  # a lease is two seconds; this machine may be busy


class Gated:
    """A provider that answers once its gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()
        self.count = 0

    async def prepare(self) -> None:
        """Nothing to load."""

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Wait, and answer."""
        self.count += 1
        self.asked.set()
        await self.gate.wait()
        return answer('{"mood": "good"}')


@pytest.fixture
def settings(tmp_path: Path, redis_server: RedisServer) -> Settings:
    """A gateway with that Redis."""
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "mood.v1.prompt").write_text(MOOD)
    return Settings.model_validate(
        {
            "model_list": [{"model_name": "default", "litellm_params": {"model": "scripted/one"}}],
            "prompts": folder,
            "database_url": f"sqlite:///{tmp_path / 'calls.db'}",
            "redis_url": redis_server.url,
            "retry": {"attempts": 1, "deadline": "60s"},
        }
    )


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_redis_that_falls_silent_while_many_wait_costs_nobody_their_answer(
    settings: Settings, redis_server: RedisServer, fault: str
) -> None:
    """Those of one process still share one call, and what comes after is asked again."""
    provider = Gated()
    async with open_services(settings, provider=lambda _: provider) as services:

        def ask() -> "asyncio.Task[bool]":
            running = services.tasks.run("mood", {"text": "fine"}, consumer=LOCAL_CONSUMER, options=OPTIONS)

            async def cached() -> bool:
                return (await running).cached

            return asyncio.create_task(cached())

        calls = [ask() for _ in range(20)]
        await provider.asked.wait()
        if fault == "killed":
            redis_server.kill()
        else:
            redis_server.freeze()
        provider.gate.set()
        told = await asyncio.gather(*calls)
        after = await ask()

        if fault == "frozen":
            redis_server.thaw()

    assert told.count(False) <= 2  # one whose look into Redis had no answer by then asks for itself
    assert after is False


@pytest.mark.parametrize("damage", [b"", b"\x01\x80", b"rubbish"])
async def test_damaged_entry_is_asked_for_again_and_replaced(
    settings: Settings, redis_server: RedisServer, damage: bytes
) -> None:
    """Whoever wrote it there."""
    provider = Gated()
    provider.gate.set()
    async with open_services(settings, provider=lambda _: provider) as services:

        async def ask() -> bool:
            found = await services.tasks.run("mood", {"text": "fine"}, consumer=LOCAL_CONSUMER, options=OPTIONS)
            return found.cached

        told = [await ask(), await ask()]
        with redis_server.client() as client:
            [key] = client.keys(entry_key(b"").decode()[:-2] + "*")
            client.set(key, damage)
        told += [await ask(), await ask()]

    assert (told, provider.count) == ([False, True, False, True], 2)
