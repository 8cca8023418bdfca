"""What is read when somebody asks: queues, cache, cooldowns, Redis; and what each part must tell for that."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Protocol

from feedback_gateway import __version__
from feedback_gateway.observability.figures import PREFIX, Figure, Over


class LogState(Protocol):
    """How the call log is doing: `feedback_gateway.calls.writer.WriterState`."""

    @property
    def waiting(self) -> int:
        """Calls that wait to be written."""
        ...

    @property
    def lag_s(self) -> float:
        """How long the oldest of them has waited, in seconds."""
        ...

    @property
    def written(self) -> int:
        """Calls written since the start."""
        ...

    @property
    def rejected(self) -> int:
        """Calls that the database will never take."""
        ...


class CallsUnderWay(Protocol):
    """What is not over yet: `feedback_gateway.calls.recorder.Recorder`."""

    @property
    def open(self) -> int:
        """Calls that their callers wait for."""
        ...

    @property
    def settling(self) -> int:
        """Calls over for their callers, but not yet for a provider."""
        ...

    @property
    def reserved_usd(self) -> Decimal:
        """The money that all of these have set aside."""
        ...


class CacheCounts(Protocol):
    """What the cache counted since the start, and holds in this process."""

    @property
    def hits(self) -> int:
        """Answers that were found."""
        ...

    @property
    def misses(self) -> int:
        """Answers that were looked for in vain."""
        ...

    @property
    def stored(self) -> int:
        """Answers that were put in."""
        ...

    @property
    def evicted(self) -> int:
        """Answers that had to go for others."""
        ...

    @property
    def bytes(self) -> int:
        """What is in it, in this process."""
        ...


class DeploymentReport(Protocol):
    """How a deployment stands: `feedback_gateway.llm.health_watch.Report`."""

    @property
    def name(self) -> str:
        """Which one."""
        ...

    @property
    def state(self) -> str:
        """`cooling_down`, or something better."""
        ...

    @property
    def in_flight(self) -> int:
        """Attempts under way in this process."""
        ...

    @property
    def cooldowns(self) -> int:
        """How often it was found to fail, here, since the start."""
        ...


class Cache(Protocol):
    """The cache of answers."""

    @property
    def state(self) -> CacheCounts:
        """How it is doing."""
        ...


class Writer(Protocol):
    """Whoever writes the call log."""

    @property
    def state(self) -> LogState:
        """How it is doing."""
        ...


class LinkState(Protocol):
    """What is known of a part without asking it."""

    @property
    def is_open(self) -> bool:
        """Whether it is left alone, because it does not answer."""
        ...


class Link(Protocol):
    """The way to a part that may not answer, such as Redis."""

    @property
    def state(self) -> LinkState:
        """What is known of it."""
        ...


class Books(Protocol):
    """What is kept in the database, as far as it is shown."""

    @property
    def writer(self) -> Writer:
        """Whoever writes the call log."""
        ...

    @property
    def recorder(self) -> CallsUnderWay:
        """Whoever knows the calls that are not over."""
        ...


class Health(Protocol):
    """How all deployments stand."""

    def reports(self) -> Iterable[DeploymentReport]:
        """One for each."""
        ...


def figures_of(books: Books, *, health: Health, cache: Cache, redis: Link | None) -> list[Figure]:
    """The figures of the parts that every gateway has."""
    found = [
        *log_figures(lambda: books.writer.state),
        *call_figures(books.recorder),
        *deployment_figures(health.reports),
        *cache_figures(lambda: cache.state),
    ]
    return found if redis is None else [*found, *breaker_figures({"redis": lambda: redis.state.is_open})]


def log_figures(state: Callable[[], LogState]) -> list[Figure]:
    """The queue of the call log."""
    return [
        gauge("call_log_waiting", "Finished calls that wait to be written.", lambda: state().waiting),
        gauge("call_log_lag_seconds", "How long the oldest of them has waited.", lambda: state().lag_s, over="max"),
        count("call_log_written", "Calls written to the log.", lambda: state().written),
        count("call_log_rejected", "Calls that the database refused for good.", lambda: state().rejected),
    ]


def call_figures(calls: CallsUnderWay) -> list[Figure]:
    """Calls under way and what they hold."""
    return [
        gauge("calls_open", "Calls that somebody waits for.", lambda: calls.open),
        gauge("calls_settling", "Calls over for their callers, but not for a provider.", lambda: calls.settling),
        gauge("reserved_usd", "Money set aside for calls under way.", lambda: float(calls.reserved_usd)),
    ]


def cache_figures(counts: Callable[[], CacheCounts]) -> list[Figure]:
    """The cache of answers."""
    return [
        count("cache_hits", "Answers found in the cache.", lambda: counts().hits),
        count("cache_misses", "Answers looked for in the cache in vain.", lambda: counts().misses),
        count("cache_stored", "Answers put into the cache.", lambda: counts().stored),
        count("cache_evicted", "Answers that made room for others.", lambda: counts().evicted),
        gauge("cache_bytes", "Size of the cache in the processes.", lambda: counts().bytes),
    ]


def deployment_figures(reports: Callable[[], Iterable[DeploymentReport]]) -> list[Figure]:
    """How deployments stand, by name."""
    cooling = "1 while a deployment is left alone for its failures."
    return [
        Figure(
            name=f"{PREFIX}deployment_cooling_down",
            about=cooling,
            read=lambda: {one.name: float(one.state == "cooling_down") for one in reports()},
            label="deployment",
            over="max",
        ),
        Figure(
            name=f"{PREFIX}deployment_in_flight",
            about="Requests that a deployment has not answered yet.",
            read=lambda: {one.name: one.in_flight for one in reports()},
            label="deployment",
        ),
        Figure(
            name=f"{PREFIX}deployment_cooldowns",
            about="How often a deployment was found to fail.",
            read=lambda: {one.name: one.cooldowns for one in reports()},
            label="deployment",
            grows=True,
        ),
    ]


def breaker_figures(breakers: Mapping[str, Callable[[], bool]]) -> list[Figure]:
    """Which parts are left alone because they do not answer, by part."""

    def read() -> Mapping[str, float]:
        return {part: float(is_open()) for part, is_open in breakers.items()}

    return [
        Figure(
            name=f"{PREFIX}breaker_open", about="1 while a part does not answer.", read=read, label="part", over="max"
        )
    ]


def request_figures(in_flight: Callable[[], int]) -> list[Figure]:
    """Requests that are being served."""
    return [gauge("http_requests_in_flight", "Requests being served.", in_flight)]


def build_figures() -> list[Figure]:
    """What runs."""
    about = "Always 1; its label is the version."
    return [
        Figure(name=f"{PREFIX}build_info", about=about, read=lambda: {__version__: 1.0}, label="version", over="max")
    ]


def gauge(name: str, about: str, read: Callable[[], float], *, over: Over = "sum") -> Figure:
    """A figure that goes up and down."""
    return Figure(name=PREFIX + name, about=about, read=read, over=over)


def count(name: str, about: str, read: Callable[[], float]) -> Figure:
    """A figure that only grows."""
    return Figure(name=PREFIX + name, about=about, read=read, grows=True)
