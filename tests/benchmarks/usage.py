"""The usage report, and the GROUP BY over all calls that it replaces, side by side on each database.

`python -m tests.benchmarks.usage` runs it alone; `--calls 100000` makes it shorter.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rich.table import Table
from sqlalchemy import Engine, Select, case, func, select

from feedback_gateway.calls.reports import Grouping, UsageReport
from feedback_gateway.calls.tables import calls
from feedback_gateway.storage.columns import ExactSum, UtcDay
from tests.benchmarks.call_log import SPAN, START, empty_database, fill, kinds
from tests.benchmarks.tables import console, number, ratio, table

MILLION = 1_000_000
ROUNDS, RAW_ROUNDS = 20, 2
BY: tuple[tuple[Grouping, ...], ...] = (
    (),
    ("consumer",),
    ("task",),
    ("model",),
    ("day",),
    ("consumer", "task", "model"),
    ("consumer", "task", "model", "day"),
)
SINCE = START + timedelta(days=1, hours=0, minutes=20)
UNTIL = START + SPAN - timedelta(days=1, minutes=29)


@dataclass(frozen=True, slots=True)
class Question:
    """One report."""

    group_by: tuple[Grouping, ...]
    since: datetime | None = None
    until: datetime | None = None

    @property
    def name(self) -> str:
        """In words."""
        return f"{' x '.join(self.group_by) or 'all'}{', 28 days, cut hours' if self.since else ''}"

    def raw(self) -> Select[Any]:
        """The same from the calls."""
        columns = {"consumer": calls.c.consumer, "task": calls.c.task, "model": calls.c.model}
        keys = [UtcDay(calls.c.created_at) if name == "day" else columns[name] for name in self.group_by]
        tokens = [func.sum(column) for column in (calls.c.input_tokens, calls.c.output_tokens)]
        flags = [func.sum(case((flag, 1), else_=0)) for flag in (calls.c.cached, calls.c.cost_usd.is_(None))]
        money = [ExactSum(calls.c.cost_usd), ExactSum(calls.c.saved_usd)]
        query = select(*keys, func.count(), *tokens, *flags, *money).group_by(*keys)
        if self.since is not None and self.until is not None:
            query = query.where(calls.c.created_at >= self.since, calls.c.created_at < self.until)
        return query


def measure_usage(*, count: int) -> Table:
    """Every question on every database, as a table."""
    questions = [Question(by, *ends) for ends in ((), (SINCE, UNTIL)) for by in BY]
    head, cells = [""], {question: [question.name] for question in questions}
    for kind in kinds():
        head += [kind, "max", "raw", "raw/report"]
        with empty_database(kind) as engine:
            fill(engine, calls=count, with_attempts=False)
            for question in questions:
                cells[question] += compared(engine, question)
    title = f"Usage of {count:,} calls in 30 days: p50 and longest of {ROUNDS} reports, p50 of {RAW_ROUNDS} raw, ms"
    return table(title, head, cells.values())


def compared(engine: Engine, question: Question) -> list[str]:
    """What one question takes by the report, and from the calls."""
    report = UsageReport(engine)

    def ask() -> None:
        report.usage(question.group_by, since=question.since, until=question.until)

    def ask_calls() -> None:
        with engine.connect() as connection:
            connection.execute(question.raw()).all()

    ask()
    own, raw = times_ms(ask, ROUNDS), times_ms(ask_calls, RAW_ROUNDS)
    middle, beside = statistics.median(own), statistics.median(raw)
    return [number(middle), number(max(own)), number(beside), ratio(beside, middle)]


def times_ms(ask: Callable[[], None], rounds: int) -> list[float]:
    """How long each of `rounds` takes."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        ask()
        times.append((time.perf_counter() - started) * 1000)
    return times


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.usage", description=__doc__)
    parser.add_argument("--calls", type=int, default=MILLION)
    out = console()
    out.print(f"Python {platform.python_version()}")
    out.print(measure_usage(count=parser.parse_args(arguments).calls))


if __name__ == "__main__":
    main(sys.argv[1:])
