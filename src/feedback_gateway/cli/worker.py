"""`worker`: the work in the background, in a process that serves nobody."""

from pathlib import Path
from typing import Annotated

import typer

from feedback_gateway.cli.options import ConfigOption


def worker(
    *,
    heartbeat: Annotated[
        Path | None,
        typer.Option(help="A file that is touched every few seconds while the database answers.", dir_okay=False),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Do what is due in the background, until a signal ends it.

    Stored feedback is analysed, rows leave the log, calls of the dead are settled.
    """
    import asyncio

    from feedback_gateway.cli.background import work
    from feedback_gateway.settings import load_settings

    asyncio.run(work(load_settings(config), heartbeat=heartbeat))
