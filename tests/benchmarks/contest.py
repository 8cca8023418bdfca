"""Puts the same load on several gateways in turns, and keeps what each round found. Knows nothing of who they are."""

import http.client
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.benchmarks.generator import Order, generate
from tests.benchmarks.peers import Question, Running
from tests.benchmarks.processes import Server

READY_S = 90.0
POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One run: answers a second, their median and 99th percentile in ms, and the server's CPU time an answer in ms."""

    per_second: float
    p50: float
    p99: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class Load:
    """So many connections, in front of a provider that takes so many ms."""

    clients: int
    delay_ms: int = 0


SINGLE, FULL, SLOW = Load(1), Load(64), Load(64, delay_ms=60)


@dataclass(slots=True)
class Contestant:
    """A server and how it is asked; `fault` says why it takes no part, where it does not."""

    name: str
    gateway: Running | None
    fault: str | None = None
    ready_s: float = 0.0
    idle_mib: float = 0.0
    end_mib: float = 0.0
    rounds: dict[Load, list[Figures]] = field(default_factory=dict)

    def begin(self) -> None:
        """Ask for the first time: tells how long the server took for it since its start, and what it holds then."""
        if self.gateway is None:
            return
        try:
            self.ready_s = first_answer(self.gateway.server, self.gateway.ask(0))
            self.idle_mib = self.gateway.server.memory_mib
        except RuntimeError as error:
            self.fault = str(error)

    def figures(self, load: Load) -> Figures | None:
        """The median of all rounds, figure by figure."""
        rounds = self.rounds.get(load, ())
        if not rounds:
            return None

        def middle(of: Callable[[Figures], float]) -> float:
            return statistics.median(of(one) for one in rounds)

        return Figures(
            per_second=middle(lambda one: one.per_second),
            p50=middle(lambda one: one.p50),
            p99=middle(lambda one: one.p99),
            cpu_ms=middle(lambda one: one.cpu_ms),
        )


def hold(contestants: Sequence[Contestant], loads: Sequence[Load], *, seconds: float, rounds: int) -> None:
    """Rounds in which every contestant has its turn with every load; every second one in the other direction."""
    for turn in range(rounds):
        for load in loads:
            for one in contestants if turn % 2 == 0 else reversed(contestants):
                take_turn(one, load, seconds=seconds)


def take_turn(one: Contestant, load: Load, *, seconds: float) -> None:
    """One run of one contestant, after a tenth of it to warm up."""
    if one.gateway is None or one.fault is not None:
        return
    server, question = one.gateway.server, one.gateway.ask(load.delay_ms)
    try:
        generate(order(server, question, clients=load.clients, seconds=seconds / 10))
        before = server.cpu_ms
        outcome = generate(order(server, question, clients=load.clients, seconds=seconds))
        cpu_ms = (server.cpu_ms - before) / outcome.answers
    except RuntimeError as error:
        one.fault = str(error)
        return
    found = Figures(per_second=outcome.per_second, p50=outcome.p50, p99=outcome.p99, cpu_ms=cpu_ms)
    one.rounds.setdefault(load, []).append(found)
    one.end_mib = server.memory_mib


def order(server: Server, asked: Question, *, clients: int, seconds: float, calls: int = 0) -> Order:
    """A question as the generator wants it."""
    return Order(
        url=server.url,
        path=asked.path,
        body=asked.body,
        headers=asked.headers,
        status=asked.status,
        clients=clients,
        seconds=seconds,
        calls=calls,
    )


def first_answer(server: Server, question: Question) -> float:
    """Seconds from the start of the server's process to its first good answer. Raises RuntimeError where none comes."""
    address = urlsplit(server.url)
    said, ends_at = "nothing", time.perf_counter() + READY_S
    while time.perf_counter() < ends_at:
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=READY_S)
        try:
            headers = {"content-type": "application/json", **question.headers}
            connection.request("POST", question.path, question.body, headers)
            answer = connection.getresponse()
            said = f"{answer.status}: {answer.read()[:300].decode(errors='replace')}"
        except (OSError, http.client.HTTPException) as error:
            said = str(error)
        else:
            if answer.status == question.status:
                return time.perf_counter() - server.started
            if 400 <= answer.status < 500:
                raise RuntimeError(said)
        finally:
            connection.close()
        time.sleep(POLL_S)
    message = f"no good answer within {READY_S:g} s, but {said}"
    raise RuntimeError(message)
