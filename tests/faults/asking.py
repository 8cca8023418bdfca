"""Calls to a gateway over HTTP, and how long each took."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

DEADLINE_S = 60.0


@dataclass(slots=True)
class Calls:
    """Answers of many calls: how many had each status, and their times in seconds."""

    statuses: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def p50_ms(self) -> float:
        """The median."""
        return statistics.median(self.seconds) * 1000

    @property
    def p99_ms(self) -> float:
        """Ninety-nine of a hundred took at most so long."""
        return statistics.quantiles(self.seconds, n=100)[98] * 1000


def call(client: httpx.Client) -> httpx.Response:
    """One call, of a text that was never asked before: a stored answer would need neither Redis nor money."""
    return client.post("/v1/severity", json={"text": f"The export {uuid4()} crashes since the update."})


def call_often(client: httpx.Client, count: int) -> Calls:
    """So many calls, one after the other."""
    made = Calls()
    for _ in range(count):
        begun = time.perf_counter()
        made.statuses.append(call(client).status_code)
        made.seconds.append(time.perf_counter() - begun)
    return made


def readiness(client: httpx.Client) -> dict[str, Any]:
    """What `/health/ready` tells, with its status."""
    answer = client.get("/health/ready")
    body: dict[str, Any] = answer.json()
    return {"http": answer.status_code, **body}


def until(client: httpx.Client, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What `/health/ready` tells once that is as it should be. Raises AssertionError where it never is."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        told = readiness(client)
        if holds(told):
            return told
        assert time.monotonic() < deadline, told
        time.sleep(0.1)


def is_ready(told: dict[str, Any]) -> bool:
    """Nothing is missing and nothing is complained of."""
    return bool(told["http"] == 200 and not told["warnings"])
