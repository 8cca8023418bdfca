"""CPU of the parts that pass a request on: reading its body, and the direct client with one request in flight.

`python -m tests.benchmarks.passthrough` prints ms of CPU a request; the provider is a process of its own.
"""

import asyncio
import json
import multiprocessing
import sys
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection

import uvloop

from feedback_gateway.api.bodies import parse_json
from feedback_gateway.calls.models import Call
from feedback_gateway.clock import SystemClock
from feedback_gateway.llm.models import Deployment, ForwardRequest
from feedback_gateway.llm.openai_endpoint import endpoint_of
from feedback_gateway.llm.openai_forwarder import OpenAIForwarder
from feedback_gateway.llm.openai_http import Connections
from feedback_gateway.llm.openai_wire import Wire
from feedback_gateway.llm.scripted_server import scripted_server
from feedback_gateway.passthrough.bodies import read_chat

BODY = json.dumps({"model": "default", "messages": [{"role": "user", "content": "word " * 110}]}).encode()
REQUESTS = 2_000


async def provide(ready: Connection) -> None:
    """Answer until killed."""
    async with scripted_server() as server:
        ready.send(server.url)
        await asyncio.Event().wait()


def provider(ready: Connection) -> None:
    """The provider's process."""
    uvloop.run(provide(ready))


def call() -> Call:
    """A call that nothing has been tried for."""
    return Call(
        call_id="1",
        consumer="bench",
        task="chat",
        prompt_version=0,
        model="default",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        started=0,
        deadline=30,
        attempts_left=3,
    )


async def swallow(data: bytes) -> None:
    """A client that takes everything."""


async def measure(url: str) -> None:
    """Print the parts."""
    one = Deployment(alias="default", name="one", model="openai/scripted", params={"api_base": url, "api_key": "none"})
    endpoint = endpoint_of(one)
    assert endpoint is not None
    connections = Connections()
    forwarder = OpenAIForwarder(Wire(one, endpoint, connections, clock=SystemClock()))
    asked = read_chat(parse_json(BODY), length=len(BODY))
    whole = ForwardRequest(operation="chat", model="default", body=asked.body, size=asked.size, max_tokens=100)
    streamed = ForwardRequest(
        operation="chat", model="default", body={**asked.body, "stream": True}, size=1, max_tokens=100, sink=swallow
    )
    begun = time.process_time()
    for _ in range(REQUESTS):
        read_chat(parse_json(BODY), length=len(BODY))
    show(f"reading the body     {(time.process_time() - begun) / REQUESTS * 1000:.3f} ms")
    for name, request in (("whole answer", whole), ("streamed, 10 events", streamed)):
        await forwarder.complete(request, call())
        begun = time.process_time()
        for _ in range(REQUESTS):
            await forwarder.complete(request, call())
        show(f"{name:20} {(time.process_time() - begun) / REQUESTS * 1000:.3f} ms")
    await connections.aclose()


def show(line: str) -> None:
    """One line of the table."""
    sys.stdout.write(f"{line}\n")


def main() -> None:
    """Measure."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=provider, args=(there,), daemon=True)
    process.start()
    uvloop.run(measure(here.recv()))
    process.terminate()


if __name__ == "__main__":
    main()
