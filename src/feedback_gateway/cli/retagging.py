"""`taxonomy retag`: shows what it takes, asks, and works until the job is done or somebody stops it."""

import asyncio
import sys
from contextlib import suppress
from datetime import datetime

import typer

from feedback_gateway.calls.reports import parse_moment
from feedback_gateway.cli.terminal import printable
from feedback_gateway.consumers.models import LOCAL
from feedback_gateway.feedback.models import Job
from feedback_gateway.ledger.amounts import format_usd
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings
from feedback_gateway.taxonomies.retagging import Plan

LOOK_S = 0.5


async def run_retagging(settings: Settings, *, since: str | None, is_sure: bool) -> int:
    """Plan, ask, do; the exit code. Stopped half way it goes on where it was when it is run again."""
    async with open_services(settings) as services:
        moment = None if since is None else parse_moment(since, now=services.clock.now(), name="--since")
        plan = await asyncio.to_thread(services.retagging.plan, since=moment)
        tell(plan, attempts=settings.retry.attempts, since=moment)
        if not plan.retags:
            return 0
        if not is_sure and not await asyncio.to_thread(confirmed):
            typer.echo("Nothing was done.")
            return 0
        job_id = await asyncio.to_thread(services.retagging.begin, plan, consumer=LOCAL)
        return await finish(services, job_id)


def tell(plan: Plan, *, attempts: int, since: datetime | None) -> None:
    """What would be done, and what it costs at most."""
    when = "" if since is None else f" since {since.isoformat(' ', 'minutes')}"
    typer.echo(f"taxonomy {plan.version}: {len(plan.retags)} items of stored feedback{when} are to be sorted again")
    typer.echo(f"left alone: {plan.untouched} that the change cannot touch, and all whose category a person has set")
    if plan.refused:
        typer.echo(f"left out: {plan.refused} whose task does not take them any more")
    if not plan.retags:
        return
    if plan.most_usd is None:
        typer.echo("cost: not known, a deployment that may answer has no price")
        return
    once, most = format_usd(plan.most_usd), format_usd(plan.most_usd * attempts)
    typer.echo(f"cost: at most {once} USD with one attempt each, and {most} USD if each took all {attempts}")


def confirmed() -> bool:
    """Whether somebody at a terminal says yes; nobody else is asked."""
    if not sys.stdin.isatty():
        typer.echo("Say --yes to begin.")
        return False
    return typer.confirm("Begin?")


async def finish(services: Services, job_id: str) -> int:
    """Work on the job beside whoever else does, until it is done; 1 if any of it failed."""
    typer.echo(printable(f"job {job_id}; if this is stopped, run it again, or leave it to `serve` or `worker`"))
    working = asyncio.create_task(services.jobs.run(), name="jobs")
    try:
        job = await followed(services, job_id)
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
    failed = job.counts.get("failed", 0)
    typer.echo(f"{job.counts.get('analysed', 0)} of {job.total} are sorted again, {failed} failed")
    return 1 if failed else 0


async def followed(services: Services, job_id: str) -> Job:
    """The job when it is done, told about on the way."""
    last = -1
    while True:
        job = await asyncio.to_thread(services.books.feedback.job, job_id)
        done = job.total - sum(job.counts.get(status, 0) for status in ("stored", "queued", "waiting"))
        if done != last and sys.stderr.isatty():
            typer.echo(f"\r{done} of {job.total}", err=True, nl=job.is_done)
            last = done
        if job.is_done:
            return job
        await services.clock.sleep(LOOK_S)
