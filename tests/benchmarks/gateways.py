"""`python -m tests.benchmarks.gateways`: our gateway beside others' in one run, one worker each, before one provider.

The gateways run on the first CPU, the provider and the load on the second. Asserts nothing: a peer that cannot be
installed says so in its row, and a target that is not met says that.
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
from typing import Any

from rich.table import Table

from tests.benchmarks.contest import FULL, SINGLE, SLOW, Contestant, hold, order
from tests.benchmarks.generator import generate
from tests.benchmarks.ours import DIRECT, THROUGH_LITELLM, Gateway, ours
from tests.benchmarks.peers import PATH, Floor, LiteLLM, MissingError, Peer, Portkey, Question, Running, chat_body
from tests.benchmarks.processes import Server, on_cpu, running
from tests.benchmarks.tables import console, number, table
from tests.benchmarks.targets import (
    CHAT,
    IN_MEMORY,
    IN_REDIS,
    LITELLM,
    OURS,
    PORTKEY,
    STRAIGHT,
    TASK,
    THROUGH,
    Found,
    target_table,
)
from tests.servers import RedisServer

PROVIDER = ("-m", "tests.benchmarks.scripted_provider")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long every run takes, how many there are, and how many calls memory is watched over."""

    seconds: float
    rounds: int
    lasting: int


THOROUGH = Effort(seconds=10.0, rounds=2, lasting=100_000)
QUICK = Effort(seconds=2.0, rounds=1, lasting=5_000)


class Contest:
    """Starts every server in a folder and on a CPU of its own; `stack` ends them."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        with on_cpu(1):
            self.provider: Server = stack.enter_context(running(*PROVIDER, folder=folder))

    def peer(self, name: str, peer: Peer) -> Contestant:
        """Somebody else's gateway, or why it cannot take part."""
        try:
            peer.install()
        except MissingError as error:
            return Contestant(name, None, fault=str(error))
        with on_cpu(0):
            started = self._stack.enter_context(peer.run(self._place(name), provider_url=self.provider.url))
        return begun(name, started)

    def straight(self) -> Contestant:
        """The provider without anything in front of it."""

        def ask(delay_ms: int) -> Question:
            return Question(path=f"/{delay_ms}{PATH}", body=chat_body(delay_ms), headers={})

        return begun(STRAIGHT, Running(self.provider, ask))

    def ours(self, name: str, *, params: Mapping[str, Any] = DIRECT, redis_url: str | None = None) -> Gateway:
        """Our gateway."""
        place = self._place(name)
        with on_cpu(0):
            return self._stack.enter_context(
                ours(place, provider_url=self.provider.url, params=params, redis_url=redis_url)
            )

    def redis(self, name: str) -> RedisServer:
        """A Redis that nobody else uses; it answers beside the provider."""
        server = RedisServer(self._place(name))
        with on_cpu(1):
            server.start()
        self._stack.callback(server.kill)
        return server

    def _place(self, name: str) -> Path:
        place = self._folder / "".join(letter for letter in name if letter.isalnum())
        place.mkdir()
        return place


def begun(name: str, gateway: Running) -> Contestant:
    """A contestant that has answered once, or cannot."""
    one = Contestant(name, gateway)
    one.begin()
    return one


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gateways", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: two minutes instead of twenty")
    effort = QUICK if parser.parse_args(arguments).quick else THOROUGH
    out = console()
    out.print(f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} CPUs")
    found = Found()
    for part in (pass_through, cached):
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            out.print(part(Contest(stack, Path(folder)), effort, found))
    out.print(target_table(found))
    for one in found.contestants.values():
        if one.fault is not None:
            out.print(f"{one.name} took no part: {one.fault}")


