"""Works on one bundle: asks the task service for its items, and records each answer as it comes, once."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Sequence

from feedback_gateway.calls.retention import to_its_end
from feedback_gateway.consumers.models import LOCAL, Consumer
from feedback_gateway.consumers.service import Consumers
from feedback_gateway.errors import Forbidden, GatewayError, NotFound
from feedback_gateway.feedback.models import Run
from feedback_gateway.jobs.models import Found, Later, Outcome, Work
from feedback_gateway.jobs.policy import outcome_of
from feedback_gateway.jobs.repository import RunRepository
from feedback_gateway.tasks.models import Answer, CallOptions, Failure
from feedback_gateway.tasks.service import TaskService

logger = logging.getLogger(__name__)

Hold = Callable[[str | None, float], None]
Done = tuple[Run, Outcome]


class Analyst:
    """Does the work."""

    def __init__(self, tasks: TaskService, runs: RunRepository, consumers: Consumers) -> None:
        self._tasks = tasks
        self._runs = runs
        self._consumers = consumers
        tasks.disputes.listener = self._dispute

    async def analyse(self, bundle: str, *, hold: Hold) -> None:
        """Give every run of `bundle` that has none an outcome. Doing it twice does nothing twice.

        `hold` is told who had better wait for how many seconds: a consumer, or None for everybody. Raises GatewayError
        where the outcomes cannot be stored.
        """
        work = await asyncio.to_thread(self._runs.work, bundle)
        if not work:
            return
        consumer = work[0].item.consumer
        async for done in gathered(self._outcomes(work)):
            await to_its_end(self._runs.record, done)
            for _, outcome in done:
                if isinstance(outcome, Found) and outcome.call_id in self._tasks.disputes:
                    await self._dispute(outcome.call_id)  # which was said before there was anything to note it at
                if isinstance(outcome, Later) and outcome.held != "run":
                    hold(consumer if outcome.held == "consumer" else None, outcome.seconds)

    async def _outcomes(self, work: Sequence[Work]) -> AsyncIterator[Done]:
        """What came of each run, in their order; they are of one consumer, task and set of options."""
        first = work[0].run
        items = [{"id": one.item.item_id, "text": one.item.text} for one in work]
        given = 0
        try:
            consumer = await asyncio.to_thread(self._consumer, work[0].item.consumer)
            options = CallOptions(**first.options)
            async for answer in self._tasks.stream(first.task, items, consumer=consumer, options=options):
                yield work[given].run, self._outcome(answer, tries=work[given].run.tries)
                given += 1
        except Exception as error:  # noqa: BLE001 - what went wrong with a bundle must not stop the others
            failure = error if isinstance(error, GatewayError) else fault(error)
            for one in work[given:]:
                yield one.run, outcome_of(failure, tries=one.run.tries)

    def _outcome(self, answer: Answer | Failure, *, tries: int) -> Outcome:
        if isinstance(answer, Failure):
            return outcome_of(answer.error, tries=tries)
        return Found(
            prompt_version=answer.prompt_version,
            taxonomy_version=answer.taxonomy_version,
            model=answer.model,
            call_id=answer.call_id,
            result=dict(answer.result),
            by=answer.deployment,
        )

    async def _dispute(self, call_id: str) -> None:
        try:
            await asyncio.to_thread(self._runs.dispute, call_id)
        except GatewayError as error:
            logger.warning("that two versions disagree about an item could not be noted: %s", error.detail)

    def _consumer(self, name: str) -> Consumer:
        """Who pays. Raises Forbidden for somebody who may not work here any more."""
        if name == LOCAL:
            return self._consumers.local()
        try:
            found = self._consumers.find(name)
        except NotFound:
            raise Forbidden(f"there is no consumer {name!r} any more") from None
        if found.disabled_at is not None:
            raise Forbidden(f"the consumer {name!r} is disabled")
        return found


def fault(error: Exception) -> GatewayError:
    """A fault of ours, logged where it happened and without its text, which may quote what users wrote."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("a bundle failed with %s\n%s", type(error).__name__, frames)
    return GatewayError("the gateway failed with this item; its log has the cause")


async def gathered(outcomes: AsyncIterator[Done]) -> AsyncIterator[list[Done]]:
    """What has come since the last time was taken, so that storing a list takes as long as storing one."""
    queue: asyncio.Queue[Done | None] = asyncio.Queue()

    async def pull() -> None:
        try:
            async for one in outcomes:
                queue.put_nowait(one)
        finally:
            queue.put_nowait(None)

    pulling = asyncio.create_task(pull())
    try:
        last = False
        while not last:
            taken = [await queue.get()]
            while not queue.empty():
                taken.append(queue.get_nowait())
            last = taken[-1] is None
            found = [one for one in taken if one is not None]
            if found:
                yield found
        await pulling
    finally:
        pulling.cancel()
        await asyncio.wait({pulling})
