"""Admission by two sliding windows, one of requests and one of tokens, wherever the windows are kept."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Protocol

from feedback_gateway.errors import RateLimited
from feedback_gateway.ratelimits.models import WINDOW_S, Allowance, Scope, Standing, Unit

SHORTEST_WAIT_S = 0.001


class Windows(Protocol):
    """Where the windows are kept: what the storages of the library `limits` offer for its sliding strategies."""

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Note `amount` entries, unless there would be more than `limit` in `expiry` seconds."""
        ...

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest of the newest `limit` entries was made, in `now`'s seconds, and how many count."""
        ...

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount`, unless more than `limit` would count."""
        ...

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The count of the window before and of this one, each with the seconds until it is forgotten."""
        ...


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

    def key(self, unit: Unit) -> str:
        """Where the use is counted: a name may hold any character, so its digest stands for it."""
        return key_of(self.scope, self.name, unit)

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
def key_of(scope: Scope, name: str, unit: Unit) -> str:
    """Where the use of one name is counted."""
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{scope}:{digest}:{unit}"


class WindowLimiter:
    """Counts in `windows`; `now` gives the seconds in which they tell when an entry was made.

    The tokens are looked at before the request is counted, so that a refusal uses up neither. Between processes
    somebody may come in between: then a request is counted that was refused for its tokens, never the reverse.
    """

    def __init__(self, windows: Windows, *, now: Callable[[], float]) -> None:
        self._windows = windows
        self._now = now

    async def admit(self, scope: Scope, name: str, allowance: Allowance, *, tokens: int) -> Standing | None:
        """Count one request of `tokens` tokens. Raises RateLimited."""
        applicant = Applicant(scope, name)
        most_requests, most_tokens = allowance.requests_per_minute, allowance.tokens_per_minute
        standings = []
        if most_tokens is not None:
            await self._look_at_tokens(applicant, most_tokens, tokens)
        if most_requests is not None:
            standings.append(await self._take_request(applicant, most_requests))
        if most_tokens is not None:
            standings.append(await self._take_tokens(applicant, most_tokens, tokens))
        return min(standings, key=lambda standing: standing.remaining / standing.limit, default=None)

    async def _look_at_tokens(self, applicant: Applicant, limit: int, cost: int) -> None:
        if cost > limit or limit == 0:
            raise applicant.refusal(limit, "tokens", cost=cost, wait=None)
        wait = (await self._token_use(applicant)).wait(cost, limit=limit)
        if wait > 0:
            raise applicant.refusal(limit, "tokens", cost=cost, wait=wait)

    async def _take_request(self, applicant: Applicant, limit: int) -> Standing:
        if limit == 0:
            raise applicant.refusal(limit, "requests", cost=1, wait=None)
        key = applicant.key("requests")
        admitted = await self._windows.acquire_entry(key, limit, WINDOW_S)
        oldest, count = await self._windows.get_moving_window(key, limit, WINDOW_S)
        reset_s = max(oldest + WINDOW_S - self._now(), 0.0)
        if not admitted:
            raise applicant.refusal(limit, "requests", cost=1, wait=reset_s)
        return Standing(limit=limit, remaining=max(limit - count, 0), reset_s=reset_s, unit="requests")

    async def _take_tokens(self, applicant: Applicant, limit: int, cost: int) -> Standing:
        admitted = await self._windows.acquire_sliding_window_entry(applicant.key("tokens"), limit, WINDOW_S, cost)
        use = await self._token_use(applicant)
        if not admitted:
            raise applicant.refusal(limit, "tokens", cost=cost, wait=use.wait(cost, limit=limit))
        return Standing(limit=limit, remaining=max(limit - use.counted, 0), reset_s=use.reset_s, unit="tokens")

    async def _token_use(self, applicant: Applicant) -> TokenUse:
        return TokenUse(*await self._windows.get_sliding_window(applicant.key("tokens"), WINDOW_S))
