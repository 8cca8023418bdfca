"""A client of Redis behind one breaker: nobody waits long for one that is dead or frozen, and few at all."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, ReadOnlyError, RedisError, ResponseError

from feedback_gateway.clock import Clock
from feedback_gateway.errors import ConfigurationError, GatewayError
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
AT_ONCE = 8
"""Questions to Redis at the same time: as many, and no more, wait when it falls silent."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class RedisLink:
    """Asks Redis for everybody in the process: one pool of connections, one breaker.

    Nobody waits for an answer longer than `patience_s` seconds; a question that was left goes on by itself, so that its
    connection is there for the next one.
    """

    def __init__(self, client: Redis, *, clock: Clock, patience_s: float = PATIENCE_S) -> None:
        self._client = client
        self._clock = clock
        self._breaker = Breaker(clock.monotonic, rest_s=REST_S)
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._patience = patience_s
        self._asking: set[asyncio.Future[Any]] = set()
        self._trouble: str | None = None
        self._refused: set[type[ResponseError]] = set()
        self._usual = 0.0
        self._since = clock.now()
        self._openings = self._failures = self._refusals = 0

    @property
    def pool(self) -> ConnectionPool:
        """The connections, for a library that brings a client of its own; it is to be used inside of `ask` only."""
        return self._client.connection_pool

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

    async def ask(self, question: Callable[[Redis], Awaitable[T]]) -> T:
        """The answer to `question`, which is given the client. Raises RedisSilentError where there is none.

        A question must be short: no blocking commands, no waiting for something else. What it raises of the gateway's
        own errors is an answer, and is passed on. An error of Redis about this question (no memory, a key of another
        type) is none to the asker, but says nothing against Redis: it keeps nobody else from asking.
        """
        async with self._gate:
            ticket = self._breaker.ask()
            if ticket is None:
                self._refusals += 1
                raise RedisSilentError
            answer = self._put(question(self._client))
            try:
                slices = await self._wait_for(answer)
                refusal = answer.exception()
                if isinstance(refusal, UNUSABLE) or not isinstance(refusal, ResponseError | GatewayError | None):
                    raise refusal
            except (RedisError, OSError) as error:
                self._note_silence(ticket, f"does not answer ({type(error).__name__})")
                raise RedisSilentError from None
            self._usual += (slices - self._usual) / RECENT
            if self._usual > SLOW:
                self._note_silence(ticket, "is slow")
            else:
                self._note_answer(ticket)
            if isinstance(refusal, ResponseError):
                self._note_refusal(refusal)
                raise RedisSilentError
            return answer.result()

    async def check(self) -> str | None:
        """Ask Redis, where it is not left alone, and tell what is wrong."""
        with suppress(RedisSilentError):
            await self.ask(answered)
        return self._trouble

    async def aclose(self) -> None:
        """End the questions that nobody waits for."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

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

    def _note_refusal(self, refusal: ResponseError) -> None:
        self._failures += 1
        if type(refusal) not in self._refused:  # once for each kind: it may come with every question
            self._refused.add(type(refusal))
            log.warning("Redis refused a question (%s): each process goes on alone there", type(refusal).__name__)

    def _note_answer(self, ticket: int) -> None:
        if self._breaker.answer(ticket):
            self._since = self._clock.now()
            self._trouble = None
            log.warning("Redis answers again: the processes share what they know")


async def answered(client: Redis) -> None:
    """The shortest question."""
    await client.ping()


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
