"""What workers weigh, how they share connections, and what calls take while Redis is sick: prints three tables.

Run as `python -m tests.benchmarks.servers`; it starts gateways and a Redis of its own. Linux only, as it reads /proc.
"""

import re
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from anyio.from_thread import start_blocking_portal

from tests.benchmarks.tables import console, number, table
from tests.faults.asking import Calls, call, call_often, is_ready, until
from tests.faults.gateways import gateway_process
from tests.proxies import DelayingProxy
from tests.servers import RedisServer

WORKERS = 4
CALLS = 500
CLIENTS = 16
LIMITED = {"model_name": "default", "litellm_params": {"model": "embedded/student", "rpm": 1_000_000}}
OPENAI = {"model_name": "default", "litellm_params": {"model": "openai/m", "api_key": "none"}}
OTHER = {"model_name": "default", "litellm_params": {"model": "anthropic/m", "api_key": "none"}}


def children(pid: int) -> list[int]:
    """The processes that a process has forked."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def memory(pid: int) -> tuple[float, float, float]:
    """MiB that are resident, its fair share of what it shares (PSS), and what it has alone."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    kib = {name: int(size) for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    return kib["Rss"] / 1024, kib["Pss"] / 1024, (kib["Private_Clean"] + kib["Private_Dirty"]) / 1024


def cpu_ticks(pid: int) -> int:
    """CPU time of a process, in the kernel's ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def weigh(folder: Path, deployment: dict[str, Any], *, workers: int, rest_s: float) -> tuple[float, list[int]]:
    """MiB: `[worker's PSS, worker's own, ...]` after `rest_s` seconds at rest; and seconds until it was ready."""
    settings = {"model_list": [deployment]}
    started = time.perf_counter()
    with gateway_process(folder, settings, "--workers", str(workers)) as gateway:
        ready_s = time.perf_counter() - started
        time.sleep(rest_s)
        pids = children(gateway.pid) or [gateway.pid]
        found = [memory(pid) for pid in pids]
    means = [sum(column) / len(found) for column in zip(*found, strict=True)]
    return ready_s, [round(mean) for mean in means]


def shares(folder: Path) -> list[float]:
    """Which share of the CPU time each of two workers had, of `CLIENTS` clients with a connection each."""
    with gateway_process(folder, {}, "--workers", "2") as gateway:
        pids = children(gateway.pid)
        before = [cpu_ticks(pid) for pid in pids]

        def ask(_: int) -> Calls:
            with httpx.Client(base_url=gateway.url, timeout=60) as client:
                return call_often(client, CALLS // 5)

        with ThreadPoolExecutor(CLIENTS) as threads:
            list(threads.map(ask, range(CLIENTS)))
        used = [cpu_ticks(pid) - ticks for pid, ticks in zip(pids, before, strict=True)]
    return [ticks / sum(used) for ticks in used]


def sick(folder: Path) -> list[list[str]]:
    """One row for each state of Redis: what a call takes."""
    server = RedisServer(folder)
    server.start()
    proxy = DelayingProxy(server.port)
    found = []

    def slow() -> None:
        proxy.delay_s = 0.03

    def quick() -> None:
        proxy.delay_s = 0.0

    states: list[tuple[str, Callable[[], None], Callable[[], None]]] = [
        ("well", lambda: None, lambda: None),
        ("killed", server.kill, server.start),
        ("frozen", server.freeze, server.thaw),
        ("30 ms late", slow, quick),
    ]
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(proxy):
        settings = {"redis_url": f"redis://127.0.0.1:{proxy.port}/0", "model_list": [LIMITED]}
        with (
            gateway_process(folder / "gateway", settings) as gateway,
            httpx.Client(base_url=gateway.url, timeout=60) as client,
        ):
            call(client)
            call_often(client, CALLS)
            for name, begin, end in states:
                until(client, is_ready)
                begin()
                calls = call_often(client, CALLS)
                end()
                failed = sum(status != 200 for status in calls.statuses)
                found.append([name, number(calls.p50_ms), number(calls.p99_ms), str(failed)])
    server.kill()
    return found


def main() -> None:
    """Measure and print."""
    out = console()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows = []
        for name, deployment in (("embedded", LIMITED), ("OpenAI's protocol", OPENAI), ("through litellm", OTHER)):
            for workers in (1, WORKERS):
                ready_s, found = weigh(folder / f"{name} {workers}", deployment, workers=workers, rest_s=6)
                rows.append([name, str(workers), number(ready_s), *map(str, found)])
        columns = ["deployment", "workers", "ready s", "RSS MiB", "PSS MiB", "own MiB"]
        out.print(table("A worker at rest, on average", columns, rows))
        used = shares(folder / "shares")
        out.print(table(f"{CLIENTS} connections, two workers", ["worker's share"], [[f"{one:.0%}"] for one in used]))
        out.print(table("A call, by the state of Redis", ["Redis", "p50 ms", "p99 ms", "failed"], sick(folder)))


if __name__ == "__main__":
    main()
