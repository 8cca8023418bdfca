"""Our figures held against what was promised, as ratios to those of others in the same run."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.table import Table

from tests.benchmarks.contest import FULL, SINGLE, SLOW, Contestant, Figures, Load
from tests.benchmarks.tables import number, table

LITELLM, PORTKEY, STRAIGHT = "LiteLLM proxy", "Portkey gateway", "no gateway"
CHAT, TASK, THROUGH = "ours: pass-through", "ours: classify, no cache", "ours: classify through litellm"
OURS, IN_MEMORY, IN_REDIS = "ours", ", hit in memory", ", hit in Redis"


@dataclass(slots=True)
class Found:
    """Everything that was measured."""

    contestants: dict[str, Contestant] = field(default_factory=dict)
    growth: float | None = None

    def take(self, contestants: Iterable[Contestant]) -> None:
        """Keep what a part has found."""
        self.contestants |= {one.name: one for one in contestants}

    def figures(self, name: str, load: Load) -> Figures | None:
        """How one fared, None where it took no part."""
        one = self.contestants.get(name)
        return None if one is None else one.figures(load)


@dataclass(frozen=True, slots=True)
class Target:
    """Something promised: at least, or at most, so much; `measured` is None where nobody could tell."""

    name: str
    measured: float | None
    bound: float
    unit: str
    at_least: bool = True

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.measured is None:
            return "not measured"
        is_met = self.measured >= self.bound if self.at_least else self.measured <= self.bound
        return "met" if is_met else "NOT MET"


def targets(found: Found) -> list[Target]:
    """Every promise."""
    return [
        Target("pass-through: requests/s to LiteLLM's", speed(found, CHAT, LITELLM), 20, "x"),
        Target("pass-through: requests/s to Portkey's", speed(found, CHAT, PORTKEY), 1.7, "x"),
        Target("pass-through: added p50, 1 client", added(found, CHAT, "p50"), 0.8, "ms", at_least=False),
        Target("pass-through: added p99, 1 client", added(found, CHAT, "p99"), 3.0, "ms", at_least=False),
        Target("pass-through: share of the physical cap, 60 ms", share(found, CHAT), 88, "%"),
        Target("classify, no cache: requests/s to LiteLLM's pass-through", speed(found, TASK, LITELLM), 12, "x"),
        Target("classify, no cache: CPU", cpu(found, TASK), 1.0, "ms", at_least=False),
        Target("hit in memory: requests/s to LiteLLM's", speed(found, OURS + IN_MEMORY, LITELLM + IN_MEMORY), 40, "x"),
        Target("hit in Redis: requests/s to LiteLLM's", speed(found, OURS + IN_REDIS, LITELLM + IN_REDIS), 30, "x"),
        *(
            Target(
                f"refusal {status}: CPU to a hit's",
                ratio_of_cpu(found, f"ours: {status}", OURS + IN_MEMORY),
                1.0,
                "x",
                at_least=False,
            )
            for status in (401, 402, 429)
        ),
        Target("through litellm: requests/s to LiteLLM's", speed(found, THROUGH, LITELLM), 2.5, "x"),
        Target("memory after the first answer, litellm not loaded", memory(found, CHAT), 80, "MiB", at_least=False),
        Target("memory after the first answer, litellm loaded", memory(found, THROUGH), 250, "MiB", at_least=False),
        Target("ready to a first good answer", ready(found, CHAT), 1.0, "s", at_least=False),
        Target("growth over the calls at the end", percent(found.growth), 5.0, "%", at_least=False),
    ]


def target_table(found: Found) -> Table:
    """All of them, met or not."""
    rows = [
        (
            one.name,
            "-" if one.measured is None else f"{number(one.measured)} {one.unit}",
            f"{'>=' if one.at_least else '<='} {one.bound:g} {one.unit}",
            one.verdict,
        )
        for one in targets(found)
    ]
    return table("Targets", ("", "measured", "target", ""), rows)


def speed(found: Found, ours: str, theirs: str) -> float | None:
    """How many times their requests a second ours are, 64 at once."""
    own, other = found.figures(ours, FULL), found.figures(theirs, FULL)
    return None if own is None or other is None else own.per_second / other.per_second


def ratio_of_cpu(found: Found, one: str, other: str) -> float | None:
    """How many times the other's CPU time one takes."""
    first, second = cpu(found, one), cpu(found, other)
    return None if first is None or second is None else first / second


def cpu(found: Found, name: str) -> float | None:
    """CPU time an answer in ms, 64 at once."""
    own = found.figures(name, FULL)
    return None if own is None else own.cpu_ms


def added(found: Found, name: str, what: str) -> float | None:
    """What stands between a client and its provider, in ms."""
    own, floor = found.figures(name, SINGLE), found.figures(STRAIGHT, SINGLE)
    return None if own is None or floor is None else float(getattr(own, what) - getattr(floor, what))


def share(found: Found, name: str) -> float | None:
    """Requests a second with a slow provider, as a percentage of what so many connections can do at most."""
    own = found.figures(name, SLOW)
    return None if own is None else own.per_second * SLOW.delay_ms / 1000 / SLOW.clients * 100


def memory(found: Found, name: str) -> float | None:
    """MiB after the first answer."""
    one = found.contestants.get(name)
    return one.idle_mib if one is not None and one.idle_mib else None


def ready(found: Found, name: str) -> float | None:
    """Seconds from the process's start to its first good answer."""
    one = found.contestants.get(name)
    return one.ready_s if one is not None and one.ready_s else None


def percent(share: float | None) -> float | None:
    """Of a share."""
    return None if share is None else share * 100
