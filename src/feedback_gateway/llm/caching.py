"""Gives back what was answered before, and lets one call ask for what many want at once; what it keeps is checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Generic, Literal

from feedback_gateway.cache.keys import UnkeyableError
from feedback_gateway.cache.models import CacheStore, Leases
from feedback_gateway.calls.models import Call, KeptAs
from feedback_gateway.clock import Clock
from feedback_gateway.llm.fingerprints import alias_fingerprints, request_key
from feedback_gateway.llm.flights import Flights
from feedback_gateway.llm.models import (
    FINISHED,
    AnswerT,
    CachePolicy,
    Client,
    CompletionRequest,
    Deployment,
    ForwardRequest,
    RequestT,
    Sink,
)
from feedback_gateway.llm.stored import Entries, Stored

CacheScope = Literal["consumer", "shared"]
MOST_EVENT_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheState:
    """What the cache did since the start of this process, and what it holds here.

    `waits` are calls that waited for another one's answer; `entries` and `bytes` are 0 where Redis keeps them.
    """

    hits: int
    misses: int
    stored: int
    waits: int
    evicted: int
    entries: int
    bytes: int


class AnswerCache:
    """The one cache of the process: the store, how long and for whom it keeps, and what came of it so far."""

    def __init__(
        self, store: CacheStore, *, leases: Leases | None, ttl_s: float, scope: CacheScope, clock: Clock
    ) -> None:
        self.store = store
        self.leases = leases
        self.clock = clock
        self.hits = self.misses = self.stored = self.waits = 0
        self._ttl = ttl_s
        self._scope = scope

    @property
    def state(self) -> CacheState:
        """At this moment."""
        held = self.store.state
        return CacheState(
            hits=self.hits,
            misses=self.misses,
            stored=self.stored,
            waits=self.waits,
            evicted=held.evicted,
            entries=held.entries,
            bytes=held.bytes,
        )

    def ttl_of(self, policy: CachePolicy) -> float:
        """How many seconds an answer is kept; 0 is not at all."""
        return self._ttl if policy.ttl_s is None or not self._ttl else policy.ttl_s

    def scope_of(self, identity: str) -> str:
        """Whom a consumer shares answers with, as a part of the key: nobody, unless the operator says so."""
        return "shared" if self._scope == "shared" else f"consumer {identity}"


class CachingClient(Generic[RequestT, AnswerT]):
    """Answers from the cache where it can, and stores answers under the alias that gave them.

    Identical requests at the same time wait for the first one and share its answer. Where that one fails each of them
    asks for itself; where its caller left, the next one takes its place. Raises DeadlineExceeded.
    """

    def __init__(
        self,
        inner: Client[RequestT, AnswerT],
        cache: AnswerCache,
        entries: Entries[RequestT, AnswerT],
        *,
        deployments: Sequence[Deployment],
    ) -> None:
        self._inner = inner
        self._cache = cache
        self._entries = entries
        self._flights: Flights[Stored[AnswerT]] = Flights(cache.leases, cache.clock)
        self._aliases: Mapping[str, str] = {one.name: one.alias for one in deployments}
        self._answering = alias_fingerprints(deployments)

    async def complete(self, request: RequestT, call: Call) -> AnswerT:
        """Answer from the cache, with somebody else, or anew."""
        policy = request.cache
        key = self._key(request, call) if self._cache.ttl_of(policy) > 0 and (policy.read or policy.write) else None
        if key is None:
            return await self._inner.complete(request, call)
        if not policy.read:
            return (await self._ask(request, call, key))[0]
        entry = await self._cache.store.get(key)
        if entry is not None and (stored := self._usable(entry, request)) is not None:
            call.kept_as = KeptAs(key, entry)
            return await self._serve(stored, request, call)
        if (alone := alone_of(request)) is not None and (stored := await self._kept(alone, call)) is not None:
            return await self._serve(stored, request, call)
        if not policy.write:
            self._cache.misses += 1
            return await self._inner.complete(request, call)
        return await self._join(request, call, key)

    async def _join(self, request: RequestT, call: Call, key: bytes) -> AnswerT:
        """Wait for whoever asks already, else ask for all."""
        while (flight := self._flights.under_way(key)) is not None:
            self._cache.waits += 1
            await self._flights.wait(flight, call)
            if flight.landed is not None:
                return await self._serve(flight.landed, request, call)
            if not flight.was_left:
                return (await self._ask(request, call, key))[0]
        async with self._flights.lead(key) as flight, self._flights.turn(key, call) as entry:
            if entry is not None and (found := self._usable(entry, request)) is not None:
                self._cache.waits += 1
                flight.landed, call.kept_as = found, KeptAs(key, entry)
                return await self._serve(found, request, call)
            answer, flight.landed = await self._ask(request, call, key)
            return answer

    async def _ask(self, request: RequestT, call: Call, key: bytes) -> tuple[AnswerT, Stored[AnswerT] | None]:
        """The answer, and as it is stored: None where nobody else should get it."""
        self._cache.misses += 1
        asked, tape = taped(request)
        answer = await self._inner.complete(asked, call)
        if answer.finish_reason not in FINISHED or answer.deployment is None or (tape is not None and tape.is_full):
            return answer, None
        stored = Stored(
            answer=answer,
            events=b"" if tape is None else tape.events,
            cost_usd=call.receipt().cost_usd,
            stored_at=self._cache.clock.now().timestamp(),
        )
        if request.cache.write:
            await self._store(stored, request, call, key)
        return answer, stored

    async def _store(self, stored: Stored[AnswerT], request: RequestT, call: Call, key: bytes) -> None:
        """Keep the answer under the alias that gave it: a fallback's is no answer of the alias that was asked."""
        entry = self._entries.pack(stored)
        alias = self._aliases.get(stored.answer.deployment or "")
        own = key if alias == request.model else alias and self._key(replace(request, model=alias), call)
        if entry is None or not own:
            return
        await self._cache.store.put(own, entry, ttl_s=self._cache.ttl_of(request.cache))
        self._cache.stored += 1
        if own == key:
            call.kept_as = KeptAs(key, entry)

    async def _serve(self, stored: Stored[AnswerT], request: RequestT, call: Call) -> AnswerT:
        """Give a stored answer: the call made no attempt and cost nothing."""
        self._cache.hits += 1
        call.cached, call.saved_usd = True, stored.cost_usd or Decimal(0)
        call.deployment = stored.answer.deployment
        if isinstance(request, ForwardRequest) and request.sink is not None:
            await request.sink(stored.events)
        return stored.answer

    async def _kept(self, request: RequestT, call: Call) -> Stored[AnswerT] | None:
        """What is stored for `request`."""
        key = self._key(request, call)
        entry = None if key is None else await self._cache.store.get(key)
        return None if entry is None else self._usable(entry, request)

    def _usable(self, entry: bytes, request: RequestT) -> Stored[AnswerT] | None:
        """What is in the entry, where it is an answer to this request that is not too old for it."""
        stored = self._entries.unpack(entry, request)
        if stored is None or self._aliases.get(stored.answer.deployment or "") != request.model:
            return None
        oldest = request.cache.max_age_s
        if oldest is not None and self._cache.clock.now().timestamp() - stored.stored_at > oldest:
            return None
        return stored

    def _key(self, request: RequestT, call: Call) -> bytes | None:
        """The request's key, None for one that has none, and for a call of nobody."""
        if call.identity is None:
            return None
        scope, answering = self._cache.scope_of(call.identity), self._answering.get(request.model, b"")
        try:
            return request_key(request, scope=scope, answering=answering)
        except UnkeyableError:
            return None


def alone_of(request: RequestT) -> RequestT | None:
    """The request that would be put to a model by itself, for one that may share a call: its answer is as good."""
    if not isinstance(request, CompletionRequest) or request.gatherer is None:
        return None
    return replace(request, gatherer=None)


def taped(request: RequestT) -> "tuple[RequestT, Tape | None]":
    """The request with a tape in its sink, and that tape, where its answer is streamed."""
    if not isinstance(request, ForwardRequest) or request.sink is None:
        return request, None
    tape = Tape(request.sink)
    return replace(request, sink=tape.write), tape


class Tape:
    """Passes events on and keeps them, up to MOST_EVENT_BYTES."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def is_full(self) -> bool:
        """Whether more came than is kept."""
        return self._size > MOST_EVENT_BYTES

    @property
    def events(self) -> bytes:
        """Everything that came."""
        return b"".join(self._parts)

    async def write(self, part: bytes) -> None:
        """Pass a part on."""
        self._size += len(part)
        if self.is_full:
            self._parts.clear()
        else:
            self._parts.append(part)
        await self._sink(part)
