"""The least that a gateway in Python can do, to hold every other against: `python -m` this, and it says where it is.

Reads JSON, sends it on over one pooled client, and gives back what came; nothing is checked, counted or kept.
"""

import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PROVIDER_URL = "BENCHMARK_PROVIDER_URL"


def pass_through(client: aiohttp.ClientSession) -> Starlette:
    """The whole gateway; the path begins with the provider's delay, as the provider's own does."""

    async def ask(request: Request) -> Response:
        document = json.loads(await request.body())
        async with client.post(request.url.path, json=document) as answer:
            return Response(await answer.read(), media_type="application/json")

    return Starlette(routes=[Route("/{delay}/v1/chat/completions", ask, methods=["POST"])])


@asynccontextmanager
async def pooled() -> AsyncIterator[aiohttp.ClientSession]:
    """One HTTP client for all requests."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(os.environ[PROVIDER_URL], connector=connector) as client:
        yield client


async def main() -> None:
    """Serve until the process is ended."""
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"floor at http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    async with pooled() as client:
        config = uvicorn.Config(pass_through(client), http="httptools", log_level="error", access_log=False)
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    uvloop.run(main())
