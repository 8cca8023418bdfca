"""What may be used a minute, what of it is left, and the one protocol of those who count."""

from dataclasses import dataclass
from typing import Literal, Protocol

Scope = Literal["consumer", "deployment"]
Unit = Literal["requests", "tokens"]

WINDOW_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What one consumer or deployment may use in any minute: None is no check, 0 admits nothing."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    @property
    def is_limited(self) -> bool:
        """Whether there is anything to check."""
        return self.requests_per_minute is not None or self.tokens_per_minute is not None


UNLIMITED = Allowance()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is left of the tighter of two limits; `reset_s` seconds from now the oldest use that counts is forgotten."""

    limit: int
    remaining: int
    reset_s: float
    unit: Unit


class RateLimiter(Protocol):
    """Admits or refuses, and counts what it admitted."""

    async def admit(self, scope: Scope, name: str, allowance: Allowance, *, tokens: int) -> Standing | None:
        """Count one request of `tokens` tokens, and tell what is left; None where nothing is limited.

        Raises RateLimited where it does not fit: then nothing is counted.
        """
        ...
