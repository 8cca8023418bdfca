"""`python -m tests.benchmarks.storage`: what a transaction with one row costs, by one process and by four at once.

Both databases are as an operator gets them: SQLite as we open it, PostgreSQL with its own defaults.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import insert

from feedback_gateway.calls.booking import call_row
from feedback_gateway.calls.tables import calls
from feedback_gateway.storage.engine import open_engine, upgrade, writing
from feedback_gateway.storage.liveness import open_liveness
from tests.benchmarks.processes import ROOT, environment
from tests.benchmarks.tables import console, number, table
from tests.llm.calls import new_call
from tests.servers import postgres_server

SECONDS = 4.0
PROCESSES = 4


def work(url: str) -> None:
    """Write row after row once standard input says so; writes how long each took, in ms."""
    engine = open_engine(url)
    with engine.connect():
        sys.stdout.write("ready\n")
        sys.stdout.flush()
    sys.stdin.readline()
    took = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        started = time.perf_counter()
        with writing(engine) as connection:
            connection.execute(insert(calls), call_row(new_call()))
        took.append((time.perf_counter() - started) * 1000)
    sys.stdout.write(" ".join(map(str, took)))
    engine.dispose()


def measure(url: str, processes: int) -> list[float]:
    """The duration of every transaction of `processes` at once, in ms."""
    command = [sys.executable, "-m", "tests.benchmarks.storage", url]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    command, cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(processes)
        ]
        for worker in workers:
            assert worker.stdout
            worker.stdout.readline()
        for worker in workers:
            assert worker.stdin
            worker.stdin.write("go\n")
            worker.stdin.flush()
        return [float(one) for worker in workers for one in worker.communicate()[0].split()]


def signs_of_life(url: str, rounds: int = 300) -> float:
    """How long it takes to ask whether another process is alive, in ms."""
    engine = open_engine(url)
    one, other = open_liveness(engine), open_liveness(engine)
    for each in (one, other):
        each.start()
    started = time.perf_counter()
    alive = [one.is_alive(other.id) for _ in range(rounds)]
    seconds = time.perf_counter() - started
    for each in (one, other):
        each.close()
    engine.dispose()
    assert all(alive)
    return seconds * 1000 / rounds


def rows(name: str, url: str) -> Iterator[list[str]]:
    """The results of one database."""
    engine = open_engine(url)
    upgrade(engine)
    engine.dispose()
    asked = number(signs_of_life(url))
    for processes in (1, PROCESSES):
        took = measure(url, processes)
        tail = statistics.quantiles(took, n=100)[98]
        figures = [statistics.median(took), tail, max(took), len(took) / SECONDS]
        yield [name, str(processes), *map(number, figures), asked]


def main() -> None:
    """Measure both."""
    head = ["database", "processes", "median ms", "p99 ms", "longest ms", "transactions/s", "is_alive ms"]
    with tempfile.TemporaryDirectory() as folder, postgres_server(fast=False) as server:
        found = [*rows("SQLite", f"sqlite:///{Path(folder) / 'bench.db'}"), *rows("PostgreSQL", server.url())]
    console().print(table("One row a transaction", head, found))


if __name__ == "__main__":
    work(sys.argv[1]) if sys.argv[1:] else main()
