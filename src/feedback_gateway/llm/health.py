"""How one deployment has been doing, and whether it may be asked: a state machine that is told the time.

Knows neither clock nor network; who shares what it finds with other processes is `health_watch.py`.
"""

import re
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

from feedback_gateway.errors import (
    ProviderError,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnauthorized,
    ProviderUnavailable,
)

State = Literal["healthy", "cooling_down", "probing"]
Change = Literal["opened", "closed", "released"]
Kind = Literal["success", "failure", "fatal", "limit", "neutral"]

ERROR_SPAN_S = 30.0
LOAD_SPAN_S = 300.0
SLICES = 10
FEWEST = 5
WORST_SHARE = 0.5
IN_A_ROW = 3
ROW_SHARE = 0.01
NOT_FOUND = 404
SAMPLES = 128
SMOOTHING = 0.2
FEWEST_TOKENS = 16
STALE_S = 300.0
OTHERS_MISSING = re.compile(r"(?i)\b(?:file|image|url|tool|response|thread|conversation|vector)s?\b")
"""What a request may name and a provider may miss: then it is the request's fault, not the model that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How long a cooldown lasts at first and at most, in seconds; each probe that fails doubles it."""

    cooldown_s: float = 5.0
    max_cooldown_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooldown:
    """Why nobody asks: `until` in monotonic seconds, `level` the probes that failed, `error` the last failure's code.

    `shared` tells that the other processes know of it.
    """

    until: float
    level: int
    error: str
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an attempt says of its deployment: `wait_s` until which a limit lasts, else what the answer took."""

    kind: Kind
    error: str = ""
    wait_s: float = 0.0
    latency_ms: float = 0.0
    output_tokens: int = 0


NEUTRAL = Outcome(kind="neutral")


def outcome_of(error: ProviderError) -> Outcome:
    """What a failed attempt says of its deployment. A caller's own fault says nothing."""
    if isinstance(error, ProviderUnauthorized):
        return Outcome(kind="fatal", error=error.code)
    if error.status == NOT_FOUND and not OTHERS_MISSING.search(error.detail):
        return Outcome(kind="fatal", error=error.code)
    if isinstance(error, ProviderRateLimited) and error.retry_after:
        return Outcome(kind="limit", error=error.code, wait_s=error.retry_after)
    if isinstance(error, ProviderUnavailable | ProviderRateLimited | ProviderTimeout):
        return Outcome(kind="failure", error=error.code)
    return NEUTRAL


class Window:
    """Counts what happened in the last `span_s` seconds, in slices of a tenth of it."""

    def __init__(self, span_s: float) -> None:
        self._slice_s = span_s / SLICES
        self._slices: deque[list[int]] = deque()
        self._total = self._failed = 0

    def add(self, now: float, *, failed: int) -> None:
        """Count one."""
        index = int(now / self._slice_s)
        self._forget(index)
        if not self._slices or self._slices[-1][0] != index:
            self._slices.append([index, 0, 0])
        self._slices[-1][1] += 1
        self._slices[-1][2] += failed
        self._total += 1
        self._failed += failed

    def counts(self, now: float) -> tuple[int, int]:
        """How many there were, and how many of them failed."""
        self._forget(int(now / self._slice_s))
        return self._total, self._failed

    def clear(self) -> None:
        """Begin anew."""
        self._slices.clear()
        self._total = self._failed = 0

    def _forget(self, index: int) -> None:
        while self._slices and self._slices[0][0] <= index - SLICES:
            _, total, failed = self._slices.popleft()
            self._total -= total
            self._failed -= failed


