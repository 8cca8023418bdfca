"""Makes calls of the log, or the rows of a file, again through another version or model, and compares the answers.

A replay is never answered from the cache and stores nothing there; each is a call of its own, of the purpose `replay`.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from feedback_gateway.calls.pairs import Pair, Side
from feedback_gateway.consumers.models import Consumer
from feedback_gateway.errors import ConfigurationError, GatewayError
from feedback_gateway.evaluation.pricing import Estimate, Pricing
from feedback_gateway.llm.models import CompletionRequest
from feedback_gateway.llm.opening import fallbacks_of
from feedback_gateway.services import Services
from feedback_gateway.tasks.models import Answer, CallOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Through what calls are made again; None is what the configuration says."""

    version: int | None = None
    model: str | None = None

    @property
    def options(self) -> CallOptions:
        """How each call is made."""
        return CallOptions(model=self.model, prompt_version=self.version, cache="bypass", purpose="replay")


BASELINE = CallOptions(purpose="replay")
"""How a row is answered that has no answer yet: as the configuration says, from the cache where it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """One item to ask about again. `result` is what was answered before, None where nothing was."""

    task: str
    item: Mapping[str, Any] = field(repr=False)
    result: Any = field(default=None, repr=False)
    call_id: str | None = None
    version: int = 0
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(slots=True, kw_only=True)
class Plan:
    """What is about to be done: `rows` to ask about, and what they will cost.

    `done` has results of an earlier replay by call id; `left_out` says why others are not asked about, and how many.
    """

    rows: list[Earlier]
    estimate: Estimate
    done: Mapping[str, Any] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What came of a replay so far; costs in USD, `unpriced` calls left out."""

    pairs: list[Pair] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    cost_usd: Decimal = Decimal(0)
    unpriced: int = 0

    def add_cost(self, cost_usd: Decimal | None) -> None:
        """Count what one call cost."""
        self.calls += 1
        self.unpriced += cost_usd is None
        self.cost_usd += cost_usd or 0


class Replay:
    """Runs through the ordinary services, for `consumer`, whose budgets hold."""

    def __init__(self, services: Services, target: Target, *, consumer: Consumer) -> None:
        self._services = services
        self._target = target
        self._consumer = consumer

    def plan(self, rows: Iterator[Earlier], *, limit: int, is_resumed: bool) -> Plan:
        """Read what is to be asked about, each text once, and price it. Blocks. Raises InvalidRequest and the like.

        With `is_resumed` what an earlier replay of the same kind has answered is not asked about again.
        """
        plan = Plan(rows=[], estimate=Estimate())
        seen: set[bytes] = set()
        for row in rows:
            key = blake2b(json.dumps([row.task, row.item], sort_keys=True).encode(), digest_size=16).digest()
            if row.task not in self._services.registry.names():
                count(plan.left_out, "of no task")
            elif key in seen:
                count(plan.left_out, "the same text again")
            elif len(plan.rows) == limit:
                count(plan.left_out, f"over the limit of {limit:,}")
            else:
                seen.add(key)
                plan.rows.append(row)
        for task in {row.task for row in plan.rows}:
            self._resolved(task)  # a target that there is not is told of once, and before it is paid for
        if is_resumed:
            plan.done = self._done(plan.rows)
        self._price(plan)
        return plan

    async def run(self, plan: Plan, *, report: Callable[[Outcome], None] = lambda _: None) -> Outcome:
        """Ask, as many at a time as `limits.concurrency` says. Pairs stand in the order in which they are answered."""
        outcome = Outcome()
        waiting = iter(plan.rows)

        async def work() -> None:
            for row in waiting:
                await self._again(row, plan, outcome)
                report(outcome)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._services.settings.limits.concurrency, len(plan.rows))):
                group.create_task(work())
        return outcome

    async def _again(self, row: Earlier, plan: Plan, outcome: Outcome) -> None:
        """Ask about one row, and about what it is to be compared with where nobody has yet."""
        try:
            if row.result is None:
                row = answered(row, await self._ask(row, BASELINE, outcome))
            if row.call_id is not None and row.call_id in plan.done:
                version, model = self._resolved(row.task)
                beside = side("", version, model, plan.done[row.call_id])
            else:
                answer = await self._ask(row, replace(self._target.options, beside=row.call_id), outcome)
                beside = side(answer.call_id, answer.prompt_version, answer.model, answer.result)
        except GatewayError as error:
            count(outcome.failures, f"{error.code}: {error.detail}")
            return
        before = side(row.call_id or "", row.version, row.model, row.result)
        outcome.pairs.append(Pair(purpose="replay", answered=before, beside=beside, inputs=row.item))

    async def _ask(self, row: Earlier, options: CallOptions, outcome: Outcome) -> Answer:
        try:
            answer = await self._services.tasks.run(row.task, row.item, consumer=self._consumer, options=options)
        except GatewayError as error:
            outcome.add_cost(error.cost_usd if error.call_id else Decimal(0))
            raise
        outcome.add_cost(answer.receipt.cost_usd)
        return answer

    def _done(self, rows: Sequence[Earlier]) -> dict[str, Any]:
        """What was replayed before, by the id of the call that was."""
        found: dict[str, Any] = {}
        for task in {row.task for row in rows}:
            ids = [row.call_id for row in rows if row.task == task and row.call_id is not None]
            version, model = self._resolved(task)
            found |= self._services.books.pairs.replayed(ids, version=version, model=model)
        return found

    def _resolved(self, task: str) -> tuple[int, str]:
        """The version and alias that a replay of `task` is made by."""
        return self._services.tasks.resolve(task, consumer=self._consumer, options=self._target.options)

    def _price(self, plan: Plan) -> None:
        """What is still to be asked about, and what that costs."""
        outputs = [row.output_tokens for row in plan.rows if row.output_tokens]
        mean = -(-sum(outputs) // len(outputs)) if outputs else 0
        for row in plan.rows:
            if row.call_id not in plan.done:
                self._price_one(plan.estimate, row, self._target.options, mean=mean)
            if row.result is None:
                self._price_one(plan.estimate, row, BASELINE, mean=mean)

    def _price_one(self, estimate: Estimate, row: Earlier, options: CallOptions, *, mean: int) -> None:
        try:
            request = self._services.tasks.preview(row.task, row.item, consumer=self._consumer, options=options)
        except ConfigurationError:
            raise
        except GatewayError:
            return  # what cannot be asked costs nothing, and is told of when it is asked
        self._pricing(request).add(
            estimate,
            request,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens or mean or request.max_tokens,
        )

    def _pricing(self, request: CompletionRequest) -> Pricing:
        services = self._services
        reachable = fallbacks_of(services.settings).reachable(request.model)
        return Pricing(
            own=[one for one in services.deployments if one.alias == request.model],
            reachable=[one for one in services.deployments if one.alias in reachable],
            attempts=services.settings.retry.attempts,
        )


def answered(row: Earlier, answer: Answer) -> Earlier:
    """The row with its first answer."""
    return replace(row, result=answer.result, call_id=answer.call_id, version=answer.prompt_version, model=answer.model)


def side(call_id: str, version: int, model: str, result: Any) -> Side:
    """One of the two answers to a row."""
    return Side(call_id=call_id, version=version, model=model, status="ok", result=result)


def count(counts: dict[str, int], what: str) -> None:
    """One more."""
    counts[what] = counts.get(what, 0) + 1
