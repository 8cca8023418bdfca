"""Both roads to a provider that speaks OpenAI's protocol: LiteLLM's and the direct one send and read the same."""

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import respx

from feedback_gateway.clock import SystemClock
from feedback_gateway.errors import ProviderError
from feedback_gateway.llm.litellm_client import LiteLLMClient, capabilities, load_litellm
from feedback_gateway.llm.models import Completion, Deployment
from feedback_gateway.llm.openai_client import OpenAIClient
from feedback_gateway.llm.openai_endpoint import SPEAKERS, endpoint_of
from feedback_gateway.llm.openai_http import Connections
from feedback_gateway.llm.openai_wire import Wire
from feedback_gateway.llm.price_table import find_row, load_price_table
from feedback_gateway.llm.scripted_server import Play, ScriptedServer, scripted_server
from tests.llm.replay import Exchange, deployment, exchanges, prepare, question

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier:UserWarning")]

TABLE = load_price_table()
PARAMETERS = {"max_tokens", "temperature", "response_format", "tools", "tool_choice"}


def listed(one: Deployment) -> Deployment:
    """The deployment with what the price table says of its model."""
    return replace(one, listed=find_row(one.model, TABLE))


SPOKEN = [each for each in exchanges() if each.excluded is None and endpoint_of(listed(deployment(each))) is not None]


async def through_litellm(exchange: Exchange, messages: Any, params: Any) -> tuple[Any, Completion | ProviderError]:
    """The body that LiteLLM sends, and what is read from the recorded answer."""
    prepare()
    with respx.mock(assert_all_called=False) as wire:
        wire.route().mock(return_value=httpx.Response(exchange.status, json=exchange.body, headers=exchange.headers))
        try:
            answer: Completion | ProviderError = await LiteLLMClient(deployment(exchange)).send(messages, params)
        except ProviderError as error:
            answer = error
        [call] = wire.calls
    return json.loads(call.request.content), answer


async def straight(
    exchange: Exchange, messages: Any, params: Any, *, server: ScriptedServer
) -> tuple[Any, Completion | ProviderError]:
    """The body that goes out straight, and what is read from the same answer."""
    server.script = lambda _: Play(status=exchange.status, body=exchange.body, headers=exchange.headers)
    given = deployment(exchange)
    there = listed(replace(given, params={**given.params, "api_base": server.url}))
    endpoint = endpoint_of(there)
    assert endpoint is not None
    connections = Connections()
    client = OpenAIClient(Wire(there, endpoint, connections, clock=SystemClock()))
    try:
        answer: Completion | ProviderError = await client.send(messages, params)
    except ProviderError as error:
        answer = error
    finally:
        await connections.aclose()
    return server.heard[-1].body, answer


def told(answer: Completion | ProviderError) -> Any:
    """All that an answer says, or how it failed; LiteLLM puts some providers' names before their models'."""
    if isinstance(answer, Completion):
        return replace(answer, model=answer.model.removeprefix("cerebras/").removeprefix("groq/"))
    return type(answer), answer.status, answer.usage, answer.retry_after, answer.is_lost


@pytest.mark.parametrize("exchange", SPOKEN, ids=lambda each: f"{each.provider}-{each.id}")
async def test_recorded_answer_is_read_alike_and_asked_for_alike(exchange: Exchange) -> None:
    """The same body on the wire; the same text, reason, model and tokens, or the same error."""
    messages, params = question(exchange)

    theirs, expected = await through_litellm(exchange, messages, params)
    async with scripted_server() as server:
        ours, answer = await straight(exchange, messages, params, server=server)

    assert ours == {key: value for key, value in theirs.items() if (key, value) != ("stream", False)}
    assert told(answer) == told(expected)


def test_recordings_of_many_providers_take_the_direct_road() -> None:
    """The comparison covers something."""
    assert {each.provider for each in SPOKEN} >= {"openai", "openrouter", "groq", "mistral", "deepseek", "cerebras"}
    assert len(SPOKEN) > 50


LISTED = [
    name if name.startswith(f"{row['litellm_provider']}/") else f"{row['litellm_provider']}/{name}"
    for name, row in TABLE.items()
    if row["litellm_provider"] in SPEAKERS and row.get("mode") == "chat"
]


@pytest.mark.parametrize("provider", SPEAKERS)
def test_model_is_asked_for_json_as_litellm_would(provider: str) -> None:
    """For every listed model, and one that nobody knows: the same ways in the same order, the same parameters."""
    litellm = load_litellm()
    models = [name for name in LISTED if name.startswith(f"{provider}/")] + [f"{provider}/unknown"]
    params = {"api_key": "none", "api_base": "http://model.test/v1"}
    differing = []
    for model in models:
        one = listed(Deployment(alias="default", name=model, model=model, params=params))
        endpoint = endpoint_of(one)
        if endpoint is None:
            continue
        supported, modes = capabilities(litellm, one)
        if (tuple(modes), supported & PARAMETERS) != (endpoint.modes, endpoint.supported):
            differing.append((model, modes, endpoint.modes, supported & PARAMETERS ^ endpoint.supported))

    assert differing == []


def test_addresses_are_litellms() -> None:
    """Where the table says that a provider is, LiteLLM finds it too."""
    litellm = load_litellm()
    for provider, speaker in SPEAKERS.items():
        if speaker.base is not None and provider not in ("openai", "openrouter", "together_ai", "deepseek"):
            _, _, _, base = litellm.get_llm_provider(f"{provider}/model")
            assert urlsplit(str(base)) == urlsplit(speaker.base)
