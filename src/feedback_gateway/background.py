"""Starts what goes on in the background, and ends it with all the rest."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any


def start(stack: AsyncExitStack, work: Coroutine[Any, Any, None], *, name: str) -> None:
    """Do `work` in the background until `stack` is closed."""
    task = asyncio.create_task(work, name=name)

    async def stop() -> None:
        task.cancel()
        await asyncio.wait({task})

    stack.push_async_callback(stop)
