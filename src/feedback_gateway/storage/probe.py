"""Whether the database can be read and written at this moment, for whoever has to know before there is a call."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from feedback_gateway.clock import Clock
from feedback_gateway.errors import GatewayError

PATIENCE_S = 3.0
FRESH_S = 1.0


class DatabaseProbe:
    """Asks at most once in FRESH_S seconds, however many want to know, and one question at a time.

    `look` blocks, and raises GatewayError for what is wrong.
    """

    def __init__(self, look: Callable[[], None], clock: Clock) -> None:
        self._look = look
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database-probe")
        self._looking: asyncio.Future[None] | None = None
        self._looked_at: float | None = None
        self._found: str | None = None

    async def trouble(self) -> str | None:
        """What is wrong, in words; None where all is well. Waits PATIENCE_S seconds at most."""
        if self._looking is None:
            if self._looked_at is not None and self._clock.monotonic() - self._looked_at < FRESH_S:
                return self._found
            self._looking = asyncio.get_running_loop().run_in_executor(self._thread, self._look)
            self._looking.add_done_callback(self._note)
        await asyncio.wait({self._looking}, timeout=PATIENCE_S)
        if self._looking is not None:
            return f"the database does not answer within {PATIENCE_S:g} s; see whether it hangs or is overloaded"
        return self._found

    def close(self) -> None:
        """Ask no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _note(self, looking: "asyncio.Future[None]") -> None:
        self._looking, self._looked_at = None, self._clock.monotonic()
        error = None if looking.cancelled() else looking.exception()
        if error is not None and not isinstance(error, GatewayError):
            self._found = f"asking the database failed: {type(error).__name__}"
        else:
            self._found = None if error is None else error.detail
