"""What a stored answer costs: to put and get, its key, and a hit in the service and over HTTP, in memory and in Redis.

Run as `python -m tests.benchmarks.cache`; it starts a Redis and gateways of its own. CPU times are the whole process's,
the writing of the log included.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import uvloop

from feedback_gateway.cache.memory import MemoryStore
from feedback_gateway.cache.models import CacheStore
from feedback_gateway.cache.redis import RedisStore
from feedback_gateway.clock import SystemClock
from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.llm.fingerprints import request_key
from feedback_gateway.redis_link.link import open_link
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import CallOptions
from tests.benchmarks import workload
from tests.benchmarks.load import Load, Target, drive, put_load_on
from tests.benchmarks.processes import GATEWAY, on_cpu, running
from tests.benchmarks.tables import console, number, table
from tests.servers import RedisServer

CALLS, CLIENTS = 2_000, 32
ENTRY_BYTES = 2_000
PATIENCE_S = 10.0
OPTIONS = CallOptions()
BODY = json.dumps({"text": workload.text()}).encode()

Rows = list[list[str]]


async def cpu_us(work: Callable[[int], Awaitable[object]], *, calls: int = CALLS) -> tuple[float, float]:
    """Microseconds of CPU of this process a call, and calls a second, `CLIENTS` at a time."""

    async def call(client: int) -> None:
        await work(client)

    before, started = time.process_time(), time.perf_counter()
    await drive(call, calls=calls, clients=CLIENTS)
    return (time.process_time() - before) * 1e6 / calls, calls / (time.perf_counter() - started)


async def measured(name: str, work: Callable[[int], Awaitable[object]], *, calls: int = CALLS) -> list[str]:
    """One row."""
    used, per_second = await cpu_us(work, calls=calls)
    return [name, number(used), number(per_second)]


async def stores(name: str, store: CacheStore) -> Rows:
    """Putting and getting an entry of ENTRY_BYTES."""
    entry = (BODY * (1 + ENTRY_BYTES // len(BODY)))[:ENTRY_BYTES]
    keys = [number.to_bytes(32, "big") for number in range(CALLS)]
    turn = iter(range(10 * CALLS))

    async def put(_: int) -> None:
        await store.put(keys[next(turn) % CALLS], entry, ttl_s=600)

    async def get(_: int) -> None:
        await store.get(keys[next(turn) % CALLS])

    return [await measured(f"put, {name}", put), await measured(f"get, {name}", get)]


async def hits(name: str, services: Services) -> Rows:
    """A hit through the service, for an item that is read, and for a body that is known; with their share of hits.

    A Redis that is too slow for the gateway's patience makes misses, which the last column tells.
    """
    question = {"text": workload.text()}

    async def item(_: int) -> None:
        await services.tasks.run(workload.TASK, question, consumer=LOCAL_CONSUMER, options=OPTIONS)

    async def body(_: int) -> None:
        await services.repeats.answer(workload.TASK, BODY, LOCAL_CONSUMER)

    first = await services.tasks.run(workload.TASK, question, consumer=LOCAL_CONSUMER, options=OPTIONS)
    assert first.repeat is not None
    services.repeats.remember(workload.TASK, BODY, LOCAL_CONSUMER, repeat=first.repeat, page=(b"", b""))
    rows = []
    for what, work, calls in (("item read", item, CALLS // 2), ("body known", body, CALLS)):
        before = services.cache.state.hits
        row = await measured(f"hit in the service, {what}, {name}", work, calls=calls)
        rows.append([*row, f"{(services.cache.state.hits - before) / calls:.0%}"])
    return rows


def settings_in(folder: Path, *, redis_url: str | None) -> Settings:
    """The gateway as it comes, on a database of its own."""
    folder.mkdir()
    given = {"database_url": f"sqlite:///{folder / 'calls.db'}", "redis_url": redis_url}
    return Settings.model_validate({name: value for name, value in given.items() if value is not None})


def over_http(folder: Path, *, redis_url: str | None) -> Load:
    """Hits over HTTP of one worker on one core, this process on the other."""
    folder.mkdir()
    config = folder / "gateway.yaml"
    config.write_text(f"redis_url: {redis_url}\n" if redis_url else "{}\n")
    with ExitStack() as stack:
        with on_cpu(0):
            server = stack.enter_context(
                running(*GATEWAY, "serve", "--port", "0", "--config", str(config), folder=folder)
            )
        target = Target("gateway", server, f"/v1/{workload.TASK}", BODY)
        with on_cpu(1):
            return uvloop.run(warmed(target))


async def warmed(target: Target) -> Load:
    """The load of hits, once everything is warm."""
    await put_load_on(target, calls=1_000, clients=CLIENTS)
    return await put_load_on(target, calls=4 * CALLS, clients=CLIENTS)


async def in_process(folder: Path, redis_url: str) -> Rows:
    """Everything that needs no HTTP."""
    clock, request = SystemClock(), workload.completion_request()

    async def key(_: int) -> None:
        request_key(request, scope="consumer local", answering=b"these")

    memory = MemoryStore(max_bytes=100_000_000, max_entries=100_000, now=clock.monotonic)
    rows = [await measured("key of a request of `classify`", key), *await stores("memory", memory)]
    async with open_link(redis_url, clock=clock, patience_s=PATIENCE_S) as link:
        rows += await stores("Redis", RedisStore(link))
    async with AsyncExitStack() as stack:
        for name, url in (("memory", None), ("Redis", redis_url)):
            settings = settings_in(folder / name, redis_url=url)
            rows += await hits(name, await stack.enter_async_context(open_services(settings)))
    return rows


def main() -> None:
    """Measure and print."""
    out = console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "redis").mkdir()
        server = RedisServer(folder / "redis")
        server.start()
        try:
            rows = asyncio.run(in_process(folder, server.url))
            for where, url in (("memory", None), ("Redis", server.url)):
                load = over_http(folder / f"http-{where}", redis_url=url)
                rows.append([f"hit over HTTP, {where}", number(load.cpu_ms * 1000), number(load.per_second)])
        finally:
            server.kill()
    out.print(table("Stored answers", ["what", "CPU µs", "a second", "hits"], [[*row, ""][:4] for row in rows]))


if __name__ == "__main__":
    main()