class Health:
    """Healthy until it fails too often, then cooling down; when that is over one probe decides.

    Too often is half of at least five attempts in 30 s, or three in a row (one in a hundred of those 30 s in a row,
    where that is more). Each attempt carries the ticket that it was given: what was under way when the state changed
    changes nothing more.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._turn = 0
        self._row = 0
        self._errors = Window(ERROR_SPAN_S)
        self._probe_until: float | None = None
        self._latencies: deque[float] = deque(maxlen=SAMPLES)
        self._pace: float | None = None
        self._measured_at = 0.0
        self.load = Window(LOAD_SPAN_S)
        self.cooldown: Cooldown | None = None
        self.in_flight = self.attempts = self.failures = self.cooldowns = 0

    def may_ask(self, now: float) -> bool:
        """Whether it is healthy, or waits for a probe."""
        return self.cooldown is None or (self.cooldown.until <= now and not self._is_probing(now))

    def state(self, now: float) -> State:
        """What an operator sees; `probing` begins when a cooldown is over."""
        if self.cooldown is None:
            return "healthy"
        return "cooling_down" if self.cooldown.until > now else "probing"

    def returns_at(self, now: float) -> float | None:
        """The monotonic second at which it may be asked, None where a probe under way decides."""
        return None if self.cooldown is None or self._is_probing(now) else self.cooldown.until

    def take(self, now: float, *, lease_s: float) -> int | None:
        """A ticket for one attempt, None where it may not be asked; a probe's holds for `lease_s` seconds at most."""
        if not self.may_ask(now):
            return None
        if self.cooldown is not None:
            self._turn += 1
            self._probe_until = now + lease_s
        return self._turn

    def is_probe(self, ticket: int) -> bool:
        """Whether the attempt with this ticket is the one that decides."""
        return ticket == self._turn and self._probe_until is not None

    def settle(self, ticket: int, outcome: Outcome, *, now: float) -> Change | None:
        """Note how an attempt ended; what that changed, if anything."""
        failed = outcome.kind in ("failure", "fatal", "limit")
        self.failures += failed
        if outcome.kind == "success":
            self._measure(outcome, now)
        if ticket != self._turn:
            return None
        if outcome.kind == "neutral":
            return self._release()
        if self.cooldown is not None:
            return self._open(outcome, now) if failed else self._close()
        self._row = self._row + 1 if failed else 0
        self._errors.add(now, failed=failed)
        return self._open(outcome, now) if outcome.kind in ("fatal", "limit") or self._is_too_much(now) else None

    def adopt(self, known: Cooldown | None, *, now: float) -> None:
        """Take over what the processes know together: a cooldown, or that there is none any more."""
        if known is None:
            if self.cooldown is not None and self.cooldown.shared:
                self._close()
            return
        if self.cooldown is None:
            self.cooldowns += 1
        if self.cooldown is None or known.until > now:
            if self.cooldown is None or self.cooldown.until <= now:
                self._turn += 1
                self._probe_until = None
            self.cooldown = known
            self._row = 0
            self._errors.clear()

    def leave_to_others(self, now: float, *, wait_s: float) -> None:
        """Another process probes: ask again in `wait_s` seconds."""
        self._turn += 1
        self._probe_until = now + wait_s

    def note_shared(self, cooldown: Cooldown) -> None:
        """The other processes know of `cooldown`, if it is still the present one."""
        if self.cooldown is cooldown:
            self.cooldown = replace(cooldown, shared=True)

    def pace(self, now: float) -> float | None:
        """Milliseconds an output token of late, smoothed; None where nothing, or nothing recent, was measured."""
        return self._pace if now - self._measured_at < STALE_S else None

    def latencies(self) -> list[float]:
        """Milliseconds that the latest answers took, shortest first; at most 128."""
        return sorted(self._latencies)

    def _measure(self, outcome: Outcome, now: float) -> None:
        self._latencies.append(outcome.latency_ms)
        pace = outcome.latency_ms / max(outcome.output_tokens, FEWEST_TOKENS)
        old = self.pace(now)
        self._pace = pace if old is None else old + SMOOTHING * (pace - old)
        self._measured_at = now

    def _is_probing(self, now: float) -> bool:
        return self._probe_until is not None and now < self._probe_until

    def _is_too_much(self, now: float) -> bool:
        total, failed = self._errors.counts(now)
        in_a_row = self._row >= max(IN_A_ROW, ROW_SHARE * total)
        return in_a_row or (total >= FEWEST and failed >= WORST_SHARE * total)

    def _open(self, outcome: Outcome, now: float) -> Change:
        rules, level = self._rules, 0 if self.cooldown is None else self.cooldown.level + 1
        wait = min(rules.cooldown_s * 2.0 ** min(level, 60), rules.max_cooldown_s)
        if outcome.kind == "fatal":
            wait = rules.max_cooldown_s
        elif outcome.kind == "limit":
            wait = outcome.wait_s
        self.cooldown = Cooldown(until=now + wait, level=level, error=outcome.error)
        self.cooldowns += 1
        self._begin_turn()
        return "opened"

    def _close(self) -> Change:
        self.cooldown = None
        self._begin_turn()
        return "closed"

    def _release(self) -> Change | None:
        if self._probe_until is None:
            return None
        self._probe_until = None
        self._turn += 1
        return "released"

    def _begin_turn(self) -> None:
        self._turn += 1
        self._row = 0
        self._errors.clear()
        self._probe_until = None
