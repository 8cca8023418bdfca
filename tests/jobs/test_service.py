"""Background work in this process, on the real engine: who pays, what waits and why, and that nothing is doubled."""

import asyncio
import json
import subprocess
import sys
import threading
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from feedback_gateway.consumers.models import Consumer, Limits, Scopes
from feedback_gateway.errors import ConfigurationError, ProviderUnavailable
from feedback_gateway.feedback.models import Job, NewItem
from feedback_gateway.jobs.engine import Engine
from feedback_gateway.ledger.models import Budget
from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.scripted import ScriptedClient, answer
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import FeedbackSettings, Settings
from tests.jobs.waiting import items_of, job_when, submit, working

pytestmark = pytest.mark.anyio


def is_done(job: Job) -> bool:
    """Nothing more happens."""
    return job.is_done


def texts_asked(provider: ScriptedClient) -> Counter[str]:
    """How often each text was asked about."""
    return Counter(item["text"] for request in provider.requests for item in request.items)


async def test_stored_items_are_analysed_once(services: Services, provider: ScriptedClient) -> None:
    """Each by one call, in the name of its consumer, and with a trace of where it comes from."""
    services.books.consumers.add(Consumer(name="team"))
    texts = [f"text {number}" for number in range(50)]
    async with working(services):
        job_id = await submit(services, *texts, consumer="team")
        job = await job_when(services, job_id, is_done)
    await services.books.writer.flush()

    stored = await items_of(services)
    calls = [services.books.calls.get(history.analyses[0].call_id)[0] for history in stored]
    assert job.counts == {"analysed": 50}
    assert texts_asked(provider) == Counter(texts)
    assert [len(history.analyses) for history in stored] == [1] * 50
    assert {call.consumer for call in calls} == {"team"}
    assert len({call.call_id for call in calls}) == 50
    assert {history.analyses[0].by for history in stored} == {"scripted/one"}
    assert {history.analyses[0].taxonomy_version for history in stored} == {None}  # the task asks no taxonomy


async def test_two_submissions_of_the_same_item_wait_for_the_same_analysis(
    services: Services, provider: ScriptedClient
) -> None:
    """Both jobs are done with it."""
    item = NewItem(text="once", source="shop", external_id="1")
    add = services.books.feedback.add
    jobs = [(await asyncio.to_thread(add, [item], consumer="local", task="mood"))[0] for _ in range(2)]

    async with working(services):
        done = [await job_when(services, job_id, is_done) for job_id in jobs]

    assert [job.counts for job in done] == [{"analysed": 1}] * 2
    assert texts_asked(provider) == {"once": 1}


async def test_what_was_stored_before_the_start_is_found(services: Services) -> None:
    """Also where nobody lived to queue it."""
    job_id = await submit(services, "left behind")

    async with working(services):
        job = await job_when(services, job_id, is_done)

    assert job.counts == {"analysed": 1}


async def test_work_goes_on_where_an_engine_ended(services: Services, provider: ScriptedClient) -> None:
    """What is in hand when it is told to end is finished, and the rest waits for the next."""
    texts = [f"text {number}" for number in range(120)]
    job_id = await submit(services, *texts)
    async with working(services):
        await job_when(services, job_id, lambda job: job.counts.get("analysed", 0) > 0)
    async with working(services):
        await job_when(services, job_id, is_done)

    assert texts_asked(provider) == Counter(texts)
    assert [len(history.analyses) for history in await items_of(services)] == [1] * 120


async def test_an_outage_is_waited_out_in_sight(services: Services, provider: ScriptedClient) -> None:
    """The item says what it waits for, until there is an answer."""
    provider.play([ProviderUnavailable("down")])
    async with working(services):
        job_id = await submit(services, "patient")
        waiting = await job_when(services, job_id, lambda job: job.counts == {"waiting": 1})
        provider.play([answer(json.dumps({"mood": "good"}))])
        await asyncio.to_thread(services.books.runs.retry)
        services.jobs.wake()
        job = await job_when(services, job_id, is_done)

    [problem] = waiting.problems
    assert problem.startswith("provider-failed: ")
    assert (job.counts, job.problems) == ({"analysed": 1}, {})


async def test_a_budget_that_is_used_up_leaves_items_waiting_in_sight(
    services: Services, provider: ScriptedClient
) -> None:
    """Without one request to the provider; others' items are not touched."""
    poor = Consumer(name="poor", budgets=(Budget(limit_usd=Decimal("0.00001"), period="month"),))
    services.books.consumers.add(poor)
    async with working(services):
        refused = await submit(services, "too dear", consumer="poor")
        answered = await submit(services, "fine")
        job = await job_when(services, refused, lambda job: "waiting" in job.counts)
        other = await job_when(services, answered, is_done)

    [problem] = job.problems
    assert problem.startswith("budget-exceeded: the budget of 0.00001 USD a month")
    assert other.counts == {"analysed": 1}
    assert texts_asked(provider) == {"fine": 1}


