"""Runs tasks: an item in, a request to a model, a checked answer out; one at a time or many at once."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from feedback_gateway.calls.models import Call
from feedback_gateway.calls.recorder import Recorder
from feedback_gateway.clock import Clock
from feedback_gateway.consumers.admission import Admission
from feedback_gateway.consumers.models import Consumer
from feedback_gateway.errors import DeadlineExceeded, GatewayError, InvalidRequest, Problem
from feedback_gateway.llm.models import Completion, CompletionClient, CompletionRequest
from feedback_gateway.llm.tokens import token_estimate
from feedback_gateway.prompts.examples import with_shown
from feedback_gateway.prompts.render import render
from feedback_gateway.redaction.redactor import Redactor
from feedback_gateway.tasks.checks import Checked, check_answer
from feedback_gateway.tasks.examples import ExampleBook, Lesson
from feedback_gateway.tasks.injection import speaks_to_model
from feedback_gateway.tasks.inputs import Item, as_texts, id_of, id_problems, parse_item, text_problems
from feedback_gateway.tasks.labels import differ, labels_of
from feedback_gateway.tasks.models import Answer, CallOptions, Failure, Preference
from feedback_gateway.tasks.orders import Order, answer_of, policy_of, question_of, repeat_of, taxonomy_for
from feedback_gateway.tasks.packing import Packing
from feedback_gateway.tasks.registry import Task, TaskRegistry
from feedback_gateway.tasks.rollout import Deprecations, Rollout
from feedback_gateway.tasks.shadows import Shadows
from feedback_gateway.tasks.taxonomy import Taxonomy
from feedback_gateway.tasks.taxonomy_file import TaxonomyFile
from feedback_gateway.tasks.twins import Twins

T = TypeVar("T")

logger = logging.getLogger(__name__)

LOOK_AHEAD = 4
NO_PREFERENCE = Preference()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one item and one request may take: characters a string, and items worked on at the same time."""

    text_chars: int
    concurrency: int


