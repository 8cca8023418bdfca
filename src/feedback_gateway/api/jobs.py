"""How far background work is: asked once, or told as it goes on, by server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response, StreamingResponse

from feedback_gateway.api.deps import CallerDep, DrainDep, Json, ServicesDep, in_thread
from feedback_gateway.api.middleware import Drain
from feedback_gateway.api.rendering import moment
from feedback_gateway.errors import GatewayError
from feedback_gateway.feedback.models import STATUSES, Job
from feedback_gateway.services import Services

LOOK_S = 0.5
SILENCE_S = 15.0
"""How long nothing may be sent, so that nobody on the way takes the connection for dead."""


async def read_job(services: ServicesDep, caller: CallerDep, job_id: str) -> Json:
    """One job: how many of its items have each status."""
    return job_json(await in_thread(services.books.feedback.job, job_id, consumer=caller.sees))


async def follow_job(services: ServicesDep, caller: CallerDep, drain: DrainDep, job_id: str) -> Response:
    """The job each time that it has changed, as events `progress`, and `done` at its end."""
    job = await in_thread(services.books.feedback.job, job_id, consumer=caller.sees)
    return StreamingResponse(events(job, services, drain), media_type="text/event-stream")


async def events(job: Job, services: Services, drain: Drain) -> AsyncIterator[bytes]:
    """The events of one job, until it is done or the gateway ends."""
    yield event("done" if job.is_done else "progress", job)
    silent_s = 0.0
    while not job.is_done and not drain.closed:
        await asyncio.sleep(LOOK_S)
        try:
            now = await in_thread(services.books.feedback.job, job.job_id)
        except GatewayError:
            return  # whoever listens asks again, and is told why there is nothing
        silent_s += LOOK_S
        if now != job:
            job, silent_s = now, 0.0
            yield event("done" if job.is_done else "progress", job)
        elif silent_s >= SILENCE_S:
            silent_s = 0.0
            yield b": still at it\n\n"


def event(name: str, job: Job) -> bytes:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps(job_json(job), separators=(',', ':'))}\n\n".encode()


def job_json(job: Job) -> dict[str, Any]:
    """A job; it is done when nothing more happens by itself, whatever came of it."""
    return {
        "id": job.job_id,
        "kind": job.kind,
        "consumer": job.consumer,
        "created_at": moment(job.created_at),
        "status": "done" if job.is_done else "running",
        "total": job.total,
        "counts": {status: job.counts.get(status, 0) for status in STATUSES},
        "problems": [{"problem": problem, "count": count} for problem, count in job.problems.items()],
    }