async def test_a_used_up_rate_limit_holds_back_its_consumer_alone(services: Services, provider: ScriptedClient) -> None:
    """As many requests as a minute allows, and nobody knocks for the others again and again."""
    services.books.consumers.add(Consumer(name="slow", limits=Limits(requests_per_minute=5)))
    async with working(services):
        limited = await submit(services, *(f"slow {number}" for number in range(60)), consumer="slow")
        job = await job_when(services, limited, lambda job: job.counts.get("waiting", 0) > 0)
        free = await submit(services, *(f"fast {number}" for number in range(60)))
        await job_when(services, free, is_done)
        held = await job_when(services, limited, lambda job: "queued" not in job.counts)

    asked = texts_asked(provider)
    assert sum(text.startswith("slow") for text in asked) == 5
    assert held.counts["analysed"] == 5
    assert held.counts.get("stored", 0) + held.counts["waiting"] == 55
    assert all(problem.startswith("rate-limited: ") for problem in job.problems)


@pytest.mark.parametrize("name", ["nobody", "off", "elsewhere"])
async def test_who_may_not_pay_has_failed_items(services: Services, provider: ScriptedClient, name: str) -> None:
    """An unknown consumer, a disabled one, and one whose scope ends elsewhere."""
    services.books.consumers.disable(services.books.consumers.add(Consumer(name="off")).name)
    services.books.consumers.add(Consumer(name="elsewhere", scopes=Scopes(tasks=frozenset({"sentiment"}))))
    async with working(services):
        job_id = await submit(services, "forbidden", consumer=name)
        job = await job_when(services, job_id, is_done)

    [problem] = job.problems
    assert job.counts == {"failed": 1}
    assert problem.startswith("forbidden: ")
    assert provider.requests == []


async def test_a_fault_of_ours_with_one_item_touches_no_other(services: Services, provider: ScriptedClient) -> None:
    """Its text is not told to anybody."""

    def fail(request: CompletionRequest) -> Completion:
        [item] = request.items
        if item["text"] == "poison":
            message = "poison"
            raise RuntimeError(message)
        return answer(json.dumps({"mood": "good"}))

    provider.play([fail])
    async with working(services):
        job_id = await submit(services, "poison", "fine")
        job = await job_when(services, job_id, lambda job: job.counts == {"analysed": 1, "waiting": 1})

    assert list(job.problems) == ["internal: the gateway failed with this item"]


async def test_there_is_one_engine_a_process(services: Services) -> None:
    """A second one is refused, until the first has ended."""

    async def nothing(_: str) -> None:
        return

    loop, url = asyncio.get_running_loop(), services.settings.database_url

    def opened() -> Engine | None:
        return Engine.open(url, nothing, loop, executor_id="e", concurrency=1)

    first, second = await asyncio.to_thread(opened), await asyncio.to_thread(opened)
    assert first is not None
    await asyncio.to_thread(first.close, within_s=0)
    third = await asyncio.to_thread(opened)
    assert third is not None
    await asyncio.to_thread(third.close, within_s=0)

    assert second is None
    assert not [thread.name for thread in threading.enumerate() if "dbos" in thread.name or "queue" in thread.name]


async def test_a_task_that_is_none_is_told_at_the_start(settings: Settings) -> None:
    """By the name of the setting."""
    wrong = settings.model_copy(update={"feedback": FeedbackSettings(task="clasify")})

    with pytest.raises(ConfigurationError, match=r"feedback.task: there is no such prompt; there are: .*classify"):
        async with open_services(wrong):
            pass


IDLE = """
import asyncio, sys
from feedback_gateway.jobs.repository import RunRepository
from feedback_gateway.jobs.service import Jobs
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings

class Looking(RunRepository):
    times = 0

    def is_anything_open(self):
        self.times += 1
        return super().is_anything_open()

async def main():
    url = "sqlite:///idle.db"
    async with open_services(Settings(database_url=url)) as services:
        books, clock = services.books, services.clock
        runs = Looking(books.runs._engine, clock)
        jobs = Jobs(None, runs, books.liveness, database_url=url, batch=1, concurrency=1, clock=clock)
        work = asyncio.create_task(jobs.run())
        while runs.times < 2:
            await asyncio.sleep(0.01)
        work.cancel()
        await asyncio.wait({work})
    print("dbos" in sys.modules)

asyncio.run(main())
"""


def test_a_gateway_without_stored_feedback_does_not_load_the_engine(tmp_path: Path) -> None:
    """It looks for work, finds none, and stays as small as it is."""
    done = subprocess.run([sys.executable, "-c", IDLE], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("False\n", "")
    assert not (tmp_path / "idle.db-jobs").exists()
