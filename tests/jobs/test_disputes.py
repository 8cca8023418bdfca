"""An item about which two versions of a prompt disagree waits for a person, whichever of them comes first."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.scripted import ScriptedClient, answer
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings, TaskSettings
from tests.api.conftest import MOOD
from tests.jobs.waiting import DEADLINE_S, items_of, job_when, submit, working

pytestmark = pytest.mark.anyio


def judge(request: CompletionRequest) -> Completion:
    """The second version finds everything bad."""
    newer = any("closely" in message.content for message in request.messages)
    is_bad = newer or "awful" in request.items[0]["text"]
    return answer(json.dumps({"mood": "bad" if is_bad else "good"}))


@asynccontextmanager
async def compared(settings: Settings) -> AsyncIterator[Services]:
    """A gateway whose second version of `mood` runs beside the first."""
    (settings.prompts / "mood.v2.prompt").write_text(MOOD.replace("Tell the mood.", "Look closely, tell the mood."))
    tasks = {"mood": TaskSettings(version=1, shadow=2)}
    provider = ScriptedClient([judge])
    async with open_services(settings.model_copy(update={"tasks": tasks}), provider=lambda _: provider) as services:
        yield services


async def reviews(services: Services, *texts: str) -> dict[str, tuple[str, ...]]:
    """Why a person should look at each text, once all were analysed and every shadow is over."""
    async with working(services):
        job_id = await submit(services, *texts)
        await job_when(services, job_id, lambda job: job.is_done)
        deadline = time.monotonic() + DEADLINE_S
        while len(services.tasks.disputes) < 1 or not any(one.item.review for one in await items_of(services)):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
    return {one.item.text: one.item.review_reasons for one in await items_of(services)}


async def test_item_that_versions_disagree_about_waits_for_a_person(settings: Settings) -> None:
    """And one that they agree about does not."""
    async with compared(settings) as services:
        found = await reviews(services, "fine", "awful")

    assert found == {"fine": ("versions_disagree",), "awful": ()}


async def test_dispute_is_noted_once_beside_other_reasons_and_not_after_a_correction(settings: Settings) -> None:
    """Who has corrected an item has looked at it."""
    async with compared(settings) as services:
        await reviews(services, "fine")
        [stored] = await items_of(services)
        call_id = stored.analyses[0].call_id
        await asyncio.to_thread(services.books.runs.dispute, call_id)
        [again] = await items_of(services)
        await asyncio.to_thread(services.books.people.add, stored.item.item_id, field="mood", value="bad", by="ann")
        await asyncio.to_thread(services.books.runs.dispute, call_id)
        [corrected] = await items_of(services)

    assert again.item.review_reasons == ("versions_disagree",)
    assert corrected.item.review_reasons == ()
