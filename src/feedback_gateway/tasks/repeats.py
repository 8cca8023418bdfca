"""Answers a body that was answered before, to the byte, without reading it: for what is stored, and for that only.

Nothing is decided here: who may ask, how fast, and whether the answer is still kept is asked anew each time.
"""

import hashlib
from dataclasses import dataclass

from feedback_gateway.cache.shelf import Shelf
from feedback_gateway.calls.recorder import Recorder
from feedback_gateway.consumers.admission import Admission
from feedback_gateway.consumers.models import Consumer
from feedback_gateway.errors import GatewayError
from feedback_gateway.llm.caching import AnswerCache
from feedback_gateway.observability.models import Origin
from feedback_gateway.ratelimits.models import Standing
from feedback_gateway.tasks.examples import ExampleBook
from feedback_gateway.tasks.models import Repeat
from feedback_gateway.tasks.registry import TaskRegistry
from feedback_gateway.tasks.taxonomy_file import TaxonomyFile

LONGEST_BODY = 64_000
"""Bytes; longer ones are seldom sent twice, and are read again."""
LONGEST_S = 86_400.0
"""How long a body is known; its answer may be gone long before."""
TIMES_KEPT = 4
"""How much memory inputs and result take, in the bytes of the body and of the answer that they stand in."""

Page = tuple[bytes, bytes]
"""An answer as JSON but for its call's id and latency: what stands between the two, and what follows them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a body is answered with, and how that reads."""

    repeat: Repeat
    page: Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A call that was answered once more, by that version of a task's prompt."""

    call_id: str
    latency_ms: float
    standing: Standing | None
    page: Page
    version: tuple[str, int]


class Repeats:
    """The bodies that were answered from the cache, or into it, within `max_bytes` of memory."""

    def __init__(
        self,
        *,
        cache: AnswerCache,
        registry: TaskRegistry,
        taxonomy: TaxonomyFile,
        examples: ExampleBook,
        admission: Admission,
        recorder: Recorder,
        max_bytes: int,
        max_entries: int,
    ) -> None:
        self._cache = cache
        self._registry = registry
        self._taxonomy = taxonomy
        self._examples = examples
        self._admission = admission
        self._recorder = recorder
        self._known: Shelf[Known] = Shelf(max_bytes=max_bytes, max_entries=max_entries, now=cache.clock.monotonic)

    async def answer(self, name: str, body: bytes, consumer: Consumer, *, origin: Origin | None = None) -> Hit | None:
        """The answer to `body` as a call of its own, None where it has to be read.

        Raises Forbidden, RateLimited and Unavailable as any call does.
        """
        if len(body) > LONGEST_BODY:
            return None
        key = self._key(name, body, consumer)
        known = self._known.get(key)
        if known is None:
            return None
        repeat = known.repeat
        if not self._is_current(repeat, consumer) or await self._cache.store.get(repeat.kept.key) != repeat.kept.entry:
            self._known.drop(key)
            return None
        consumer.scopes.require(task=name, model=repeat.model)
        self._admission.look(consumer)
        standing = await self._admission.admit(consumer, tokens=repeat.tokens)
        async with self._recorder.record(
            consumer, name, repeat.task.version, repeat.model, timeout_s=repeat.timeout_s, origin=origin
        ) as call:
            call.inputs, call.result, call.texts = repeat.inputs, repeat.result, repeat.texts
            call.cached, call.saved_usd, call.deployment = True, repeat.saved_usd, repeat.deployment
            call.dropped_evidence, call.taxonomy_version = repeat.dropped, repeat.taxonomy_version
            call.examples = repeat.examples
            self._cache.hits += 1
        return Hit(
            call_id=call.call_id,
            latency_ms=call.latency_ms,
            standing=standing,
            page=known.page,
            version=(name, repeat.task.version),
        )

    def remember(self, name: str, body: bytes, consumer: Consumer, *, repeat: Repeat, page: Page) -> None:
        """Know `body` from now on."""
        if len(body) > LONGEST_BODY:
            return
        size = len(repeat.kept.entry) + TIMES_KEPT * (len(body) + sum(map(len, page)))
        known = Known(repeat=repeat, page=page)
        self._known.put(self._key(name, body, consumer), known, size=size, ttl_s=LONGEST_S)

    def _key(self, name: str, body: bytes, consumer: Consumer) -> bytes:
        scope = self._cache.scope_of(consumer.identity)
        hashed = hashlib.blake2b(f"{name} {len(scope)} {scope} ".encode(), digest_size=32)
        hashed.update(body)
        return hashed.digest()

    def _is_current(self, repeat: Repeat, consumer: Consumer) -> bool:
        """Whether the task is what it was: its prompt file may have changed, the taxonomy, or what people corrected."""
        if repeat.examples != self._examples.version(repeat.task.name, consumer.name):
            return False
        if repeat.configured is not self._taxonomy.current:
            return False
        try:
            return self._registry.get(repeat.task.name, repeat.version) is repeat.task
        except GatewayError:
            return False