def pass_through(contest: Contest, effort: Effort, found: Found) -> Table:
    """Every gateway asked for a completion that nobody has an answer to yet, and ours for a task as well."""
    straight = contest.straight()
    peers = [
        contest.peer(LITELLM, LiteLLM()),
        contest.peer(PORTKEY, Portkey()),
        contest.peer("floor: Starlette + aiohttp", Floor()),
    ]
    direct = contest.ours("direct")
    own = [begun(CHAT, Running(direct.server, direct.chat)), begun(TASK, Running(direct.server, direct.classify))]
    adapted = contest.ours("adapted", params=THROUGH_LITELLM)
    own.append(begun(THROUGH, Running(adapted.server, adapted.classify)))
    every = [straight, *peers, *own]
    hold(every, (SINGLE, FULL, SLOW), seconds=effort.seconds, rounds=effort.rounds)
    found.take(every)
    found.growth = growth(direct, calls=effort.lasting)
    head = (
        "",
        "+p50 ms",
        "+p99 ms",
        "req/s",
        "CPU ms",
        "slow: req/s",
        "MiB",
        "at end",
        "ready s",
    )
    rows = [[*beside(one, straight), *footprint(one)] for one in every]
    title = "1 client: time added. 64 clients: requests a second, CPU an answer; then with a provider of 60 ms"
    return table(title, head, rows)


def cached(contest: Contest, effort: Effort, found: Found) -> Table:
    """What costs no provider anything: answers from a cache, and refusals."""
    theirs, mine = contest.redis("theirs"), contest.redis("mine")
    shared = {"type": "redis", "host": "127.0.0.1", "port": theirs.port}
    alone, sharing = contest.ours("alone"), contest.ours("sharing", redis_url=mine.url)
    every = [
        contest.peer(LITELLM + IN_MEMORY, LiteLLM({"type": "local"})),
        contest.peer(LITELLM + IN_REDIS, LiteLLM(shared)),
        begun(OURS + IN_MEMORY, Running(alone.server, alone.hit)),
        begun(OURS + IN_REDIS, Running(sharing.server, sharing.hit)),
        *(begun(f"ours: {status}", Running(alone.server, alone.refused(status))) for status in (401, 402, 429)),
    ]
    hold(every, (SINGLE, FULL), seconds=effort.seconds, rounds=effort.rounds)
    found.take(every)
    rows = [[one.name, *costs(one)] for one in every]
    return table("Without a provider", ("", "p50 ms, 1 client", "p99 ms", "req/s, 64", "CPU ms"), rows)


def growth(gateway: Gateway, *, calls: int) -> float:
    """How much larger the process is after `calls` calls than it was once it was warm: 0.05 for 5 %."""
    asked, clients = gateway.classify(0), FULL.clients
    generate(order(gateway.server, asked, clients=clients, seconds=calls / 50, calls=calls // 5))
    before = gateway.server.memory_mib
    generate(order(gateway.server, asked, clients=clients, seconds=calls / 50, calls=calls))
    return gateway.server.memory_mib / before - 1


def beside(one: Contestant, straight: Contestant) -> list[str]:
    """A contestant's name, and what it costs beside asking the provider itself."""
    single, full, slow = (one.figures(load) for load in (SINGLE, FULL, SLOW))
    floor = straight.figures(SINGLE)
    if single is None or full is None or slow is None or floor is None:
        return [one.name, *["-"] * 5]
    added = ["-", "-"] if one is straight else [number(single.p50 - floor.p50), number(single.p99 - floor.p99)]
    return [one.name, *added, number(full.per_second), number(full.cpu_ms), number(slow.per_second)]


def costs(one: Contestant) -> list[str]:
    """What one answer takes."""
    single, full = one.figures(SINGLE), one.figures(FULL)
    if single is None or full is None:
        return ["-"] * 4
    return [number(single.p50), number(single.p99), number(full.per_second), f"{full.cpu_ms:.3f}"]


def footprint(one: Contestant) -> list[str]:
    """Memory after the first answer and at the end, and the time to that answer."""
    if one.gateway is None or not one.ready_s:
        return ["-"] * 3
    return [number(one.idle_mib), number(one.end_mib), number(one.ready_s)]


if __name__ == "__main__":
    main(sys.argv[1:])
