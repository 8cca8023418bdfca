"""Retention of a whole call log in small batches: how long it takes, how much memory, and whom it keeps waiting.

`python -m tests.benchmarks.retention` runs it alone; `--calls 100000` makes it shorter. Linux only, as it reads /proc.
"""

import argparse
import asyncio
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from rich.table import Table
from sqlalchemy import Engine

from feedback_gateway.calls.models import Call
from feedback_gateway.calls.repository import CallRepository
from feedback_gateway.calls.retention import BATCH_ROWS, Retention
from feedback_gateway.clock import SystemClock
from feedback_gateway.llm.models import Deployment, Usage
from tests.benchmarks.call_log import empty_database, fill, kinds
from tests.benchmarks.tables import console, number, ratio, table

MILLION = 1_000_000
BATCH_CALLS = 10
PAUSE_S = 0.02
QUIET_S = 20.0
DEPLOYMENT = Deployment(alias="default", name="openai/gpt-5-mini", model="openai/gpt-5-mini")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One pass over a log; times of insert transactions in ms, without the pass and during it."""

    bytes_a_call: float
    rows: int
    seconds: float
    growth_mib: float
    quiet_ms: Sequence[float]
    busy_ms: Sequence[float]


def measure_retention(*, count: int) -> Table:
    """One pass on every database, as a table."""
    outcomes = {}
    for kind in kinds():
        with empty_database(kind) as engine:
            fill(engine, calls=count, with_attempts=True)
            outcomes[kind] = asyncio.run(prune(engine, count=count))
    columns = outcomes.values()
    rows = [
        ("a call with its attempt, bytes", *(number(one.bytes_a_call) for one in columns)),
        ("rows deleted, attempts not counted", *(f"{one.rows:,}" for one in columns)),
        ("seconds", *(number(one.seconds) for one in columns)),
        ("growth of the process to its peak, MiB", *(number(one.growth_mib) for one in columns)),
        (f"transaction of {BATCH_CALLS} calls without it: p50, ms", *(number(middle(one.quiet_ms)) for one in columns)),
        ("  during it", *(number(middle(one.busy_ms)) for one in columns)),
        ("  to without", *(ratio(middle(one.busy_ms), middle(one.quiet_ms)) for one in columns)),
        ("transaction without it: p99, ms", *(number(tail(one.quiet_ms)) for one in columns)),
        ("  during it", *(number(tail(one.busy_ms)) for one in columns)),
        ("  to without", *(ratio(tail(one.busy_ms), tail(one.quiet_ms)) for one in columns)),
        ("  longest during it", *(number(max(one.busy_ms)) for one in columns)),
    ]
    return table(f"Retention of {count:,} calls, {BATCH_ROWS:,} rows a transaction", ("", *outcomes), rows)


async def prune(engine: Engine, *, count: int) -> Outcome:
    """Insert for a while; then delete every call that was there, while inserts go on."""
    clock = SystemClock()
    quiet = await inserts_during(engine, clock.sleep(QUIET_S))
    retention = Retention(engine, clock, log=timedelta(days=30), rollups=timedelta(days=100_000))
    size, before, started = bytes_of(engine), resident_mib("VmRSS"), time.perf_counter()
    forget_peak()
    running = asyncio.ensure_future(retention.prune())
    busy = await inserts_during(engine, running)
    return Outcome(
        bytes_a_call=size / count,
        rows=running.result(),
        seconds=time.perf_counter() - started,
        growth_mib=resident_mib("VmHWM") - before,
        quiet_ms=quiet,
        busy_ms=busy,
    )


async def inserts_during(engine: Engine, work: Awaitable[object]) -> list[float]:
    """Add BATCH_CALLS calls every now and then until `work` is done; how long each transaction took, in ms."""
    running = asyncio.ensure_future(work)
    repository, times = CallRepository(engine), []
    while not running.done():
        batch = [new_call() for _ in range(BATCH_CALLS)]
        started = time.perf_counter()
        await asyncio.to_thread(repository.add, batch)
        times.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(PAUSE_S)
    return times


def new_call() -> Call:
    """A call of now, with one attempt that was answered."""
    clock = SystemClock()
    call = Call(
        call_id=clock.new_id(),
        consumer="consumer-1",
        task="classify",
        prompt_version=1,
        model="default",
        created_at=clock.now(),
        started=0.0,
        deadline=0.0,
        attempts_left=1,
    )
    attempt = call.start_attempt(DEPLOYMENT, started_at=call.created_at, purpose="answer")
    attempt.status, attempt.usage = "ok", Usage(uncached_input_tokens=300, output_tokens=50)
    attempt.cost_usd = Decimal("0.0001935")
    return call


def bytes_of(engine: Engine) -> int:
    """What calls and attempts take on disk, indexes included."""
    sizes = {
        "sqlite": "SELECT sum(pgsize) FROM dbstat WHERE name LIKE '%calls%' OR name = 'attempts'",
        "postgresql": "SELECT pg_total_relation_size('calls') + pg_total_relation_size('attempts')",
    }
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(sizes[engine.dialect.name]).scalar_one())


def resident_mib(name: str) -> float:
    """Resident memory of this process, now (VmRSS) or at most (VmHWM)."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


def forget_peak() -> None:
    """Count the peak of this process's memory from now on."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def middle(times: Sequence[float]) -> float:
    """The median."""
    return statistics.median(times)


def tail(times: Sequence[float]) -> float:
    """What one in a hundred exceeds."""
    return statistics.quantiles(times, n=100)[98]


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.retention", description=__doc__)
    parser.add_argument("--calls", type=int, default=MILLION)
    out = console()
    out.print(f"Python {platform.python_version()}")
    out.print(measure_retention(count=parser.parse_args(arguments).calls))


if __name__ == "__main__":
    main(sys.argv[1:])
