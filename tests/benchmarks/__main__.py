"""`make bench`: what the gateway costs beside a provider, litellm alone and its limits, measured in one run.

Prints medians and ratios and asserts nothing; fails only where a call does.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from feedback_gateway.settings import load_settings
from tests.benchmarks import workload
from tests.benchmarks.embedded import measure_limits
from tests.benchmarks.floor import PROVIDER_URL
from tests.benchmarks.layers import layers_of, measure_layers
from tests.benchmarks.load import Load, Target, put_load_on, together
from tests.benchmarks.memory import Memory, watch_memory
from tests.benchmarks.processes import GATEWAY, Server, running
from tests.benchmarks.tables import console, number, ratio, table

SERVING = ("-m", "tests.benchmarks.serving")
CLIENTS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured."""

    rounds: int
    single: int
    slow: int
    full: int
    warm_up: int
    lasting: int
    lasting_embedded: int


FULL = Effort(rounds=3, single=200, slow=40, full=500, warm_up=2_000, lasting=20_000, lasting_embedded=2_000)
QUICK = Effort(rounds=1, single=100, slow=40, full=400, warm_up=500, lasting=1_000, lasting_embedded=500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One server's results: one client, one with a slow provider, and `CLIENTS` that it works for without pause."""

    name: str
    single: Load
    slow: Load | None
    full: Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Everything that is compared, side by side."""

    provider: Server
    litellm: Server
    instant: Server
    gateway: Server
    embedded: Server

    def targets(self, *, slow: bool) -> list[Target]:
        """What is asked, of the provider that answers at once or of the one that takes its time."""
        delay = workload.SLOW_MS if slow else 0
        body = workload.task_call(model="slow" if slow else "default")
        path = f"/v1/{workload.TASK}"
        targets = [
            Target("provider", self.provider, f"/{delay}/v1/chat/completions", body),
            Target("litellm", self.litellm, f"/{delay}", body),
            Target("gateway", self.gateway, path, body),
        ]
        if slow:
            return targets
        own = [
            Target("instant", self.instant, path, body),
            Target("embedded", self.embedded, path, body),
        ]
        return targets + own


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round and fewer calls: a minute instead of six")
    effort = QUICK if parser.parse_args(arguments).quick else FULL
    out = console()
    out.print(f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} CPUs")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        out.print(measure_limits(fresh(folder, "limits"), rounds=effort.rounds))
        servers = start(stack, folder)
        uvloop.run(compare(out, servers, folder, effort))


def fresh(folder: Path, name: str) -> Path:
    """A new folder in `folder`, so that every server has a database of its own."""
    made = folder / name
    made.mkdir()
    return made


def start(stack: ExitStack, folder: Path) -> Servers:
    """Start every server; `stack` ends them."""
    provider = stack.enter_context(running(*SERVING, "provider", folder=folder))
    url = {PROVIDER_URL: provider.url}
    config = str(workload.write_config(folder, provider_url=provider.url))
    serve = (*GATEWAY, "serve", "--port", "0")
    return Servers(
        provider=provider,
        litellm=stack.enter_context(running(*SERVING, "litellm", folder=folder, extra=url)),
        instant=stack.enter_context(running(*SERVING, "instant", folder=fresh(folder, "instant"))),
        gateway=stack.enter_context(running(*serve, "--config", config, folder=fresh(folder, "gateway"))),
        embedded=stack.enter_context(running(*serve, folder=fresh(folder, "embedded"))),
    )


async def compare(out: Console, servers: Servers, folder: Path, effort: Effort) -> None:
    """Put load on all servers in turns, and print what it cost and what it left behind."""
    targets = {target.name: target for target in servers.targets(slow=False)}
    gateway, embedded = targets["gateway"], targets["embedded"]
    memories = [
        await watch_memory(gateway, warm_up=effort.warm_up, calls=effort.lasting, clients=CLIENTS),
        await watch_memory(embedded, warm_up=effort.warm_up, calls=effort.lasting_embedded, clients=CLIENTS),
    ]
    out.print(memory_table(memories))
    columns = await measure_columns(servers, effort)
    out.print(overhead_table(columns))
    settings = load_settings(folder / "gateway.yaml").model_copy(
        update={"database_url": f"sqlite:///{fresh(folder, 'layers')}/layers.db"}
    )
    stages = await measure_layers(
        settings,
        provider_url=servers.provider.url,
        servers={"instant": targets["instant"], "gateway": gateway},
        calls=effort.full,
        rounds=effort.rounds,
    )
    out.print(layer_table(stages))


async def measure_columns(servers: Servers, effort: Effort) -> list[Column]:
    """Each kind of load on each server, in rounds that take turns."""
    single: dict[str, list[Load]] = {}
    slow: dict[str, list[Load]] = {}
    full: dict[str, list[Load]] = {}
    for target in servers.targets(slow=False):
        await put_load_on(target, calls=CLIENTS, clients=CLIENTS)
    for _ in range(effort.rounds):
        for target in servers.targets(slow=False):
            single.setdefault(target.name, []).append(await put_load_on(target, calls=effort.single, clients=1))
            full.setdefault(target.name, []).append(await put_load_on(target, calls=effort.full, clients=CLIENTS))
        for target in servers.targets(slow=True):
            slow.setdefault(target.name, []).append(await put_load_on(target, calls=effort.slow, clients=1))
    return [
        Column(
            name=name,
            single=together(loads),
            slow=together(slow[name]) if name in slow else None,
            full=together(full[name]),
        )
        for name, loads in single.items()
    ]


def overhead_table(columns: Sequence[Column]) -> Table:
    """The provider by itself, a bare handler with litellm, the gateway, and it with two other models, side by side.

    `instant` is the gateway with a provider within the process, `embedded` the one with the embedded default.
    """
    floor, bare = columns[0], columns[1]

    def slow(column: Column, what: str) -> str:
        if column.slow is None:
            return "-"
        value = getattr(column.slow, what)
        return number(value) if column is floor else f"{value - getattr(floor.slow, what):+.1f}"

    rows = [
        ("1 client: p50, ms", *(number(one.single.p50) for one in columns)),
        ("  p99, ms", *(number(one.single.p99) for one in columns)),
        ("  added to the provider's p50, ms", *(f"{one.single.p50 - floor.single.p50:+.2f}" for one in columns)),
        (
            f"1 client, provider of {workload.SLOW_MS} ms: added p50, ms",
            *(slow(one, "p50") for one in columns),
        ),
        ("  added p99, ms", *(slow(one, "p99") for one in columns)),
        (f"{CLIENTS} clients: requests a second", *(number(one.full.per_second) for one in columns)),
        ("  to litellm alone", *(ratio(one.full.per_second, bare.full.per_second) for one in columns)),
        ("  CPU a call, ms", *(number(one.full.cpu_ms) for one in columns)),
        ("  to litellm alone", *(ratio(one.full.cpu_ms, bare.full.cpu_ms) for one in columns)),
    ]
    title = "Calls of `classify`: one worker, a provider of 0 ms unless said"
    return table(title, ("", *(column.name for column in columns)), rows)


def layer_table(stages: Mapping[str, float]) -> Table:
    """What each layer costs, their sum, and what was measured otherwise, to hold them against."""
    layers, whole = layers_of(stages), stages["gateway"]
    total = sum(layer.cpu_ms for layer in layers)
    rows = [(layer.name, number(layer.cpu_ms), f"{layer.cpu_ms / total:.0%}") for layer in layers]
    rows += [
        ("sum", number(total), "100%"),
        ("for comparison: litellm alone", number(stages["litellm"]), f"{stages['litellm'] / total:.0%}"),
        ("for comparison: the gateway's process", number(whole), f"{whole / total:.0%}"),
    ]
    return table("CPU time of a call, by layer", ("", "ms", "share"), rows)


def memory_table(memories: Sequence[Memory]) -> Table:
    """What each server holds, in MiB."""
    rows = [
        ("at rest, MiB", *(number(one.at_rest_mib) for one in memories)),
        ("after the first call", *(number(one.first_mib) for one in memories)),
        ("after warm-up", *(f"{number(one.warm_mib)} ({one.warm_up:,} calls)" for one in memories)),
        ("at the end", *(f"{number(one.lasting_mib)} ({one.calls:,} calls)" for one in memories)),
        ("growth after warm-up (limit: +5%)", *(f"{one.growth:+.1%}" for one in memories)),
        ("threads after warm-up, at the end", *(f"{one.warm_threads}, {one.threads}" for one in memories)),
        ("open files after warm-up, at the end", *(f"{one.warm_files}, {one.files}" for one in memories)),
        ("requests a second meanwhile", *(number(one.per_second) for one in memories)),
    ]
    return table("Memory of the process", ("", *(one.name for one in memories)), rows)


if __name__ == "__main__":
    main(sys.argv[1:])
