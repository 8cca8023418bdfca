"""Waits for what is done in the background, with a deadline."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from feedback_gateway.feedback.models import ItemHistory, Job, NewItem
from feedback_gateway.feedback.repository import ItemFilters
from feedback_gateway.services import Services

DEADLINE_S = 60.0


@asynccontextmanager
async def working(services: Services) -> AsyncIterator[None]:
    """Do background work in this process."""
    work = asyncio.create_task(services.jobs.run())
    try:
        yield
    finally:
        work.cancel()
        await asyncio.wait({work})


async def submit(services: Services, *texts: str, consumer: str = "local", task: str = "mood") -> str:
    """Store items to be analysed; the id of the job."""
    items = [NewItem(text=text, source="shop") for text in texts]
    job_id, _ = await asyncio.to_thread(services.books.feedback.add, items, consumer=consumer, task=task)
    services.jobs.wake()
    return job_id


async def job_when(services: Services, job_id: str, holds: Callable[[Job], bool]) -> Job:
    """The job, once it is as it should be."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        job = await asyncio.to_thread(services.books.feedback.job, job_id)
        if holds(job):
            return job
        assert time.monotonic() < deadline, job
        await asyncio.sleep(0.02)


async def items_of(services: Services) -> list[ItemHistory]:
    """All that is stored, oldest first."""
    page = await asyncio.to_thread(services.books.feedback.page, ItemFilters(), limit=200)
    return list(reversed(page.data))
