"""The one place that knows Prometheus's library: families of series, figures read when somebody asks, and their text.

Several processes count in files of a directory of theirs, and each of them answers for all.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

PREFIX = "feedback_gateway_"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)
"""Seconds."""

Reading = Callable[[], float | Mapping[str, float]]
Over = Literal["sum", "max", "min"]
MODES: Mapping[Over, Literal["livesum", "livemax", "livemin"]] = {"sum": "livesum", "max": "livemax", "min": "livemin"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Something to be read at the moment when it is asked for.

    `read` gives its value, or one for each value of `label`, which are few. `grows` tells a count, of which processes
    that are gone keep their part; of others `over` says what several processes come to together.
    """

    name: str
    about: str
    read: Reading
    label: str | None = None
    grows: bool = False
    over: Over = "sum"


class Registry:
    """The series of one process. With a `directory` it shares them with the other processes that have it."""

    def __init__(self, directory: Path | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._own = CollectorRegistry()
        self._directory = directory
        self._figures: dict[str, Figure] = {}
        self._gauges: dict[str, Gauge] = {}
        self._counters: dict[str, Counter] = {}
        self._last: dict[tuple[str, str], float] = {}
        self.add(own_figures())

    def counter(self, name: str, about: str, *labels: str) -> Counter:
        """A count, named `NAME_total`."""
        return Counter(PREFIX + name, about, labels, registry=self._own)

    def histogram(self, name: str, about: str, *labels: str) -> Histogram:
        """Seconds, in buckets of 1 ms to a minute."""
        return Histogram(PREFIX + name, about, labels, registry=self._own, buckets=BUCKETS)

    def add(self, figures: Iterable[Figure]) -> None:
        """Read these too; of two with one name the later one is read."""
        for figure in figures:
            if figure.name not in self._figures:
                labels = [] if figure.label is None else [figure.label]
                if figure.grows:
                    self._counters[figure.name] = Counter(figure.name, figure.about, labels, registry=self._own)
                else:
                    self._gauges[figure.name] = Gauge(
                        figure.name, figure.about, labels, registry=self._own, multiprocess_mode=MODES[figure.over]
                    )
            self._figures[figure.name] = figure

    def refresh(self) -> None:
        """Read every figure."""
        for figure in self._figures.values():
            read = figure.read()
            values = read if isinstance(read, Mapping) else {"": read}
            for key, value in values.items():
                labels = [] if figure.label is None else [key]
                if figure.grows:
                    counter = self._counters[figure.name]
                    last = self._last.get((figure.name, key), 0.0)
                    (counter.labels(*labels) if labels else counter).inc(max(value - last, 0.0))
                    self._last[figure.name, key] = value
                else:
                    gauge = self._gauges[figure.name]
                    (gauge.labels(*labels) if labels else gauge).set(value)

    def expose(self, accept: str) -> tuple[bytes, str]:
        """All series as the media type that `accept` prefers, and that type. Blocks for some milliseconds."""
        registry = self._own
        if self._directory is not None:
            forget_the_dead(self._directory)
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=str(self._directory))  # type: ignore[no-untyped-call]
        encode, media_type = choose_encoder(accept)
        return encode(registry), media_type


def forget_the_dead(directory: Path) -> None:
    """Remove what processes that are gone have left of the present moment; what they counted stays."""
    for file in directory.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):
                file.unlink()
        except PermissionError:
            continue


def own_figures() -> list[Figure]:
    """What the operating system says of this process, under the names that Prometheus's clients share."""
    source = ProcessCollector(registry=None)

    def reading(name: str) -> Reading:
        return lambda: next((one.samples[0].value for one in source.collect() if one.name == name), 0.0)

    names: tuple[tuple[str, str, bool, Over], ...] = (
        ("process_cpu_seconds", "CPU time, user's and system's.", True, "sum"),
        ("process_resident_memory_bytes", "Memory in use.", False, "sum"),
        ("process_virtual_memory_bytes", "Address space.", False, "sum"),
        ("process_open_fds", "Open file descriptors.", False, "sum"),
        ("process_max_fds", "The most that a process may open.", False, "min"),
        ("process_start_time_seconds", "When the first process started, in seconds since 1970.", False, "min"),
    )
    return [
        Figure(name=name, about=about, read=reading(name), grows=grows, over=over) for name, about, grows, over in names
    ]
