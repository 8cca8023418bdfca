"""A client of Redis behind one breaker: nobody waits long for one that is dead or frozen, and few at all."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha1
from typing import Any, TypeVar

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, NoScriptError, ReadOnlyError, RedisError, ResponseError

from feedback_gateway.clock import Clock
from feedback_gateway.errors import ConfigurationError
from feedback_gateway.redis_link.breaker import Breaker
from feedback_gateway.redis_link.models import RedisSilentError, RedisState

PATIENCE_S = 0.05
SLICES = 10
HELD_UP = 3
"""Patience with a Redis that may be well, as this process is held up: so many times longer."""
COMMAND_S = 1.0
REST_S = 3.0
SLOW = 3
"""Slices that recent answers may take on average: a request asks Redis several times, and would wait for each."""
RECENT = 8
UNUSABLE = (ReadOnlyError, ClusterDownError)
"""Error replies that no question escapes: of a replica, and of one without its master."""
AT_ONCE = 2
"""Batches of commands that are under way at the same time: as many, and no more, wait when Redis falls silent."""
MOST_TOGETHER = 64
"""Commands of one batch."""

T = TypeVar("T")
Word = bytes | str | int | float

log = logging.getLogger(__name__)


class UnknownScriptError(Exception):
    """Redis has not been told a script since it was started."""


class Script:
    """A script of Redis's, and what Redis knows it by."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = sha1(text.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Asked:
    """A command that waits to be sent, and where what Redis says to it goes."""

    words: tuple[Word, ...]
    said: "asyncio.Future[Any]"

    def settle(self, reply: object) -> None:
        """Give what Redis said, or raise it, where it is awaited."""
        if self.said.done():
            return
        if isinstance(reply, Exception):
            self.said.set_exception(reply)
        else:
            self.said.set_result(reply)


