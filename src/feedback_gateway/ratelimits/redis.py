"""The windows in Redis, shared by every process that counts there, and what happens while Redis does not answer."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from limits.aio.storage import RedisStorage
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from feedback_gateway.clock import Clock
from feedback_gateway.errors import ConfigurationError, RateLimited
from feedback_gateway.ratelimits.breaker import Breaker
from feedback_gateway.ratelimits.limiter import WindowLimiter
from feedback_gateway.ratelimits.models import Allowance, RateLimiter, Scope, Standing

PREFIX = "feedback-gateway:limits"
PATIENCE_S = 0.05
SLICES = 10
COMMAND_S = 1.0
REST_S = 3.0
AT_ONCE = 8
"""Questions to Redis at the same time: as many, and no more, wait when it falls silent."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class RedisSilentError(Exception):
    """Redis did not answer, or is left alone because it did not."""


class SharedLimiter:
    """Counts in Redis, and in this process alone while Redis does not answer.

    What Redis admitted is counted here as well, so that a process which loses Redis goes on from its own use.
    What is admitted while Redis is silent it never learns of. Nobody waits for it longer than `patience_s` seconds; a
    question that was left goes on by itself, so that its connection is there for the next one.
    """

    def __init__(self, client: Redis, *, local: RateLimiter, clock: Clock, patience_s: float = PATIENCE_S) -> None:
        pool: Any = client.connection_pool
        storage = RedisStorage("async+redis://", implementation="redispy", key_prefix=PREFIX, connection_pool=pool)
        self._client = client
        self._shared = WindowLimiter(storage, now=lambda: clock.now().timestamp())
        self._local = local
        self._breaker = Breaker(clock.monotonic, rest_s=REST_S)
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._patience = patience_s
        self._asking: set[asyncio.Task[Any]] = set()
        self._trouble: str | None = None

    async def admit(self, scope: Scope, name: str, allowance: Allowance, *, tokens: int) -> Standing | None:
        """Count one request of `tokens` tokens. Raises RateLimited, and never because of Redis."""
        if not allowance.is_limited:
            return None
        try:
            standing = await self._ask(lambda: self._shared.admit(scope, name, allowance, tokens=tokens))
        except RedisSilentError:
            return await self._local.admit(scope, name, allowance, tokens=tokens)
        with suppress(RateLimited):
            await self._local.admit(scope, name, allowance, tokens=tokens)
        return standing

    async def check(self) -> str | None:
        """Ask Redis, where it is not left alone, and tell what is wrong."""
        with suppress(RedisSilentError):
            await self._ask(self._ping)
        return self._trouble

    async def aclose(self) -> None:
        """End the questions that nobody waits for."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _ping(self) -> None:
        await self._client.ping()

    async def _ask(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async with self._gate:
            ticket = self._breaker.ask()
            if ticket is None:
                raise RedisSilentError
            try:
                answer = await self._patiently(question())
            except (RedisError, OSError) as error:
                self._note_silence(ticket, error)
                raise RedisSilentError from None
            except RateLimited:
                self._note_answer(ticket)
                raise
            self._note_answer(ticket)
            return answer

    async def _patiently(self, answering: Coroutine[Any, Any, T]) -> T:
        """The answer, if it comes in time. Raises TimeoutError.

        Time is taken in slices: while this process stands still answers wait as well, and that counts as one of them.
        """
        task = asyncio.create_task(answering)
        self._asking.add(task)
        task.add_done_callback(self._forget)
        for _ in range(SLICES):
            done, _ = await asyncio.wait({task}, timeout=self._patience / SLICES)
            if done:
                return task.result()
        raise TimeoutError

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._asking.discard(task)
        if not task.cancelled():
            task.exception()  # taken, or asyncio would complain that nobody did

    def _note_silence(self, ticket: int, error: Exception) -> None:
        if self._breaker.fail(ticket):
            self._trouble = f"Redis does not answer ({type(error).__name__}): each process counts rate limits alone"
            log.warning("%s", self._trouble)

    def _note_answer(self, ticket: int) -> None:
        if self._breaker.answer(ticket):
            self._trouble = None
            log.warning("Redis answers again: rate limits are counted together")


@asynccontextmanager
async def open_shared_limiter(
    url: str, *, local: RateLimiter, clock: Clock, patience_s: float = PATIENCE_S
) -> AsyncIterator[SharedLimiter]:
    """A limiter over the Redis at `url`, which need not be there. Raises ConfigurationError for what is no such URL."""
    async with client_of(url, timeout_s=COMMAND_S) as client:
        limiter = SharedLimiter(client, local=local, clock=clock, patience_s=patience_s)
        try:
            yield limiter
        finally:
            await limiter.aclose()


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
