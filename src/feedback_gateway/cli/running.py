"""Runs a command's coroutine so that Ctrl-C, SIGTERM and a closed pipe end it cleanly, with the usual exit codes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from threading import Event, Thread
from typing import TypeVar

import typer

T = TypeVar("T")
SIGNAL_BASE = 128
ENDING = (signal.SIGINT, signal.SIGTERM)
READ_AHEAD = 64


def run_async(work: Coroutine[object, object, T]) -> T:
    """Run `work` to its end. A signal cancels it, lets it close what it opened, and exits with 128 + its number."""
    received: list[int] = []

    async def watched() -> T:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()

        def stop(number: int) -> None:
            received.append(number)
            task.cancel()

        for number in ENDING:
            loop.add_signal_handler(number, stop, number)
        return await task

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        raise typer.Exit(SIGNAL_BASE + (received or [signal.SIGINT])[0]) from None
    except BrokenPipeError:
        silence_stdout()
        raise typer.Exit(SIGNAL_BASE + signal.SIGPIPE) from None


def silence_stdout() -> None:
    """Let nothing that is still buffered complain that nobody reads it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Exhausted(Exception):
    """The rows are over; StopIteration may not cross a coroutine."""


async def in_thread(rows: Iterator[T]) -> AsyncIterator[T]:
    """`rows` read by a thread, a bounded number ahead, so that a slow pipe holds up nothing else.

    The thread is a daemon: one that waits for input keeps no process alive.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[T | Exception] = asyncio.Queue(READ_AHEAD)
    abandoned = Event()

    def put(item: T | Exception) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(item), loop).result()

    def read() -> None:
        try:
            for row in rows:
                if abandoned.is_set():
                    return
                put(row)
            put(Exhausted())
        except OSError as error:
            put(error)
        except RuntimeError:
            return  # the loop is gone: nobody wants the rest

    Thread(target=read, daemon=True, name="rows").start()
    try:
        while True:
            item = await queue.get()
            if isinstance(item, Exhausted):
                return
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        abandoned.set()