class RedisLink:
    """Asks Redis for everybody in the process: one pool of connections, one breaker.

    Commands that are asked for at the same time travel together. Nobody waits for an answer longer than `patience_s`
    seconds; a batch that was left goes on by itself, so that its connection is there for the next one.
    """

    def __init__(self, client: Redis, *, clock: Clock, patience_s: float = PATIENCE_S) -> None:
        self._client = client
        self._clock = clock
        self._breaker = Breaker(clock.monotonic, rest_s=REST_S)
        self._patience = patience_s
        self._waiting: list[Asked] = []
        self._senders = 0
        self._asking: set[asyncio.Future[Any]] = set()
        self._trouble: str | None = None
        self._refused: set[type[RedisError]] = set()
        self._usual = 0.0
        self._since = clock.now()
        self._openings = self._failures = self._refusals = 0

    @property
    def state(self) -> RedisState:
        """What is known of Redis without asking it."""
        return RedisState(
            is_open=self._breaker.is_open,
            since=self._since,
            openings=self._openings,
            failures=self._failures,
            refusals=self._refusals,
            trouble=self._trouble,
        )

    async def command(self, *words: Word) -> Any:
        """What Redis says to one command, a short one. Raises RedisSilentError where it says nothing.

        An error of Redis about this command (no memory, a key of another type) is none to the asker either, but says
        nothing against Redis: it keeps nobody else from asking.
        """
        asked = Asked(words, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._senders < AT_ONCE:
            self._senders += 1
            self._put(self._send())
        return await asked.said

    async def script(self, script: Script, keys: Sequence[Word], *arguments: Word) -> Any:
        """What a script says, which Redis is told once and knows by its digest from then on."""
        try:
            return await self.command("EVALSHA", script.digest, len(keys), *keys, *arguments)
        except UnknownScriptError:
            return await self.command("EVAL", script.text, len(keys), *keys, *arguments)

    async def check(self) -> str | None:
        """Ask Redis, where it is not left alone, and tell what is wrong."""
        with suppress(RedisSilentError):
            await self.command("PING")
        return self._trouble

    async def aclose(self) -> None:
        """End the questions that nobody waits for."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _send(self) -> None:
        """Send whatever waits, batch after batch, until nothing does."""
        try:
            while self._waiting:
                await asyncio.sleep(0)  # whoever asks in this turn of the loop comes along
                batch, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
                for asked, reply in zip(batch, await self._replies(batch), strict=True):
                    asked.settle(reply)
        finally:
            self._senders -= 1

    async def _replies(self, batch: Sequence[Asked]) -> Sequence[object]:
        """What Redis says to each command of a batch; RedisSilentError where that is nothing."""
        silence = [RedisSilentError() for _ in batch]
        ticket = self._breaker.ask()
        if ticket is None:
            self._refusals += len(batch)
            return silence
        pipeline = self._client.pipeline(transaction=False)
        for asked in batch:
            pipeline.execute_command(*asked.words)
        answer = self._put(pipeline.execute(raise_on_error=False))
        try:
            slices = await self._wait_for(answer)
            replies = answer.result()
            unusable = next((one for one in replies if is_unusable(one)), None)
            if unusable is not None:
                raise unusable
        except (RedisError, OSError) as error:
            self._note_silence(ticket, f"does not answer ({type(error).__name__})")
            return silence
        if self._breaker.is_open:  # a probe: what was before says nothing of how it is now
            self._usual = slices
        self._usual += (slices - self._usual) / RECENT
        if self._usual > SLOW:
            self._note_silence(ticket, "is slow")
        else:
            self._note_answer(ticket)
        return [self._understood(reply) for reply in replies]

    def _understood(self, reply: object) -> object:
        if isinstance(reply, NoScriptError):
            return UnknownScriptError()
        if isinstance(reply, RedisError):
            self._note_refusal(reply)
            return RedisSilentError()
        return reply

    def _put(self, answering: Awaitable[T]) -> "asyncio.Future[T]":
        answer = asyncio.ensure_future(answering)
        self._asking.add(answer)
        answer.add_done_callback(self._forget)
        return answer

    async def _wait_for(self, answer: "asyncio.Future[Any]") -> int:
        """Wait until it is there, and tell for how many of the slices of our patience. Raises TimeoutError.

        While this process is held up answers wait here as well: a slice that lasted far longer than it should is no
        time that Redis took, up to a limit.
        """
        loop, slice_s = asyncio.get_running_loop(), self._patience / SLICES
        begun, taken = loop.time(), 0
        while taken < SLICES and loop.time() - begun < HELD_UP * self._patience:
            before = loop.time()
            done, _ = await asyncio.wait({answer}, timeout=slice_s)
            if done:
                return taken
            taken += loop.time() - before < 2 * slice_s
        raise TimeoutError

    def _forget(self, task: asyncio.Future[Any]) -> None:
        self._asking.discard(task)
        if not task.cancelled():
            task.exception()  # taken, or asyncio would complain that nobody did

    def _note_silence(self, ticket: int, what: str) -> None:
        self._failures += 1
        if self._breaker.fail(ticket):
            self._openings += 1
            self._since = self._clock.now()
            self._trouble = f"Redis {what}: each process goes on alone"
            log.warning("%s", self._trouble)

    def _note_refusal(self, refusal: RedisError) -> None:
        self._failures += 1
        if type(refusal) not in self._refused:  # once for each kind: it may come with every question
            self._refused.add(type(refusal))
            log.warning("Redis refused a question (%s): each process goes on alone there", type(refusal).__name__)

    def _note_answer(self, ticket: int) -> None:
        if self._breaker.answer(ticket):
            self._since = self._clock.now()
            self._trouble = None
            log.warning("Redis answers again: the processes share what they know")


def is_unusable(reply: object) -> bool:
    """Whether a reply says that Redis as a whole cannot be used: that it reads its file still, or is no master."""
    if isinstance(reply, UNUSABLE):
        return True
    return isinstance(reply, RedisError) and not isinstance(reply, ResponseError)


@asynccontextmanager
async def open_link(url: str, *, clock: Clock, patience_s: float = PATIENCE_S) -> AsyncIterator[RedisLink]:
    """A link to the Redis at `url`, which need not be there. Raises ConfigurationError for what is no such URL."""
    async with client_of(url, timeout_s=COMMAND_S) as client:
        link = RedisLink(client, clock=clock, patience_s=patience_s)
        try:
            yield link
        finally:
            await link.aclose()


@asynccontextmanager
async def client_of(url: str, *, timeout_s: float) -> AsyncIterator[Redis]:
    """A client that gives up after `timeout_s` seconds to connect or to be answered, and never tries again."""
    try:
        pool = ConnectionPool.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
        )
    except ValueError:
        raise ConfigurationError("redis_url: must be redis://…, rediss://… or unix://…") from None
    client = Redis(connection_pool=pool)
    try:
        yield client
    finally:
        await client.aclose()
        await pool.aclose()


async def ping(url: str, *, timeout_s: float) -> str | None:
    """What keeps the Redis at `url` from answering, without the URL; None where it answers.

    Raises ConfigurationError for what is no such URL.
    """
    async with client_of(url, timeout_s=timeout_s) as client:
        try:
            await client.ping()
        except (RedisError, OSError) as error:
            return type(error).__name__
    return None
