"""Several forks of this process that do the same work: announced together, replaced when they die, ended together.

What the work is, and what its forks share, is for the caller to know.
"""

import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType

from feedback_gateway.cli.terminal import complain

READY_S = 60.0
"""How long a worker may take until it is ready."""
END_S = 75.0
"""How long workers may take to end: a little more than all that each of them waits for."""
LONGEST_REST_S = 30.0
SHORTEST_WAIT_S = 0.05
WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Post:
    """A worker's two pipes to the process that forked it."""

    ready: int
    alive: int
    """Reads as ended once that process is gone."""

    def report_ready(self) -> None:
        """Say that the work has begun."""
        os.write(self.ready, b".")


@dataclass(slots=True)
class Worker:
    """A fork as its parent sees it; `begun` in monotonic seconds."""

    pid: int
    ready: int
    begun: float
    is_ready: bool = False


class Workforce:
    """Runs `work` in `count` forks; `work` is given its Post and returns its exit code.

    The first worker starts alone, so that what cannot work is told once. `announce` is called when all are ready,
    `refuse_new` when they are about to end. Nothing in this process may have threads.
    """

    def __init__(
        self,
        work: Callable[[Post], int],
        *,
        count: int,
        announce: Callable[[], None],
        refuse_new: Callable[[], None],
    ) -> None:
        self._work = work
        self._count = count
        self._announce = announce
        self._refuse_new = refuse_new
        self._workers: dict[int, Worker] = {}
        self._wanted = 1
        self._is_announced = False
        self._ending: float | None = None
        self._failures = 0
        self._next_try = 0.0
        self._code = 0

    def run(self) -> int:
        """The exit code, 0 for an end that a signal asked for; in a worker, that of its work."""
        with ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            signals = stack.enter_context(signals_as_bytes())
            selector.register(signals, selectors.EVENT_READ)
            watched, held = os.pipe()
            while True:
                if self._wants_another():
                    post = self._fork(selector, watched)
                    if post is not None:
                        stack.close()
                        os.close(held)
                        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's goes to all; the parent's counts
                        return self._work(post)
                for key, _ in selector.select(self._patience()):
                    if key.fileobj is signals:
                        self._take(signals.recv(64), selector)
                    else:
                        self._note_ready(selector, key.data)
                self._end_the_late()
                if self._ending is not None and not self._workers:
                    os.close(watched)
                    os.close(held)
                    return self._code

    def _wants_another(self) -> bool:
        return self._ending is None and len(self._workers) < self._wanted and time.monotonic() >= self._next_try

    def _patience(self) -> float | None:
        """Seconds until something is to be done even where nothing happens."""
        moments = [worker.begun + READY_S for worker in self._workers.values() if not worker.is_ready]
        if self._ending is not None:
            moments = [self._ending]
        elif len(self._workers) < self._wanted:
            moments.append(self._next_try)
        return max(min(moments) - time.monotonic(), SHORTEST_WAIT_S) if moments else None

    def _fork(self, selector: selectors.BaseSelector, watched: int) -> Post | None:
        """One more worker; its Post in the worker, None here. Signals wait until each side is as it should be."""
        readable, writable = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        try:
            pid = os.fork()
            if pid == 0:
                for number in WATCHED:
                    signal.signal(number, signal.SIG_DFL)
                os.close(readable)
                for worker in self._workers.values():
                    os.close(worker.ready)
                return Post(writable, watched)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        os.close(writable)
        self._workers[pid] = Worker(pid, readable, time.monotonic())
        selector.register(readable, selectors.EVENT_READ, self._workers[pid])
        return None

    def _note_ready(self, selector: selectors.BaseSelector, worker: Worker) -> None:
        if worker.pid not in self._workers:
            return  # it ended, and that was heard of first
        selector.unregister(worker.ready)
        if not os.read(worker.ready, 1):
            return  # it has ended, which SIGCHLD tells
        worker.is_ready = True
        self._failures = 0
        self._wanted = self._count
        if not self._is_announced and sum(worker.is_ready for worker in self._workers.values()) == self._count:
            self._is_announced = True
            self._announce()

    def _take(self, numbers: bytes, selector: selectors.BaseSelector) -> None:
        """Do what signals ask for."""
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._end()
        if signal.SIGCHLD in numbers:
            for worker, status in self._ended():
                if worker.ready in selector.get_map():
                    selector.unregister(worker.ready)
                os.close(worker.ready)
                self._miss(worker, os.waitstatus_to_exitcode(status))

    def _ended(self) -> Iterator[tuple[Worker, int]]:
        for pid in list(self._workers):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                yield self._workers.pop(pid), status

    def _miss(self, worker: Worker, code: int) -> None:
        """Go on without a worker: replace it, or give up where no worker can start."""
        if self._ending is not None:
            self._code = self._code or (1 if code else 0)
            return
        how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        if worker.is_ready:
            log.warning("worker %s %s; another takes its place", worker.pid, how)
            return
        if not self._is_announced or not any(other.is_ready for other in self._workers.values()):
            # What ended by itself has said why; whoever was ended could not.
            self._code = code if code > 0 else complain(f"a worker {how} before it was ready", code=1)
            self._end()
            return
        self._next_try = time.monotonic() + min(2.0**self._failures, LONGEST_REST_S)
        self._failures += 1
        log.warning("worker %s %s before it was ready; another is tried soon", worker.pid, how)

    def _end(self) -> None:
        """Let no one in any more, and let the workers finish."""
        if self._ending is None:
            self._ending = time.monotonic() + END_S
            self._refuse_new()
        for pid in self._workers:
            os.kill(pid, signal.SIGTERM)

    def _end_the_late(self) -> None:
        now = time.monotonic()
        for worker in self._workers.values():
            is_late = self._ending is None and not worker.is_ready and now >= worker.begun + READY_S
            if is_late or (self._ending is not None and now >= self._ending):
                os.kill(worker.pid, signal.SIGKILL)


@contextmanager
def signals_as_bytes() -> Iterator[socket.socket]:
    """A socket to read the numbers of signals from, in place of what they do by themselves."""
    told, teller = socket.socketpair()
    with told, teller:
        told.setblocking(False)
        teller.setblocking(False)
        before = [signal.signal(number, ignore) for number in WATCHED]
        woken = signal.set_wakeup_fd(teller.fileno())
        try:
            yield told
        finally:
            signal.set_wakeup_fd(woken)
            for number, action in zip(WATCHED, before, strict=True):
                signal.signal(number, action)


def ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the signal's number is read elsewhere."""
