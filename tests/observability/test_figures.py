"""What is read when somebody asks, in one process and in several."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families

from feedback_gateway.observability.figures import Figure, Registry, forget_the_dead
from feedback_gateway.observability.sources import (
    breaker_figures,
    cache_figures,
    count,
    deployment_figures,
    gauge,
)

OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
WORKER = """
import sys
from feedback_gateway.observability.figures import Registry
from feedback_gateway.observability.sources import count, gauge
from feedback_gateway.environment import metrics_directory

registry = Registry(metrics_directory())
registry.add([gauge("waiting", "Rows.", lambda: 2), count("written", "Rows.", lambda: 5)])
registry.counter("calls", "Calls.", "task").labels("classify").inc(3)
registry.histogram("seconds", "Time.").observe(0.004)
registry.refresh()
if sys.argv[1:]:
    print("ready", flush=True)
    sys.stdin.read()
else:
    print(registry.expose("")[0].decode())
"""


class Cache:
    """A cache that tells these counts."""

    hits, misses, stored, evicted, bytes = 3, 2, 2, 1, 4096


@dataclass(frozen=True)
class Deployment:
    """How a deployment stands."""

    name: str
    state: str
    in_flight: int
    cooldowns: int


def values(text: str) -> dict[tuple[str, str], float]:
    """Every sample by its name and its labels' values."""
    return {
        (sample.name.removeprefix("feedback_gateway_"), " ".join(sample.labels.values())): sample.value
        for family in families(text)
        for sample in family.samples
    }


def exposed(registry: Registry) -> dict[tuple[str, str], float]:
    """What somebody reads who asks now."""
    registry.refresh()
    return values(registry.expose("")[0].decode())


def test_figures_are_read_when_somebody_asks() -> None:
    """What grew since the last time is added to a count."""
    waiting, written = [4.0], [10.0]
    registry = Registry()
    registry.add([gauge("waiting", "Rows.", lambda: waiting[0]), count("written", "Rows.", lambda: written[0])])

    first = exposed(registry)
    waiting[0], written[0] = 1.0, 12.0
    second = exposed(registry)

    assert (first["waiting", ""], first["written_total", ""]) == (4, 10)
    assert (second["waiting", ""], second["written_total", ""]) == (1, 12)


def test_later_figure_of_a_name_is_the_one_that_is_read() -> None:
    """An application that is built again reads its own."""
    registry = Registry()
    registry.add([gauge("waiting", "Rows.", lambda: 1)])
    registry.add([gauge("waiting", "Rows.", lambda: 2)])

    assert exposed(registry)["waiting", ""] == 2


def test_cache_cooldowns_and_breakers_are_shown() -> None:
    """Every deployment and part that there is has its series, also while all is well."""
    registry = Registry()
    registry.add(cache_figures(Cache))
    registry.add(deployment_figures(lambda: [Deployment("a", "probing", 1, 2), Deployment("b", "cooling_down", 0, 1)]))
    registry.add(breaker_figures({"redis": lambda: True}))

    shown = exposed(registry)

    counts = [shown[f"cache_{name}_total", ""] for name in ("hits", "misses", "stored", "evicted")]
    assert (counts, shown["cache_bytes", ""]) == ([3, 2, 2, 1], 4096)
    assert (shown["deployment_cooling_down", "a"], shown["deployment_cooling_down", "b"]) == (0, 1)
    assert (shown["deployment_in_flight", "a"], shown["deployment_cooldowns_total", "a"]) == (1, 2)
    assert shown["breaker_open", "redis"] == 1


def test_process_shows_its_memory_and_time() -> None:
    """Under the names that every dashboard knows."""
    shown = exposed(Registry())

    assert shown["process_resident_memory_bytes", ""] > 1_000_000
    assert shown["process_cpu_seconds_total", ""] > 0
    assert 0 < shown["process_open_fds", ""] < shown["process_max_fds", ""]


def test_both_formats_are_spoken() -> None:
    """OpenMetrics to whoever asks for it, Prometheus's text to everybody else; each is read by its own parser."""
    registry = Registry()
    registry.counter("calls", "Calls.", "task").labels("classify").inc()

    plain, plain_type = registry.expose("text/html, */*")
    opened, opened_type = registry.expose(OPEN_METRICS)

    assert plain_type.startswith("text/plain; version=")
    assert opened_type.startswith("application/openmetrics-text; version=1.0.0")
    assert "feedback_gateway_calls" in [family.name for family in open_families(opened.decode())]  # type: ignore[no-untyped-call]
    assert values(plain.decode())["calls_total", "classify"] == 1


def test_registries_share_nothing() -> None:
    """Two gateways in one process count apart, and nothing is in the library's own registry."""
    one, other = Registry(), Registry()
    one.counter("calls", "Calls.").inc()
    other.counter("calls", "Calls.")

    assert exposed(one)["calls_total", ""] == 1
    assert exposed(other)["calls_total", ""] == 0


def worker(directory: Path, *arguments: str) -> "subprocess.Popen[str]":
    """A process that counts in `directory`; with an argument it stays until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(directory)},
    )


def test_each_process_answers_for_all(tmp_path: Path) -> None:
    """What a process counted stays when it ends, what it was doing does not."""
    with worker(tmp_path, "stay") as other:
        assert other.stdout is not None
        other.stdout.readline()
        together, _ = worker(tmp_path).communicate(timeout=60)
        other.communicate("", timeout=60)
    alone, _ = worker(tmp_path).communicate(timeout=60)

    first, second = values(together), values(alone)
    assert (first["calls_total", "classify"], second["calls_total", "classify"]) == (6, 9)
    assert (first["written_total", ""], second["written_total", ""]) == (10, 15)
    assert (first["waiting", ""], second["waiting", ""]) == (4, 2)
    assert (first["seconds_bucket", "0.005"], second["seconds_count", ""]) == (2, 3)
    assert first["process_resident_memory_bytes", ""] > second["process_resident_memory_bytes", ""]


def test_only_the_present_of_the_dead_is_forgotten(tmp_path: Path) -> None:
    """Files of processes that live, and counts of all, are left alone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    for name in (f"gauge_livesum_{gone.pid}", f"gauge_livemax_{os.getpid()}", f"counter_{gone.pid}"):
        (tmp_path / f"{name}.db").touch()

    forget_the_dead(tmp_path)

    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        [f"counter_{gone.pid}.db", f"gauge_livemax_{os.getpid()}.db"]
    )


def test_labelled_counts_grow_one_by_one() -> None:
    """Each value of the label has a count of its own."""
    registry = Registry()
    seen = {"a": 1.0, "b": 2.0}
    registry.add([Figure(name="feedback_gateway_seen", about="Seen.", read=lambda: seen, label="what", grows=True)])

    exposed(registry)
    seen["b"] = 5.0
    shown = exposed(registry)

    assert (shown["seen_total", "a"], shown["seen_total", "b"]) == (1, 5)
