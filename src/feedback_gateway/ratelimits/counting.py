"""Tells somebody of every refusal."""

from collections.abc import Callable

from feedback_gateway.errors import RateLimited
from feedback_gateway.ratelimits.models import Allowance, RateLimiter, Scope, Standing


class CountingLimiter:
    """Wraps a limiter; `refused` is told whose limit it was and the unit, which is one of `requests` and `tokens`."""

    def __init__(self, inner: RateLimiter, refused: Callable[[str, str], None]) -> None:
        self._inner = inner
        self._refused = refused

    async def admit(self, scope: Scope, name: str, allowance: Allowance, *, tokens: int) -> Standing | None:
        """Count one request of `tokens` tokens. Raises RateLimited."""
        try:
            return await self._inner.admit(scope, name, allowance, tokens=tokens)
        except RateLimited as error:
            self._refused(scope, error.unit or "requests")
            raise
