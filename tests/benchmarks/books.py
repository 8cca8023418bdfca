"""`python -m tests.benchmarks.books`: what keeping books costs a call: its key, its hold, its rows in the log.

Both databases are as an operator gets them. Rows are those of calls with one attempt, texts and a charge, and of hits.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

import uvloop
from sqlalchemy import Engine, delete

from feedback_gateway.calls.models import Attempt, Call
from feedback_gateway.calls.payloads import payloads_kept
from feedback_gateway.calls.repository import CallRepository
from feedback_gateway.calls.writer import BatchWriter
from feedback_gateway.clock import SystemClock
from feedback_gateway.consumers.callers import Callers
from feedback_gateway.consumers.models import Consumer
from feedback_gateway.consumers.repository import ConsumerRepository
from feedback_gateway.consumers.service import Consumers
from feedback_gateway.ledger.models import Budget, Hold
from feedback_gateway.ledger.repository import LedgerRepository
from feedback_gateway.ledger.service import Ledger
from feedback_gateway.ledger.tables import reservations
from feedback_gateway.llm.models import Usage
from feedback_gateway.redaction.redactor import Redactor
from feedback_gateway.storage.engine import writing
from tests.benchmarks.call_log import empty_database, kinds
from tests.benchmarks.tables import console, number, table

HOLDS = 1_920
UNDER_WAY = 128
ROWS = 20_000
CLIENTS = 64
CLOCK = SystemClock()
BUDGETS = (Budget(limit_usd=Decimal(10**9), period="month"),)
TEXT = "The export to CSV hangs since the last update, and nobody at the desk could tell us why. Please look into it."


def finished(*, hit: bool) -> Call:
    """A call that is over, answered by a provider or from the cache."""
    call = Call(
        call_id=CLOCK.new_id(),
        consumer="team",
        task="classify",
        prompt_version=1,
        model="default",
        created_at=CLOCK.now(),
        started=0.0,
        deadline=30.0,
        attempts_left=3,
        deployment="openai/gpt-5-mini",
        latency_ms=12.3456,
        cached=hit,
    )
    if hit:
        return call
    usage = Usage(uncached_input_tokens=356, cache_read_tokens=256, output_tokens=58)
    call.attempts.append(
        Attempt(
            number=1,
            deployment="openai/gpt-5-mini",
            model="openai/gpt-5-mini",
            purpose="answer",
            started_at=call.created_at,
            status="ok",
            finish_reason="stop",
            latency_ms=11.1,
            usage=usage,
            cost_usd=Decimal("0.0002114"),
        )
    )
    call.inputs, call.result = {"text": TEXT}, {"category": "bug", "reason": TEXT}
    return call


def hold_of(budgets: tuple[Budget, ...]) -> Hold:
    """Money for one call."""
    return Hold(
        call_id=CLOCK.new_id(),
        consumer="team",
        task="classify",
        prompt_version=1,
        model="default",
        created_at=CLOCK.now(),
        owner="bench",
        amount_usd=Decimal("0.004"),
        budgets=budgets,
    )


@dataclass(frozen=True, slots=True)
class Timed:
    """How long each took, in ms; in all, in seconds; and what it cost, in seconds of CPU."""

    took: list[float]
    seconds: float
    cpu: float

    def row(self) -> list[str]:
        """Median, tail, rate and CPU of one."""
        tail = statistics.quantiles(self.took, n=100)[98]
        count = len(self.took)
        return [*map(number, (statistics.median(self.took), tail, count / self.seconds, self.cpu * 1e6 / count))]


async def timed(work: Callable[[], Awaitable[object]], *, clients: int, times: int) -> Timed:
    """Do `work` so many times, by so many at once."""
    took: list[float] = []

    async def client() -> None:
        for _ in range(times // clients):
            started = time.perf_counter()
            await work()
            took.append((time.perf_counter() - started) * 1000)

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client() for _ in range(clients)))
    return Timed(took, time.perf_counter() - started, time.process_time() - cpu)


async def holding(engine: Engine, budgets: tuple[Budget, ...], clients: int) -> Timed:
    """Set money aside, with some calls under way; it is let go between the times measured."""
    ledger = Ledger(LedgerRepository(engine).hold, owner="bench")
    parts = []
    for _ in range(HOLDS // UNDER_WAY):
        parts.append(await timed(lambda: ledger.hold(hold_of(budgets)), clients=clients, times=UNDER_WAY))
        with writing(engine) as connection:
            connection.execute(delete(reservations))
    await ledger.close()
    took = [one for part in parts for one in part.took]
    return Timed(took, sum(part.seconds for part in parts), sum(part.cpu for part in parts))


async def logging_rows(engine: Engine, calls: list[Call], *, payloads: bool) -> tuple[float, float]:
    """Calls a second, and microseconds of CPU for each, from the first `append` until all are stored."""
    keep = payloads_kept("redacted" if payloads else "none", Redactor())
    writer = BatchWriter(CallRepository(engine, payload=keep).add, CLOCK)
    writer.start()
    started, cpu = time.perf_counter(), time.process_time()
    for index, call in enumerate(calls):
        writer.append(call)
        if index % 500 == 0:
            await asyncio.sleep(0)
    await writer.flush()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    await writer.close()
    return len(calls) / seconds, cpu * 1e6 / len(calls)


async def looking_up(engine: Engine) -> tuple[Timed, Timed]:
    """Find out whose a key is: in the database, and as requests do."""
    consumers = Consumers(ConsumerRepository(engine), CLOCK)
    consumers.add(Consumer(name="team", budgets=BUDGETS))
    key = consumers.create_key("team").secret
    callers = Callers(consumers, CLOCK)

    async def in_the_database() -> None:
        consumers.authenticate(key, is_local=False)

    stored = await timed(in_the_database, clients=1, times=HOLDS)
    return stored, await timed(lambda: callers.caller(key, is_local=False), clients=1, times=HOLDS)


def measured(kind: str) -> Iterator[list[str]]:
    """The rows of one database."""
    with empty_database(kind) as engine:
        stored, known = uvloop.run(looking_up(engine))
        yield [kind, "a key, in the database", *stored.row()]
        yield [kind, "a key, as requests ask", *known.row()]
        for clients in (1, CLIENTS):
            for name, budgets in (("no budget", ()), ("a budget", BUDGETS)):
                held = uvloop.run(holding(engine, budgets, clients))
                yield [kind, f"hold, {name}, {clients} at once", *held.row()]
        for name, hit, payloads in (("hits", True, False), ("calls", False, False), ("calls with texts", False, True)):
            calls = [finished(hit=hit) for _ in range(ROWS)]
            rate, cpu = uvloop.run(logging_rows(engine, calls, payloads=payloads))
            yield [kind, f"log, {name}", "", "", number(rate), number(cpu)]


def main() -> None:
    """Measure every database that is here, or the one named."""
    head = ["database", "what", "median ms", "p99 ms", "a second", "CPU us each"]
    found = [row for kind in sys.argv[1:] or kinds() for row in measured(kind)]
    console().print(table("Keeping books", head, found))


if __name__ == "__main__":
    main()
