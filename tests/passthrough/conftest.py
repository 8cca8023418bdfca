"""A gateway on a port of its own in front of a scripted provider, and OpenAI's client in front of both."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
import uvicorn

from feedback_gateway.api.middleware import Drain
from feedback_gateway.app import create_app
from feedback_gateway.calls.repository import CallFilters
from feedback_gateway.consumers.models import Consumer
from feedback_gateway.llm.scripted_server import ScriptedServer, scripted_server
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import Settings

DEADLINE_S = 20.0
MARKS = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),  # litellm, at the end of a stream
]
PRICES = {"input_cost_per_token": "0.000001", "output_cost_per_token": "0.000002"}


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway: its address, its insides, and the provider behind it."""

    url: str
    services: Services
    provider: ScriptedServer
    client: openai.AsyncOpenAI
    drain: Drain

    def as_caller(self, key: str, **options: Any) -> openai.AsyncOpenAI:
        """OpenAI's client with another key."""
        return self.client.with_options(api_key=key, **options)

    async def calls(self) -> list[Any]:
        """The rows of the log, newest first, once everything is written."""
        await until(lambda: self.drain.in_flight == 0)
        await self.services.books.recorder.drain(DEADLINE_S)
        await self.services.books.writer.flush()
        return list(self.services.books.calls.page(CallFilters()).data)


def entry(provider: ScriptedServer, *, alias: str = "default", model: str = "openai/scripted", **more: Any) -> Any:
    """One deployment on the scripted provider."""
    params = {"model": model, "api_base": provider.url, "api_key": "sk-of-the-provider-1234", **PRICES, **more}
    return {"model_name": alias, "litellm_params": params}


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for another process or connection, at most DEADLINE_S."""
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def new_key(services: Services, name: str, **fields: Any) -> str:
    """The key of a new consumer."""
    consumer = services.books.consumers.add(Consumer(name=name, **fields))
    return services.books.consumers.create_key(consumer.name, is_admin=False, expires_at=None).secret


async def server_ready(server: uvicorn.Server) -> None:
    """Return once it listens."""
    while not server.started:  # noqa: ASYNC110 uvicorn tells in no other way
        await asyncio.sleep(0)


@asynccontextmanager
async def running(settings: Settings, provider: ScriptedServer) -> AsyncIterator[Gateway]:
    """The real application behind a real server."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with open_services(settings) as services:
        app = create_app(settings, services)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, lifespan="on"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await server_ready(server)
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=new_key(services, "team"), max_retries=0)
        try:
            yield Gateway(url, services, provider, client, app.state.drain)
        finally:
            await client.close()
            server.should_exit = True
            await serving


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedServer]:
    """What answers: anything, unless the test plays another script."""
    async with scripted_server() as server:
        yield server


@pytest.fixture(params=["straight", "litellm"])
def road(request: pytest.FixtureRequest) -> str:
    """Which way the requests go: the two look the same from both ends."""
    return str(request.param)


@pytest.fixture
def settings(tmp_path: Path, provider: ScriptedServer, road: str) -> Settings:
    """One deployment with prices, a database file of its own, and no pauses."""
    way = {"custom_llm_provider": "openai"} if road == "litellm" else {}
    return Settings.model_validate(
        {
            "model_list": [entry(provider, **way)],
            "prompts": tmp_path / "prompts",
            "database_url": f"sqlite:///{tmp_path / 'calls.db'}",
            "retry": {"attempts": 1},
        }
    )


@pytest.fixture
async def gateway(settings: Settings, provider: ScriptedServer) -> AsyncIterator[Gateway]:
    """A running gateway."""
    async with running(settings, provider) as gateway:
        yield gateway
