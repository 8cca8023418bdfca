"""Keeps the services open, with all that they do in the background, for as long as no signal ends it: no port."""

import asyncio
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import typer

from feedback_gateway.background import start
from feedback_gateway.cli.server import log_to_stderr
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings

BEAT_S = 5.0


async def work(settings: Settings, *, heartbeat: Path | None = None) -> None:
    """Work until SIGTERM or SIGINT, then finish what is begun; touch `heartbeat` while the database answers.

    Raises ConfigurationError for whatever cannot work.
    """
    log_to_stderr(settings.log)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(settings))
        start(stack, services.jobs.run(), name="jobs")
        typer.echo("The worker of Feedback Gateway is ready")
        while not ended.is_set():
            if heartbeat is not None and await services.books.probe.trouble() is None:
                heartbeat.touch()  # noqa: ASYNC240 - a moment
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), timeout=BEAT_S)
