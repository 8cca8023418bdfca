"""A lock for the threads of one process that is handed on in the order in which they asked."""

from collections import deque
from threading import Lock, get_ident

from feedback_gateway.storage.forks import in_forked_children


class Turns:
    """One thread at a time, first come, first served; `threading.Lock` may let the fastest in again and again.

    Nobody waits longer than `patience_s`. In a forked child nobody holds it: the thread that did is not there.
    """

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self._mutex = Lock()
        self._waiting: deque[Lock] = deque()
        self._is_taken = False
        self._holder: int | None = None
        in_forked_children(self, Turns._begin_anew)

    def take(self) -> bool:
        """Wait for the turn; False where it did not come in time. Raises RuntimeError for the thread that has it."""
        with self._mutex:
            if self._holder == get_ident():
                raise RuntimeError("a thread that writes began to write again")
            if not self._is_taken:
                self._is_taken, self._holder = True, get_ident()
                return True
            ticket = Lock()
            ticket.acquire()
            self._waiting.append(ticket)
        is_ours = False
        try:
            is_ours = ticket.acquire(timeout=self.patience_s)
        finally:
            if not is_ours:
                self._leave(ticket)
        if is_ours:
            self._holder = get_ident()
        return is_ours

    def pass_on(self) -> None:
        """End the turn."""
        with self._mutex:
            self._holder = None
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False

    def _begin_anew(self) -> None:
        self._mutex = Lock()
        self._waiting = deque()
        self._is_taken, self._holder = False, None

    def _leave(self, ticket: Lock) -> None:
        with self._mutex:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                return
        self.pass_on()  # it came at the very moment of leaving
