"""The least that a gateway in Python can do, to hold every other against: `python -m` this, and it says where it is.

Reads JSON, sends it on over one pooled client, and gives back what came; nothing is checked, counted or kept.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.benchmarks.serving import PROVIDER_URL, serve


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
    async with pooled() as client:
        await serve(pass_through(client))


if __name__ == "__main__":
    uvloop.run(main())
