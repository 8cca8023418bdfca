"""Watches the health of every deployment, for whoever chooses one, and tells the other processes of cooldowns."""

import asyncio
import json
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import blake2s
from typing import Any, Literal, Protocol

from feedback_gateway.clock import Clock
from feedback_gateway.errors import DeploymentCooling
from feedback_gateway.llm.health import Change, Cooldown, Health, Outcome, Rules, State
from feedback_gateway.llm.models import Deployment

LEASE_MARGIN_S = 5.0
"""How much longer than its attempt a probe keeps others away: a process that died with it lets them in after that."""
OTHERS_PROBE_S = 0.25
MEDIAN, HIGH = 0.5, 0.95

Claim = Literal["granted", "refused", "closed"]


class Board(Protocol):
    """Where processes tell each other of cooldowns. It never fails: while it is out of reach it knows nothing."""

    async def read(self) -> Mapping[str, Cooldown] | None:
        """Every cooldown with `until` in seconds from now, one that is over below 0; None where it is out of reach."""
        ...

    async def write(self, name: str, cooldown: Cooldown, *, wait_s: float) -> bool:
        """Begin a cooldown of `wait_s` seconds, whoever probed before; whether the others know of it now."""
        ...

    async def claim(self, name: str, *, lease_s: float) -> Claim | None:
        """Ask for the one probe; None where it is out of reach."""
        ...

    async def clear(self, name: str) -> None:
        """End a cooldown."""
        ...

    async def release(self, name: str) -> None:
        """Let somebody else probe."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How one deployment stands: counts and latencies of this process, a state that all share.

    `share` is its part of its alias's attempts of the last five minutes, None where there were none.
    """

    name: str
    alias: str
    model: str
    state: State
    cooling_down_until: datetime | None
    reason: str | None
    p50_ms: float | None
    p95_ms: float | None
    share: float | None
    in_flight: int
    attempts: int
    failures: int
    cooldowns: int


class HealthWatch:
    """One state of health a deployment, for requests of every kind; with a Redis, all processes share cooldowns."""

    def __init__(
        self, deployments: Iterable[Deployment], *, rules: Rules, clock: Clock, board: Board | None = None
    ) -> None:
        self._deployments = {deployment.name: deployment for deployment in deployments}
        self._healths = {name: Health(rules) for name in self._deployments}
        self._fields = {name: field_of(deployment) for name, deployment in self._deployments.items()}
        self._clock = clock
        self._board = board
        self._telling: set[asyncio.Task[None]] = set()

    def __getitem__(self, name: str) -> Health:
        """The health of one deployment."""
        return self._healths[name]

    async def look(self) -> None:
        """Learn what the other processes know, so that none of them asks whom another has found to fail."""
        if self._board is None or (known := await self._board.read()) is None:
            return
        now = self._clock.monotonic()
        for name, health in self._healths.items():
            found = known.get(self._fields[name])
            health.adopt(None if found is None else replace(found, until=now + found.until), now=now)

    async def admit(self, deployment: Deployment) -> int:
        """The ticket of an attempt that is about to begin. Raises DeploymentCooling where there must be none."""
        health, now = self._healths[deployment.name], self._clock.monotonic()
        ticket = health.take(now, lease_s=deployment.timeout_s + LEASE_MARGIN_S)
        if ticket is not None and self._board is not None and health.is_probe(ticket):
            ticket = await self._claim(self._board, deployment, ticket)
        if ticket is None:
            raise DeploymentCooling("cooling down")
        health.attempts += 1
        health.in_flight += 1
        health.load.add(now, failed=0)
        return ticket

    async def settle(self, deployment: Deployment, ticket: int, outcome: Outcome) -> None:
        """Note how an attempt ended; what that changes for the other processes is told before this returns."""
        health, now = self._healths[deployment.name], self._clock.monotonic()
        health.in_flight -= 1
        change = health.settle(ticket, outcome, now=now)
        if change is not None and self._board is not None:
            await self._tell(self._board, deployment.name, change, now=now)

    def reports(self) -> list[Report]:
        """How every deployment stands, in the order of the configuration; asks nobody."""
        now, at = self._clock.monotonic(), self._clock.now()
        loads = {name: health.load.counts(now)[0] for name, health in self._healths.items()}
        together: dict[str, int] = {}
        for name, deployment in self._deployments.items():
            together[deployment.alias] = together.get(deployment.alias, 0) + loads[name]
        found = []
        for name, deployment in self._deployments.items():
            health = self._healths[name]
            cooldown, latencies = health.cooldown, health.latencies()
            left = 0.0 if cooldown is None else cooldown.until - now
            load = together[deployment.alias]
            found.append(
                Report(
                    name=name,
                    alias=deployment.alias,
                    model=deployment.model,
                    state=health.state(now),
                    cooling_down_until=at + timedelta(seconds=left) if left > 0 else None,
                    reason=None if cooldown is None else cooldown.error,
                    p50_ms=quantile(latencies, MEDIAN),
                    p95_ms=quantile(latencies, HIGH),
                    share=loads[name] / load if load else None,
                    in_flight=health.in_flight,
                    attempts=health.attempts,
                    failures=health.failures,
                    cooldowns=health.cooldowns,
                )
            )
        return found

    async def _claim(self, board: Board, deployment: Deployment, ticket: int) -> int | None:
        """The ticket again, where this process has the one probe of all."""
        health, field = self._healths[deployment.name], self._fields[deployment.name]
        try:
            claim = await board.claim(field, lease_s=deployment.timeout_s + LEASE_MARGIN_S)
        except asyncio.CancelledError:
            health.settle(ticket, Outcome(kind="neutral"), now=self._clock.monotonic())
            self._begin(board.release(field))
            raise
        now = self._clock.monotonic()
        if claim == "refused":
            health.leave_to_others(now, wait_s=OTHERS_PROBE_S)
            return None
        if claim == "closed":
            health.adopt(None, now=now)
            return health.take(now, lease_s=0)
        return ticket

    async def _tell(self, board: Board, name: str, change: Change, *, now: float) -> None:
        health, field = self._healths[name], self._fields[name]
        if change == "released":
            self._begin(board.release(field))
        elif change == "closed":
            await board.clear(field)
        elif (cooldown := health.cooldown) is not None and await board.write(
            field, cooldown, wait_s=cooldown.until - now
        ):
            health.note_shared(cooldown)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


def field_of(deployment: Deployment) -> str:
    """What processes call a deployment among themselves: another key or address makes it another one.

    The few bits of the digest tell that something changed, and nothing of what it was.
    """
    told = json.dumps([deployment.model, deployment.params], sort_keys=True, default=str)
    return f"{deployment.name} {blake2s(told.encode(), digest_size=3).hexdigest()}"


def quantile(values: list[float], share: float) -> float | None:
    """The value below which `share` of the sorted `values` lie, None of none."""
    return values[min(int(share * len(values)), len(values) - 1)] if values else None
