"""The embedded default and the command line against their limits: start, latency, thousand items, memory."""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop
from rich.table import Table

from feedback_gateway.embedded.embedders import use_path
from tests.benchmarks import workload
from tests.benchmarks.load import Load, Target, put_load_on
from tests.benchmarks.processes import GATEWAY, WITHOUT_MODEL_FILE, running, seconds_of
from tests.benchmarks.tables import number, ratio, table

ITEMS = 1_000
PATH = f"/v1/{workload.TASK}"


@dataclass(frozen=True, slots=True)
class Limit:
    """Something that must stay under a limit."""

    name: str
    measured: float
    limit: float
    unit: str


@dataclass(frozen=True, slots=True)
class Student:
    """How one start of the gateway with the embedded default went."""

    first_answer_s: float
    one_ms: float
    thousand_s: float
    memory_mib: float
    peak_mib: float


def measure_limits(folder: Path, *, rounds: int) -> Table:
    """Everything that has a limit, as a table."""
    limits = command_line(folder, rounds=rounds)
    if use_path().is_file():
        limits += student_limits("use", GATEWAY, folder, rounds=rounds, memory_mib=350)
    limits += student_limits("wordllama", ("-c", WITHOUT_MODEL_FILE), folder, rounds=rounds, memory_mib=200)
    rows = [
        (one.name, f"{number(one.measured)} {one.unit}", f"{one.limit:g} {one.unit}", ratio(one.measured, one.limit))
        for one in limits
    ]
    return table("Limits", ("", "measured", "limit", "of the limit"), rows)


def student_limits(
    embedder: str, command: Sequence[str], folder: Path, *, rounds: int, memory_mib: float
) -> list[Limit]:
    """The medians of several starts with one embedder."""
    students = [start_student(command, folder, name=f"{embedder}-{index}") for index in range(rounds)]
    first, one, thousand, memory, peak = (
        statistics.median(figures)
        for figures in zip(
            *((each.first_answer_s, each.one_ms, each.thousand_s, each.memory_mib, each.peak_mib) for each in students),
            strict=True,
        )
    )
    return [
        Limit(f"{embedder}: process start to first answer", first, 3.0, "s"),
        Limit(f"{embedder}: one item over HTTP, p50", one, 10.0, "ms"),
        Limit(f"{embedder}: {ITEMS:,} items in one request", thousand, 5.0, "s"),
        Limit(f"{embedder}: memory after that", memory, memory_mib, "MiB"),
        Limit(f"{embedder}: memory, peak", peak, memory_mib, "MiB"),
    ]


def command_line(folder: Path, *, rounds: int) -> list[Limit]:
    """Commands from start to end."""
    rows = folder / "rows.jsonl"
    rows.write_text("".join(f"{json.dumps(item)}\n" for item in workload.sample(ITEMS)), encoding="utf-8")
    classify = (*GATEWAY, "classify", str(rows), "--output")
    helps = [seconds_of(*GATEWAY, "--help", folder=folder) for _ in range(2 * rounds + 1)]
    files = [seconds_of(*classify, str(folder / f"{index}.jsonl"), folder=folder) for index in range(rounds)]
    return [
        Limit("feedback-gateway --help", statistics.median(helps), 0.5, "s"),
        Limit("feedback-gateway demo", seconds_of(*GATEWAY, "demo", folder=folder), 60.0, "s"),
        Limit(f"feedback-gateway classify, {ITEMS:,} rows, with its start", statistics.median(files), 5.0, "s"),
    ]


def start_student(command: Sequence[str], folder: Path, *, name: str) -> Student:
    """Start the gateway without any configuration, and ask it for one item, one by one, and for a thousand."""
    place = folder / name
    place.mkdir()
    with running(*command, "serve", "--port", "0", folder=place) as server:
        one = Target(name, server, PATH, workload.task_call())
        many = Target(name, server, PATH, json.dumps({"items": workload.sample(ITEMS)}).encode())
        load(one, calls=1)
        first_answer_s = time.perf_counter() - server.started
        singles = load(one, calls=100)
        thousand = load(many, calls=1)
        return Student(first_answer_s, singles.p50, thousand.seconds, server.memory_mib, server.peak_mib)


def load(target: Target, *, calls: int) -> Load:
    """One client's calls, one after the other."""
    return uvloop.run(put_load_on(target, calls=calls, clients=1))
