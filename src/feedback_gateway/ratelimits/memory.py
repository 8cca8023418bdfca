"""The windows in this process, on a clock that is given. Nothing awaits, so that each request is one step."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from feedback_gateway.ratelimits.limiter import Applicant, TokenUse, tightest
from feedback_gateway.ratelimits.models import WINDOW_S, Allowance, Scope, Standing


@dataclass(slots=True)
class Use:
    """What one applicant used: when its requests came, oldest first, and its tokens in two neighbouring windows.

    `ends` is when the later of these ends.
    """

    ends: float
    requests: deque[float] = field(default_factory=deque)
    previous: int = 0
    current: int = 0

    def move_on(self, now: float) -> None:
        """Forget what is over."""
        while self.requests and self.requests[0] <= now - WINDOW_S:
            self.requests.popleft()
        if now >= self.ends + WINDOW_S:
            self.previous, self.current, self.ends = 0, 0, now + WINDOW_S
        elif now >= self.ends:
            self.previous, self.current, self.ends = self.current, 0, self.ends + WINDOW_S

    def tokens(self, now: float) -> TokenUse:
        """Its tokens as they count now."""
        left = self.ends - now
        return TokenUse(self.previous, left, self.current, left + WINDOW_S)


class MemoryLimiter:
    """Keeps windows in a dictionary, without a thread or a task.

    What is forgotten is dropped once in a window's time, so that memory holds who was seen in the last two.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._uses: dict[str, Use] = {}
        self._swept = now()

    def __len__(self) -> int:
        """How many applicants are remembered."""
        return len(self._uses)

    def entries(self, applicant: Applicant) -> int:
        """How many requests are remembered of one."""
        use = self._uses.get(applicant.key)
        return 0 if use is None else len(use.requests)

    async def admit(self, scope: Scope, name: str, allowance: Allowance, *, tokens: int) -> Standing | None:
        """Count one request of `tokens` tokens, or nothing. Raises RateLimited."""
        if not allowance.is_limited:
            return None
        applicant, now = Applicant(scope, name), self._now()
        applicant.refuse_the_impossible(allowance, cost=tokens)
        self._sweep(now)
        use = self._uses.get(applicant.key) or Use(now + WINDOW_S)
        use.move_on(now)
        if (limit := allowance.tokens_per_minute) is not None and (wait := use.tokens(now).wait(tokens, limit=limit)):
            raise applicant.refusal(limit, "tokens", cost=tokens, wait=wait)
        if (limit := allowance.requests_per_minute) is not None:
            if len(use.requests) >= limit:
                raise applicant.refusal(limit, "requests", cost=1, wait=use.requests[-limit] + WINDOW_S - now)
            use.requests.append(now)
        if allowance.tokens_per_minute is not None:
            use.current += tokens
        self._uses[applicant.key] = use
        reset_s = use.requests[0] + WINDOW_S - now if use.requests else 0.0
        return tightest(allowance, requests=len(use.requests), reset_s=reset_s, use=use.tokens(now))

    def _sweep(self, now: float) -> None:
        if now < self._swept + WINDOW_S:
            return
        self._swept = now
        self._uses = {key: use for key, use in self._uses.items() if now < use.ends + WINDOW_S}
