"""Who goes which way: straight where that is possible, through LiteLLM else, and nowhere a caller would choose."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from feedback_gateway.llm.models import Deployment
from feedback_gateway.llm.openai_endpoint import endpoint_of
from feedback_gateway.llm.scripted_server import Play, ScriptedServer
from feedback_gateway.settings import Settings
from tests.passthrough.conftest import MARKS, Gateway, entry, running

pytestmark = MARKS
HELLO: Any = [{"role": "user", "content": "Hello!"}]
ALONE = """
import asyncio, sys
from feedback_gateway.llm.scripted_server import scripted_server
from feedback_gateway.passthrough.bodies import read_chat
from feedback_gateway.passthrough.service import Listener
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import CallOptions

async def main():
    async with scripted_server() as server:
        params = {"model": "openai/one", "api_base": server.url, "api_key": "none"}
        settings = Settings.model_validate({
            "model_list": [{"model_name": "default", "litellm_params": params}],
            "database_url": "sqlite:///" + sys.argv[1] + "/calls.db",
        })
        async with open_services(settings) as services:
            local = services.books.consumers.local()
            asked = read_chat({"model": "default", "messages": [{"role": "user", "content": "Hi"}]}, length=70)
            await services.passthrough.run(asked, consumer=local, listener=Listener(None, None))
    print(sorted({name.partition(".")[0] for name in sys.modules} & {"litellm", "openai", "httpx"}))

asyncio.run(main())
"""


@pytest.fixture
def road() -> str:
    """The direct one, unless a test says otherwise."""
    return "straight"


def deployment(model: str, **params: Any) -> Deployment:
    """One with a key."""
    return Deployment(alias="default", name=model, model=model, params={"api_key": "sk-none", **params})


def test_process_that_goes_straight_never_loads_litellm(tmp_path: Path) -> None:
    """Nor any other HTTP client than the one."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path)], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("model", "params"),
    [
        ("anthropic/claude-haiku-4-5", {}),
        ("azure/gpt-4o", {"api_base": "http://azure.test", "api_version": "2024-10-21"}),
        ("openai/o3-mini", {}),
        ("openai/responses/gpt-4o", {}),
        ("openai/gpt-4o", {"custom_llm_provider": "openai"}),
        ("openai/gpt-4o", {"some_setting": 1}),
        ("openai/gpt-4o", {"api_key": None}),
        ("hosted_vllm/model", {}),
        ("gpt-4o", {}),
    ],
)
def test_deployment_that_is_not_plainly_openais_is_left_to_litellm(model: str, params: Any) -> None:
    """Another protocol, a rewritten message, a setting that only LiteLLM knows, or no address."""
    assert endpoint_of(deployment(model, **params)) is None


def test_requests_own_bound_wins_over_a_deployments() -> None:
    """By whichever name, under the name that the model takes."""
    plain = endpoint_of(deployment("openai/gpt-4o-mini", max_tokens=100, seed=7))
    thinking = endpoint_of(deployment("openai/gpt-5-mini", max_tokens=100))

    assert plain is not None
    assert thinking is not None
    assert plain.body("chat", {}) == {"max_tokens": 100, "seed": 7, "model": "gpt-4o-mini"}
    assert plain.body("chat", {"max_completion_tokens": 5})["max_tokens"] == 5
    assert thinking.body("chat", {}) == {"max_completion_tokens": 100, "model": "gpt-5-mini"}
    assert thinking.body("chat", {"max_tokens": 5}) == {"max_completion_tokens": 5, "model": "gpt-5-mini"}


async def test_litellm_fetches_no_picture_from_where_a_caller_points(
    settings: Settings, provider: ScriptedServer
) -> None:
    """An address inside the operator's network would be one, too."""
    models = [entry(provider, custom_llm_provider="openai")]
    fenced = Settings.model_validate({**settings.model_dump(), "model_list": models})
    asked: Any = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}}]}
    ]
    async with running(fenced, provider) as gateway:
        with pytest.raises(openai.BadRequestError, match="data URLs"):
            await gateway.client.chat.completions.create(model="default", messages=asked)

    assert provider.heard == []


