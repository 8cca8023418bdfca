"""Puts the deployments of one alias in the order in which they are asked: by weight, load, pace or price."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any, Literal

from feedback_gateway.clock import Clock
from feedback_gateway.llm.health_watch import HealthWatch
from feedback_gateway.llm.models import Deployment, Request
from feedback_gateway.llm.prices import most_cost
from feedback_gateway.llm.tokens import most_input_tokens

Strategy = Literal["weight", "least_busy", "lowest_latency", "lowest_cost"]
EXPLORED = 0.05
"""The share of calls that `lowest_latency` orders by weight, so that what is known of the others stays true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How an alias chooses, and whether a second deployment is asked where the first is slow."""

    strategy: Strategy = "weight"
    hedge: bool = False


DEFAULT = Routing()


class Chooser:
    """Orders deployments. Ties fall to each in proportion to its weight; a weight of 0 stands in last."""

    def __init__(self, routing: Mapping[str, Routing], *, health: HealthWatch, clock: Clock, random: Random) -> None:
        self._routing = routing
        self._health = health
        self._clock = clock
        self._random = random
        self._ranks = {
            "weight": self._by_weight,
            "least_busy": self._by_load,
            "lowest_latency": self._by_pace,
            "lowest_cost": self._by_cost,
        }

    def hedges(self, alias: str) -> bool:
        """Whether a slow deployment of `alias` gets company."""
        return self._routing.get(alias, DEFAULT).hedge

    def order(self, alias: str, deployments: Sequence[Deployment], request: Request) -> list[Deployment]:
        """The deployments of `alias`, best first."""
        if len(deployments) < 2:  # noqa: PLR2004 nothing to choose
            return list(deployments)
        ranks = self._ranks[self._routing.get(alias, DEFAULT).strategy](deployments, request)
        draws = [self._draw(deployment) for deployment in deployments]
        keys = [
            (deployment.weight == 0, *rank, draw)
            for deployment, rank, draw in zip(deployments, ranks, draws, strict=True)
        ]
        places = sorted(range(len(keys)), key=keys.__getitem__)
        return [deployments[place] for place in places]

    def _draw(self, deployment: Deployment) -> float:
        """A number whose least falls to each in proportion to its weight (Efraimidis and Spirakis)."""
        return -(self._random.random() ** (1 / deployment.weight)) if deployment.weight > 0 else self._random.random()

    def _by_weight(self, deployments: Sequence[Deployment], _: Request) -> list[tuple[Any, ...]]:
        return [()] * len(deployments)

    def _by_load(self, deployments: Sequence[Deployment], _: Request) -> list[tuple[Any, ...]]:
        return [(self._health[deployment.name].in_flight,) for deployment in deployments]

    def _by_pace(self, deployments: Sequence[Deployment], request: Request) -> list[tuple[Any, ...]]:
        """Who is not measured is asked first, by one call at a time, and last by the others."""
        if self._random.random() < EXPLORED:
            return self._by_weight(deployments, request)
        now, ranks = self._clock.monotonic(), []
        for deployment in deployments:
            health = self._health[deployment.name]
            pace = health.pace(now)
            place = 1 if pace is not None else 2 if health.in_flight else 0
            ranks.append((place, pace or 0.0))
        return ranks

    def _by_cost(self, deployments: Sequence[Deployment], request: Request) -> list[tuple[Any, ...]]:
        """By the most that this request can cost; a price that nobody knows comes last."""
        tokens = most_input_tokens(request)
        ranks: list[tuple[Any, ...]] = []
        for deployment in deployments:
            rates = deployment.rates
            cost = Decimal(0)
            if rates is not None and not rates.is_free:
                cost = most_cost(rates, input_tokens=tokens, output_tokens=request.max_tokens)
            ranks.append((rates is None, cost))
        return ranks
