"""With `redaction.before_provider` a provider sees placeholders and the caller sees none of them."""

from typing import Any

import pytest

from feedback_gateway.llm.scripted_server import Heard, Play, ScriptedServer
from feedback_gateway.settings import Settings
from tests.passthrough.conftest import MARKS, running

pytestmark = MARKS
ASKED: Any = [{"role": "user", "content": "Write to mallory@example.com."}]


def echo(heard: Heard) -> Play:
    """Say what was asked."""
    return Play(text=heard.body["messages"][0]["content"])


@pytest.fixture
def road() -> str:
    """The same on any."""
    return "straight"


@pytest.mark.parametrize("stream", [False, True])
async def test_address_stays_at_home_and_comes_back(settings: Settings, provider: ScriptedServer, stream: Any) -> None:
    """Whole or streamed: a placeholder that came in two parts would not be known again."""
    redaction = settings.redaction.model_copy(update={"before_provider": True})
    provider.script = echo
    async with running(settings.model_copy(update={"redaction": redaction}), provider) as gateway:
        asked: Any = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        answer: Any = await gateway.client.chat.completions.create(model="default", messages=ASKED, **asked)
        if stream:
            chunks = [chunk async for chunk in answer]
            said, usage = chunks[0].choices[0].delta.content, chunks[-1].usage
        else:
            said, usage = answer.choices[0].message.content, answer.usage

    assert said == "Write to mallory@example.com."
    assert usage.total_tokens == 120
    assert provider.heard[0].body["messages"][0]["content"] == "Write to <EMAIL_1>."


async def test_what_says_who_asks_is_masked_as_well(settings: Settings, provider: ScriptedServer) -> None:
    """The names of users, and what callers note beside a request."""
    redaction = settings.redaction.model_copy(update={"before_provider": True})
    address = "mallory@example.com"
    beside: Any = {"user": address, "metadata": {"from": address}, "safety_identifier": address}
    async with running(settings.model_copy(update={"redaction": redaction}), provider) as gateway:
        await gateway.client.chat.completions.create(model="default", messages=ASKED, **beside)
        await gateway.client.embeddings.create(model="default", input=[address], user=address)

    assert address not in str([heard.body for heard in provider.heard])
    assert provider.heard[0].body["metadata"] == {"from": "<EMAIL_1>"}
