"""The servers to compare with, each a process of its own: `python -m tests.benchmarks.serving NAME`.

`provider` speaks OpenAI's protocol and waits as many milliseconds as its path says; `litellm` is the least that a
handler with litellm can do; `instant` is the gateway with a provider within the process, in place of litellm.
"""

import asyncio
import json
import os
import sys
from typing import Any

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from feedback_gateway.app import create_app
from feedback_gateway.calls.models import Call
from feedback_gateway.cli.server import AnnouncingServer, bind, tell_ready, url_of
from feedback_gateway.environment import prepare_litellm_environment
from feedback_gateway.llm.models import Completion, CompletionRequest, Usage
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings
from tests.benchmarks import workload
from tests.benchmarks.floor import PROVIDER_URL


class Provider:
    """Answers every chat completion with the same bytes, after the delay in its path: `/50/v1/chat/completions`."""

    def __init__(self) -> None:
        message = {"role": "assistant", "content": workload.answer()}
        completion = {
            "id": "chatcmpl-benchmark",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "benchmark",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1500, "completion_tokens": 100, "total_tokens": 1600},
        }
        self._body = json.dumps(completion).encode()
        length = str(len(self._body)).encode()
        self._headers = [(b"content-type", b"application/json"), (b"content-length", length)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        while (await receive()).get("more_body"):
            pass
        if delay_ms := int(scope["path"].split("/")[1]):
            await asyncio.sleep(delay_ms / 1000)
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


class InstantClient:
    """The same answer without any provider, for what the gateway costs by itself."""

    def __init__(self) -> None:
        usage = Usage(uncached_input_tokens=1500, output_tokens=100)
        self._completion = Completion(content=workload.answer(), finish_reason="stop", model="instant", usage=usage)

    async def prepare(self) -> None:
        """Nothing to load."""

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Answer at once."""
        return self._completion


def bare_litellm() -> ASGIApp:
    """A handler that reads JSON, asks litellm the gateway's question, and writes JSON; nothing is checked or kept."""
    prepare_litellm_environment()
    import litellm  # noqa: PLC0415 takes seconds, and only this server needs it

    litellm.suppress_debug_info = True
    params = workload.chat_params() | {"model": workload.MODEL, "api_key": "none", "timeout": 60, "max_retries": 0}

    async def ask(request: Request) -> JSONResponse:
        await request.json()
        api_base = f"{os.environ[PROVIDER_URL]}/{request.path_params['delay']}/v1"
        completion: Any = await litellm.acompletion(api_base=api_base, **params)
        return JSONResponse({"result": json.loads(completion.choices[0].message.content)})

    return Starlette(routes=[Route("/{delay}", ask, methods=["POST"])])


async def serve(app: ASGIApp) -> None:
    """Serve `app` the way the gateway serves itself, until a signal ends it."""
    listener = bind("127.0.0.1", 0)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", lifespan="off", log_level="error", access_log=False)
    server = AnnouncingServer(config, on_ready=lambda: tell_ready(url_of(listener)), refuse_new=lambda: None)
    await server.serve(sockets=[listener])


async def serve_instant() -> None:
    """Serve the gateway with everything on, but for the provider."""
    settings = Settings()
    async with open_services(settings, provider=lambda _: InstantClient()) as services:
        await serve(create_app(settings, services))


def main(name: str) -> None:
    """Run one of the servers."""
    if name == "instant":
        uvloop.run(serve_instant())
    else:
        uvloop.run(serve(Provider() if name == "provider" else bare_litellm()))


if __name__ == "__main__":
    main(sys.argv[1])
