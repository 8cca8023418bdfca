"""Remembers that a part does not answer, so that only one question in a while waits for it."""

from collections.abc import Callable


class Breaker:
    """Closed while the part answers; one failure opens it, and then one question every `rest_s` seconds is a probe.

    Questions that were under way when it opened neither open it again nor close it: each carries the ticket that it
    was given, and only the latest counts. `now` gives monotonic seconds.
    """

    def __init__(self, now: Callable[[], float], *, rest_s: float) -> None:
        self._now = now
        self._rest = rest_s
        self._failures = 0
        self._next: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the part is thought not to answer."""
        return self._next is not None

    def ask(self) -> int | None:
        """A ticket for one question, or None where the part is left alone.

        Taking the probe's ticket begins the next rest, so that a probe which never comes back blocks nobody.
        """
        if self._next is not None:
            if self._now() < self._next:
                return None
            self._next = self._now() + self._rest
        return self._failures

    def fail(self, ticket: int) -> bool:
        """Note that a question went unanswered; True where this opened the breaker."""
        if ticket != self._failures:
            return False
        was_closed = self._next is None
        self._failures += 1
        self._next = self._now() + self._rest
        return was_closed

    def answer(self, ticket: int) -> bool:
        """Note that a question was answered; True where this closed the breaker."""
        if ticket != self._failures or self._next is None:
            return False
        self._next = None
        return True
