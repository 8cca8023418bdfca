"""Says within the event loop whose key a request brings, from memory where that was looked up a moment ago.

It keeps a hash of each key by a secret of this process, never a key; `service.py` decides.
"""

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from functools import partial

from feedback_gateway.clock import Clock
from feedback_gateway.consumers.keys import is_key
from feedback_gateway.consumers.models import Caller
from feedback_gateway.consumers.service import REFUSED, Consumers
from feedback_gateway.errors import GatewayError, Unauthorized

FRESH_S = 0.25
MOST_CALLERS = 10_000
MOST_REFUSED = 1_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look into the database gave at `found_at`, in monotonic seconds, as of one revision of `Consumers`.

    `answer` is who it is, or in words why nobody.
    """

    answer: Caller | str
    found_at: float
    revision: int


class Callers:
    """Who calls. What another process changes is seen after FRESH_S seconds, what this one changes at once."""

    def __init__(self, consumers: Consumers, clock: Clock) -> None:
        self._consumers = consumers
        self._clock = clock
        self._pepper = secrets.token_bytes(32)
        self._known: dict[bytes, Verdict] = {}
        self._refused: dict[bytes, Verdict] = {}
        self._asked: dict[tuple[bytes, int], asyncio.Task[Verdict]] = {}

    def known(self, key: str | None, *, is_local: bool) -> Caller | None:
        """Who it is, where that was looked up a moment ago; None where `caller` has to ask. Raises Unauthorized."""
        if key is not None and not is_key(key):
            raise Unauthorized(REFUSED)
        name = self._name_of(key, is_local=is_local)
        verdict = self._known.get(name) or self._refused.get(name)
        return None if verdict is None or not self._is_fresh(verdict) else self._said(verdict)

    async def caller(self, key: str | None, *, is_local: bool) -> Caller:
        """As `Consumers.authenticate`; raises what that raises, of which Unauthorized is remembered as well."""
        known = self.known(key, is_local=is_local)
        if known is not None:
            return known
        return self._said(await self._ask(self._name_of(key, is_local=is_local), key, is_local=is_local))

    def _said(self, verdict: Verdict) -> Caller:
        if isinstance(verdict.answer, str):
            raise Unauthorized(verdict.answer)
        ends_at = verdict.answer.ends_at
        if ends_at is not None and ends_at <= self._clock.now():
            raise Unauthorized(REFUSED)
        return verdict.answer

    def _name_of(self, key: str | None, *, is_local: bool) -> bytes:
        text = f"no key, local: {is_local}" if key is None else key
        return hashlib.blake2b(text.encode(), key=self._pepper, digest_size=32).digest()

    def _is_fresh(self, verdict: Verdict) -> bool:
        is_of_now = verdict.revision == self._consumers.revision
        return is_of_now and self._clock.monotonic() - verdict.found_at < FRESH_S

    async def _ask(self, name: bytes, key: str | None, *, is_local: bool) -> Verdict:
        """Look it up in a thread, once for all who wait for the same; it goes on where one of them is cancelled."""
        place = name, self._consumers.revision
        task = self._asked.get(place)
        if task is None:
            task = self._asked[place] = asyncio.create_task(self._looked_up(place, key, is_local=is_local))
            task.add_done_callback(partial(self._end, place))
        try:
            return await asyncio.shield(task)
        except GatewayError as error:  # each who waits raises one of their own
            raise type(error)(error.detail, retry_after=error.retry_after) from error

    def _end(self, place: tuple[bytes, int], task: asyncio.Task[Verdict]) -> None:
        del self._asked[place]
        if not task.cancelled():
            task.exception()  # which nobody may be left to hear of

    async def _looked_up(self, place: tuple[bytes, int], key: str | None, *, is_local: bool) -> Verdict:
        name, revision = place
        asked_at = self._clock.monotonic()
        answer: Caller | str
        try:
            answer = await asyncio.to_thread(self._consumers.authenticate, key, is_local=is_local)
        except Unauthorized as error:
            answer = error.detail
        verdict = Verdict(answer, asked_at, revision)
        self._known.pop(name, None)
        self._refused.pop(name, None)
        kept, most = (self._refused, MOST_REFUSED) if isinstance(answer, str) else (self._known, MOST_CALLERS)
        if len(kept) >= most:
            kept.clear()
        kept[name] = verdict
        return verdict
