"""What two sliding windows, one of requests and one of tokens, say to an applicant, wherever they are kept."""

import math
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from feedback_gateway.errors import RateLimited
from feedback_gateway.ratelimits.models import WINDOW_S, Allowance, Scope, Standing, Unit

SHORTEST_WAIT_S = 0.001


@dataclass(frozen=True, slots=True)
class TokenUse:
    """Tokens of two neighbouring windows; those of the earlier one fade evenly until they are forgotten.

    Seconds throughout: the earlier one is forgotten after `previous_ttl`, this one after `current_ttl`.
    """

    previous: int
    previous_ttl: float
    current: int
    current_ttl: float

    @property
    def counted(self) -> int:
        """The tokens that count at this moment."""
        return math.floor(self.previous * self.previous_ttl / WINDOW_S) + self.current

    @property
    def reset_s(self) -> float:
        """Seconds until the oldest use that counts is forgotten."""
        return self.previous_ttl if self.previous else self.current_ttl if self.current else 0.0

    def wait(self, cost: int, *, limit: int) -> float:
        """Seconds until `cost` fits under `limit`, which is at least `cost`; 0.0 where it does now."""
        room = limit - cost
        if self.counted <= room:
            return 0.0
        if self.current <= room:
            return self.previous_ttl - WINDOW_S * (room - self.current) / self.previous
        return self.current_ttl - WINDOW_S * room / self.current


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who wants to be admitted."""

    scope: Scope
    name: str

    @property
    def key(self) -> str:
        """Where the use is counted: a name may hold any character, so its digest stands for it."""
        return key_of(self.scope, self.name)

    def refuse_the_impossible(self, allowance: Allowance, *, cost: int) -> None:
        """Refuse what no waiting helps: a request of more tokens than the limit, and any under a limit of 0."""
        if (limit := allowance.tokens_per_minute) is not None and (cost > limit or limit == 0):
            raise self.refusal(limit, "tokens", cost=cost, wait=None)
        if allowance.requests_per_minute == 0:
            raise self.refusal(0, "requests", cost=1, wait=None)

    def refusal(self, limit: int, unit: Unit, *, cost: int, wait: float | None) -> RateLimited:
        """The error that says whose limit it was and when to come back; a `wait` of None is never."""
        whose = self.name if self.scope == "deployment" else f"{self.scope} {self.name!r}"
        most = f"{limit:,} {unit if limit != 1 else unit.removesuffix('s')} a minute"
        if wait is None:
            told = f"the request counts as {cost:,} {unit}" if limit else "nothing is admitted"
            detail = f"{whose}: its limit is {most}, {told}"
        else:
            wait = max(wait, SHORTEST_WAIT_S)
            detail = f"{whose}: its limit of {most} is used up, again in {math.ceil(wait)} s"
        return RateLimited(
            detail,
            source="gateway",
            scope=self.scope,
            name=self.name,
            limit=limit,
            unit=unit,
            retryable=wait is not None,
            retry_after=wait,
        )


@lru_cache(maxsize=4_096)
def key_of(scope: Scope, name: str) -> str:
    """Where the use of one name is counted."""
    return f"{scope}:{blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def tightest(allowance: Allowance, *, requests: int, reset_s: float, use: TokenUse) -> Standing | None:
    """How the tighter limit stands with so many requests, the oldest forgotten in `reset_s` seconds, and tokens."""
    standings: list[Standing] = []
    if (limit := allowance.requests_per_minute) is not None:
        standings.append(Standing(limit=limit, remaining=max(limit - requests, 0), reset_s=reset_s, unit="requests"))
    if (limit := allowance.tokens_per_minute) is not None:
        remaining = max(limit - use.counted, 0)
        standings.append(Standing(limit=limit, remaining=remaining, reset_s=use.reset_s, unit="tokens"))
    return min(standings, key=lambda standing: standing.remaining / standing.limit, default=None)
