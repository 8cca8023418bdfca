"""Calls with money behind them: the real stack, ledger, recorder and log on one database; providers do as told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain, repeat
from random import Random

from sqlalchemy import Engine

from feedback_gateway.calls.models import Call
from feedback_gateway.calls.recorder import Recorder
from feedback_gateway.calls.repository import CallRepository
from feedback_gateway.calls.writer import BatchWriter
from feedback_gateway.clock import Clock, SystemClock
from feedback_gateway.consumers.models import Consumer
from feedback_gateway.errors import GatewayError
from feedback_gateway.ledger.models import Budget, Entry, Grant, Hold, Refusal, Standing
from feedback_gateway.ledger.repository import LedgerRepository
from feedback_gateway.ledger.service import Ledger
from feedback_gateway.llm.budgeting import bound_of
from feedback_gateway.llm.chains import Fallbacks
from feedback_gateway.llm.health import Rules
from feedback_gateway.llm.health_watch import HealthWatch
from feedback_gateway.llm.models import (
    Completion,
    CompletionClient,
    CompletionRequest,
    Deployment,
    Message,
    Rates,
    Usage,
)
from feedback_gateway.llm.scripted import answer
from feedback_gateway.llm.stack import Stack
from feedback_gateway.ratelimits.opening import memory_limiter

Step = Completion | GatewayError | Callable[[CompletionRequest, Call], Awaitable[Completion]]
Write = Callable[[Sequence[Hold]], list[Grant | Refusal]]

RATES = Rates(input=Decimal("0.000001"), output=Decimal("0.000002"))
ONE = Deployment(alias="default", name="one", model="scripted/one", rates=RATES)
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["good", "bad"]}},
    "required": ["label"],
    "additionalProperties": False,
}
USED = Usage(uncached_input_tokens=100, output_tokens=20)
COST = Decimal("0.00014")
GOOD = answer('{"label": "good"}', usage=USED)
BAD = answer('{"label": "great"}', usage=USED)


def request(text: str = "I love it.", *, max_tokens: int = 100) -> CompletionRequest:
    """A question."""
    return CompletionRequest(
        model="default",
        messages=(Message("system", "Judge."), Message("user", text)),
        output_schema=SCHEMA,
        max_tokens=max_tokens,
        task="rate",
    )


def bound(deployment: Deployment = ONE, *, of: CompletionRequest | None = None) -> Decimal:
    """The most that one attempt may cost."""
    found = bound_of(of or request(), deployment)
    assert found is not None
    return found


def team(*limits: Decimal, name: str = "team") -> Consumer:
    """A consumer with budgets for each day."""
    return Consumer(name=name, budgets=tuple(Budget(limit_usd=limit, period="day") for limit in limits))


class Teller:
    """A provider that plays its steps, the last one for ever; `requests` is what reached it."""

    def __init__(self, *steps: Step) -> None:
        self._steps = chain(steps, repeat(steps[-1]))
        self.requests: list[CompletionRequest] = []

    async def prepare(self) -> None:
        """Nothing to load."""

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Play the next step."""
        self.requests.append(request)
        step = next(self._steps)
        if isinstance(step, GatewayError):
            raise step
        return step if isinstance(step, Completion) else await step(request, call)


class Gate:
    """A step that says when it was reached and goes on when it is let."""

    def __init__(self, then: Completion | GatewayError = GOOD) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        self._then = then

    async def __call__(self, _request: CompletionRequest, _call: Call) -> Completion:
        """Wait, then answer or fail."""
        self.reached.set()
        await self.opened.wait()
        if isinstance(self._then, GatewayError):
            raise self._then
        return self._then


@dataclass(kw_only=True)
class Till:
    """What a test looks at."""

    money: LedgerRepository
    log: CallRepository
    purse: Ledger
    writer: BatchWriter
    recorder: Recorder
    client: CompletionClient
    clock: Clock
    made: list[Call] = field(default_factory=list)

    async def ask(
        self, consumer: Consumer, *, wanted: CompletionRequest | None = None, timeout_s: float | None = None
    ) -> Completion:
        """One call, as the task service makes it."""
        wanted = wanted or request()
        async with self.recorder.record(consumer, "rate", 1, wanted.model, timeout_s=timeout_s) as call:
            self.made.append(call)
            return await self.client.complete(wanted, call)

    async def settle(self) -> None:
        """Until every call is in the books."""
        await self.recorder.drain(10.0)
        await self.writer.flush()

    def standing(self, consumer: Consumer) -> Standing:
        """How its first budget stands."""
        return self.money.standings(consumer.name, consumer.budgets[:1], now=self.clock.now())[0]

    def lines(self, consumer: Consumer) -> list[Entry]:
        """Its lines of the ledger, first to last."""
        return self.money.entries(consumer=consumer.name, limit=100_000)[::-1]


@asynccontextmanager
async def open_till(
    engine: Engine,
    tellers: Sequence[tuple[Deployment, Teller]],
    *,
    fallbacks: Mapping[str, Sequence[str]] | None = None,
    attempts: int = 3,
    clock: Clock | None = None,
    write: Callable[[Write], Write] = lambda hold: hold,
    store: Callable[[Callable[[Sequence[Call]], None]], Callable[[Sequence[Call]], None]] = lambda add: add,
) -> AsyncIterator[Till]:
    """Open it; `write` and `store` may stand between the ledger or the log and the database."""
    clock = clock or SystemClock()
    by_name = {deployment.name: teller for deployment, teller in tellers}
    async with AsyncExitStack() as stack:
        money, log = LedgerRepository(engine), CallRepository(engine)
        writer = BatchWriter(store(log.add), clock, max_delay_s=0.002, backoff_s=0.001, max_backoff_s=0.01)
        writer.start()
        stack.push_async_callback(writer.close)
        recorder = Recorder(clock, writer, attempts=attempts, deadline_s=30.0)
        stack.push_async_callback(recorder.drain, 5.0)
        purse = Ledger(write(money.hold), owner="test", hurry=writer.hurry)
        stack.push_async_callback(purse.close)
        wrappers = Stack(
            deployments=[deployment for deployment, _ in tellers],
            fallbacks=Fallbacks(general=fallbacks or {}),
            routing={},
            health=HealthWatch([deployment for deployment, _ in tellers], rules=Rules(), clock=clock),
            purse=purse,
            backoff_s=0.001,
            max_backoff_s=0.002,
            limiter=memory_limiter(clock),
            clock=clock,
            random=Random(1),
        )
        client = wrappers.tasks(lambda deployment: by_name[deployment.name])
        yield Till(money=money, log=log, purse=purse, writer=writer, recorder=recorder, client=client, clock=clock)