class TaskService:
    """The product's one entrance, for HTTP, the command line and background work alike."""

    def __init__(
        self,
        *,
        registry: TaskRegistry,
        client: CompletionClient,
        recorder: Recorder,
        admission: Admission,
        redactor: Redactor | None,
        taxonomy: TaxonomyFile,
        examples: ExampleBook,
        preferences: Mapping[str, Preference],
        rollouts: Mapping[str, Rollout],
        shadows: Shadows,
        deprecations: Deprecations,
        aliases: Sequence[str],
        limits: Limits,
        clock: Clock,
        new_fence: Callable[[], str],
        packing: Packing,
    ) -> None:
        self._registry = registry
        self._client = client
        self._recorder = recorder
        self.admission = admission
        self._redactor = redactor
        self._taxonomy = taxonomy
        self.examples = examples
        self._preferences = preferences
        self._rollouts = rollouts
        self._shadows = shadows
        self.disputes = shadows.disputes
        self.deprecations = deprecations
        self._aliases = aliases
        self._limits = limits
        self._clock = clock
        self._new_fence = new_fence
        self.packing = packing

    async def run(self, name: str, item: object, *, consumer: Consumer, options: CallOptions) -> Answer:
        """Answer one item. Raises UnknownTask, InvalidRequest, and whatever the completion raises."""
        outcome = await self._outcome(self._order(name, consumer=consumer, options=options), item)
        if isinstance(outcome, Failure):
            raise outcome.error
        return outcome

    async def run_many(
        self, name: str, items: Sequence[object], *, consumer: Consumer, options: CallOptions
    ) -> list[Answer | Failure]:
        """Answer many items, in their order; what is wrong with one is in its place and touches no other."""
        return [outcome async for outcome in self.stream(name, items, consumer=consumer, options=options)]

    async def stream(
        self, name: str, items: Iterable[object] | AsyncIterable[object], *, consumer: Consumer, options: CallOptions
    ) -> AsyncIterator[Answer | Failure]:
        """Answer items as they are pulled, in their order, `limits.concurrency` of them at the same time.

        Where its prompt has several items in a model call, it is so many calls at the same time. Reads at most four
        times as many ahead of the answer that is due.
        """
        order = self._gathered(self._order(name, consumer=consumer, options=options), items)
        packer, together = order.gatherer, 1 if order.gatherer is None else order.task.prompt.batch
        gate = asyncio.Semaphore(self._limits.concurrency) if packer is None else packer.room
        room = asyncio.Semaphore(LOOK_AHEAD * self._limits.concurrency * together)
        begun: asyncio.Queue[asyncio.Task[Answer | Failure] | None] = asyncio.Queue()
        live: set[asyncio.Task[Any]] = set()

        async def admitted(item: object) -> Answer | Failure:
            async with gate:
                try:
                    return await self._outcome(order, item)
                except Exception as fault:  # noqa: BLE001 a fault of ours with one item must not cost the others their answers
                    frames = "".join(traceback.format_tb(fault.__traceback__))  # not its message: it may quote the text
                    logger.error("an item failed with %s\n%s", type(fault).__name__, frames)  # noqa: TRY400
                    return Failure(id=id_of(item), error=GatewayError("the gateway failed with this item"))

        async def pull() -> None:
            try:
                async for item in each(items):
                    await room.acquire()
                    begun.put_nowait(begin(admitted(item), live))
            finally:
                begun.put_nowait(None)

        pulling = begin(pull(), live)
        try:
            while due := await begun.get():
                yield await due
                room.release()
            await pulling
        finally:
            for task in live:
                task.cancel()
            await asyncio.gather(*live, return_exceptions=True)
            if packer is not None:
                packer.leave()

    def _gathered(self, order: Order, items: object) -> Order:
        """The order with whoever packs its items, where there may be several and that gains anything."""
        if isinstance(items, Sequence) and len(items) == 1:
            return order
        packer = self.packing.packer(order.task.prompt, order.model, concurrency=self._limits.concurrency)
        return order if packer is None else replace(order, gatherer=packer, client=Twins(self._client))

    def preview(self, name: str, item: object, *, consumer: Consumer, options: CallOptions) -> CompletionRequest:
        """What a model would be asked for an item; nobody is. Raises UnknownTask, InvalidRequest or Forbidden."""
        order, parsed = self._order(name, consumer=consumer, options=options), parse_item(item)
        inputs = self._checked_inputs(order.task, parsed)
        masked = inputs if self._redactor is None else self._redactor.session().mask(inputs)
        taxonomy = taxonomy_for(order.task, parsed.inputs, configured=self._taxonomy.current)
        return self._request(order, masked, taxonomy, self.examples.lesson(question_of(order, inputs, taxonomy)))

    def resolve(self, name: str, *, consumer: Consumer, options: CallOptions) -> tuple[int, str]:
        """The prompt version and the alias that answer. Raises UnknownTask, InvalidRequest or Forbidden."""
        order = self._order(name, consumer=consumer, options=options)
        return order.task.version, order.model

    def _order(self, name: str, *, consumer: Consumer, options: CallOptions) -> Order:
        preference = self._preferences.get(name, NO_PREFERENCE)
        asked = options.prompt_version
        version = asked or preference.version
        task = self._registry.get(name, version)
        model = options.model or preference.model or task.prompt.model
        if options.model is not None and options.model not in self._aliases:
            known = ", ".join(self._aliases)
            problem = Problem(("options", "model"), f"no such model; there are: {known}")
            raise InvalidRequest(f"no model {options.model!r}", problems=[problem])
        model = model if model in self._aliases else self._aliases[0]
        consumer.scopes.require(task=name, model=model)
        return Order(
            task=task,
            model=model,
            preference=preference,
            consumer=consumer,
            ends_at=None if options.timeout_s is None else self._clock.monotonic() + options.timeout_s,
            options=options,
            version=version,
            client=self._client,
            rollout=None if asked or options.purpose != "answer" else self._rollouts.get(name),
        )

    def _order_of(self, order: Order, item: object, rollout: Rollout) -> Order:
        """The order with the version that answers this very item. Raises Forbidden.

        Where the canary's file was taken away meanwhile, that is the one that serves.
        """
        name, version = order.task.name, rollout.version_for(order.task.name, item)
        is_other = version != order.task.version and version in self._registry.versions(name)
        return self._with_version(order, version) if is_other else order

    def _with_version(self, order: Order, version: int, **changed: Any) -> Order:
        """The order as it would be had its caller named that version; a rollout that it has stays."""
        options = replace(order.options, prompt_version=version, **changed)
        other = self._order(order.task.name, consumer=order.consumer, options=options)
        return replace(other, ends_at=order.ends_at, rollout=order.rollout)

    def _run_beside(self, order: Order, item: object, call: Call) -> None:
        """Have another version answer the item for nobody, where that is wanted."""
        version = None if order.rollout is None else order.rollout.beside(order.task.version)
        if version is None or call.cached:  # an answer from the cache was compared when it was answered first
            return

        async def compare() -> None:
            beside = self._with_version(order, version, purpose="shadow", beside=call.call_id, timeout_s=None)
            outcome = await self._outcome(replace(beside, ends_at=None, rollout=None), item)
            labels = labels_of([order.task.result_schema, beside.task.result_schema])
            if isinstance(outcome, Answer) and differ(call.result, outcome.result, labels):
                await self.disputes.add(call.call_id)

        self._shadows.begin(compare)

    async def _outcome(self, order: Order, raw: object) -> Answer | Failure:
        call: Call | None = None
        configured = self._taxonomy.current
        try:
            self.admission.look(order.consumer)
            order = order if order.rollout is None else self._order_of(order, raw, order.rollout)
            item = parse_item(raw)
            taxonomy = taxonomy_for(order.task, item.inputs, configured=configured)
            taxonomy_version = taxonomy.version if order.task.uses_taxonomy else None
            inputs = self._checked_inputs(order.task, item)
            mask = None if self._redactor is None else self._redactor.session()
            lesson = await self.examples.ask(question_of(order, inputs, taxonomy))
            request = self._request(order, inputs if mask is None else mask.mask(inputs), taxonomy, lesson)
            remaining_s = self._remaining(order)
            tokens = token_estimate(request)
            is_shadow = order.options.purpose == "shadow"  # which takes nothing from anybody's limit
            standing = None if is_shadow else await self.admission.admit(order.consumer, tokens=tokens)
            async with self._recorder.record(
                order.consumer,
                order.task.name,
                order.task.prompt.version,
                order.model,
                timeout_s=remaining_s,
                origin=order.options.origin,
            ) as call:
                call.inputs, call.purpose, call.beside = item.inputs, order.options.purpose, order.options.beside
                call.taxonomy_version, call.examples = taxonomy_version, lesson.version
                completion = await order.client.complete(request, call)
                if mask is not None:
                    completion = replace(completion, value=mask.restore(completion.value))
                checked = self._check(order, completion, inputs, taxonomy, call=call)
                call.dropped_evidence, call.result = checked.dropped, checked.result
        except GatewayError as error:
            if call is None:
                return Failure(id=id_of(raw), error=error)
            receipt = call.receipt()
            error.call_id, error.cost_usd = call.call_id, receipt.cost_usd
            return Failure(id=id_of(raw), error=error, call_id=call.call_id, receipt=receipt)
        if order.rollout is not None:
            self._run_beside(order, raw, call)
        repeat = repeat_of(order, call, tokens=tokens, configured=configured)
        return answer_of(order, call, checked, item_id=item.id, standing=standing, repeat=repeat)

    def _request(
        self, order: Order, inputs: Mapping[str, Any], taxonomy: Taxonomy, lesson: Lesson
    ) -> CompletionRequest:
        """The question to the model, with the taxonomy, which is nobody's feedback and so is never masked.

        What is put in the place of personal data of examples is put back nowhere.
        """
        prompt = order.task.prompt
        inputs = {**inputs, "taxonomy": taxonomy.as_json()}
        fence = self._new_fence()
        shown = lesson.shown
        if shown and self._redactor is not None:
            masked = self._redactor.session().mask([text for text, _ in shown])
            shown = tuple((text, labels) for text, (_, labels) in zip(masked, shown, strict=True))
        return CompletionRequest(
            model=order.model,
            messages=with_shown(render(prompt, inputs, fence=fence), shown, token=fence),
            output_schema=order.task.answer_schema(inputs),
            max_tokens=prompt.max_tokens,
            temperature=prompt.temperature,
            task=prompt.name,
            items=(inputs,),
            taxonomy=lesson.taxonomy,
            examples=len(shown),
            prompt_digest=prompt.digest,
            fence=fence,
            cache=policy_of(order.options, prompt),
            gatherer=order.gatherer,
        )

    def _check(
        self,
        order: Order,
        completion: Completion,
        inputs: Mapping[str, Any],
        taxonomy: Taxonomy,
        *,
        call: Call,
    ) -> Checked:
        name, preference = order.task.name, order.preference
        calibration = preference.calibrations.find(
            name, order.task.version, deployment=call.deployment, taxonomy_version=call.taxonomy_version
        )
        return check_answer(
            completion,
            task=name,
            inputs=inputs,
            taxonomy=taxonomy,
            review_below=preference.review_below,
            reviewed="needs_review" in order.task.result_schema["properties"],
            suspected=speaks_to_model(inputs),
            calibration=None if call.examples else calibration,  # it was measured without them
        )

    def _checked_inputs(self, task: Task, item: Item) -> Mapping[str, Any]:
        """The inputs in the one form that the task works on, but for the taxonomy."""
        problems = [
            *text_problems(item.inputs, most_chars=self._limits.text_chars),
            *id_problems(item.inputs),
            *task.check_item(item.inputs),
        ]
        if problems:
            place = ".".join(str(part) for part in problems[0].loc) or "the item"
            detail = f"the item does not fit the task {task.name!r}: {place}: {problems[0].msg}"
            raise InvalidRequest(detail, problems=problems)
        inputs = as_texts(item) if "texts" in task.prompt.input_schema.get("properties", {}) else item.inputs
        return {name: value for name, value in inputs.items() if name != "taxonomy"}

    def _remaining(self, order: Order) -> float | None:
        if order.ends_at is None:
            return None
        remaining = order.ends_at - self._clock.monotonic()
        if remaining <= 0:
            raise DeadlineExceeded("the request's time was over before this item's turn")
        return remaining


def begin(work: Coroutine[Any, Any, T], live: set[asyncio.Task[Any]]) -> asyncio.Task[T]:
    """Start `work` and keep it in `live` until it is done."""
    task = asyncio.create_task(work)
    live.add(task)
    task.add_done_callback(live.discard)
    return task


async def each(items: Iterable[object] | AsyncIterable[object]) -> AsyncIterator[object]:
    """One way to walk both kinds of sequences."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    for item in items:
        yield item