async def test_stream_moves_to_the_next_deployment_before_it_begins(
    settings: Settings, provider: ScriptedServer
) -> None:
    """Its caller notices nothing; the name of the model stays the alias."""
    provider.script = lambda heard: Play(status=500) if heard.body["model"] == "bad" else Play()
    models = [entry(provider, model="openai/bad", weight=1), entry(provider, model="openai/good", weight=0)]
    two = Settings.model_validate({**settings.model_dump(), "model_list": models, "retry": {"attempts": 2}})
    async with running(two, provider) as gateway:
        stream = await gateway.client.chat.completions.create(model="default", messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]
        [row] = await gateway.calls()

    assert {chunk.model for chunk in chunks} == {"default"}
    assert [heard.body["model"] for heard in provider.heard] == ["bad", "good"]
    assert (row.attempt_count, row.deployment, row.status) == (2, "openai/good", "ok")


async def test_embedded_model_says_that_another_is_needed(settings: Settings, provider: ScriptedServer) -> None:
    """503 as for a task that it does not do, and asked once: trying again does not help."""
    models = [{"model_name": "default", "litellm_params": {"model": "embedded/student"}}]
    embedded = Settings.model_validate({**settings.model_dump(), "model_list": models})
    async with running(embedded, provider) as gateway:
        with pytest.raises(openai.InternalServerError, match=r"does not do 'chat'; .* to `model_list`") as caught:
            await gateway.client.with_options(max_retries=2).chat.completions.create(model="default", messages=HELLO)
        calls = await gateway.calls()

    assert (caught.value.status_code, caught.value.code) == (503, "unavailable")
    assert len(calls) == 1


async def test_broken_requests_are_told_what_is_wrong(gateway: Gateway) -> None:
    """In the words of both kinds of clients."""
    for asked, place in (({"n": 0}, "n"), ({"max_tokens": "5"}, "max_tokens"), ({"stream": 1}, "stream")):
        with pytest.raises(openai.BadRequestError) as caught:
            await gateway.client.chat.completions.create(model="default", messages=HELLO, extra_body=asked)
        body: Any = caught.value.response.json()
        assert caught.value.param == place
        assert body["errors"][0]["loc"] == [place]


DECLINED = [
    ("anthropic/claude-3-haiku-20240307", {"logprobs": True}, "anthropic does not support parameters: ['logprobs']"),
    ("openai/o3-mini", {"temperature": 0.3}, "models don't support temperature="),
    ("anthropic/claude-3-haiku-20240307", {"messages": [{"role": "system", "content": "Bob"}]}, "non-system message"),
    ("gemini/gemini-2.0-flash", {"messages": [{"role": "bob", "content": "Bob"}]}, "a shape that cannot be sent"),
]


@pytest.mark.parametrize(("model", "asked", "reason"), DECLINED)
async def test_what_litellm_refuses_by_itself_is_the_requests_fault(
    settings: Settings, provider: ScriptedServer, model: str, asked: Any, reason: str
) -> None:
    """It is told why, but neither what it said nor a key; nobody was asked, and the deployment is as well as before."""
    models = [entry(provider, model=model, api_key="sk-of-the-provider-1234")]
    other = Settings.model_validate({**settings.model_dump(), "model_list": models})
    async with running(other, provider) as gateway:
        for _ in range(4):
            with pytest.raises(openai.BadRequestError) as caught:
                await gateway.client.chat.completions.create(**{"model": "default", "messages": HELLO, **asked})
        state = gateway.services.health.reports()[0].state

    body: Any = caught.value.response.json()
    assert (body["type"], body["error"]["type"]) == (
        "urn:feedback-gateway:problem:invalid-request",
        "invalid_request_error",
    )
    assert reason in body["detail"]
    assert not any(word in str(body).lower() for word in ("bob", "sk-of", "drop_params"))
    assert (provider.heard, state) == ([], "healthy")
