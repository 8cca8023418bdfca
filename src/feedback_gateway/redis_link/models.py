"""What is known of Redis without asking it, and the error that says to go on without it."""

from dataclasses import dataclass
from datetime import datetime


class RedisSilentError(Exception):
    """Redis did not answer, or is left alone because it did not: the caller goes on without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisState:
    """Whether Redis is left alone (the breaker `is_open`), and what was counted since the start."""

    is_open: bool
    since: datetime
    """When it last fell silent or answered again, else when the process started."""
    openings: int
    """How often it fell silent."""
    failures: int
    """How many questions got no answer or an error, probes included."""
    refusals: int
    """How many questions were not put, because it was being left alone."""
    trouble: str | None
    """What is wrong in words, None while it answers."""
