"""With `redaction.before_provider` no provider sees personal data, and the caller sees nothing of the masks."""

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from feedback_gateway.calls.models import Call
from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.llm.models import Completion, CompletionRequest
from feedback_gateway.llm.scripted import ScriptedClient, answer
from feedback_gateway.redaction.findings import Kind
from feedback_gateway.services import open_services
from feedback_gateway.settings import Settings
from feedback_gateway.tasks.models import Answer, CallOptions
from tests.api.conftest import fill
from tests.redaction.canaries import PLAIN

pytestmark = pytest.mark.anyio

SAID = "It crashes. " + "; ".join(f"my {kind.lower()} {value}" for kind, value in PLAIN.items()) + ". Thanks."
WRITTEN = frozenset({"text", "logs", "title"})
TASKS = [
    "categorize",
    "classify",
    "reply-draft",
    "root-cause-suggest",
    "sentiment",
    "severity",
    "summarize",
    "translate",
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Masked, on a file of its own; nobody waits for another's answer."""
    return Settings.model_validate(
        {
            "model_list": [{"model_name": "default", "litellm_params": {"model": "scripted/one"}}],
            "database_url": f"sqlite:///{tmp_path / 'calls.db'}",
            "redaction": {"before_provider": True},
            "cache": {"max_entries": 0},
        }
    )


def seen(request: CompletionRequest) -> str:
    """All that a provider is told."""
    return json.dumps([[one.content for one in request.messages], request.items], ensure_ascii=False)


def planted(value: Any, name: str = "") -> Any:
    """A task's example with personal data in everything that users write."""
    if isinstance(value, Mapping):
        return {key: planted(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [planted(one, name) for one in value]
    return f"{value} {SAID}" if name in WRITTEN else value


@pytest.mark.parametrize("task", TASKS)
async def test_provider_sees_no_personal_data_and_caller_gets_back_their_own(settings: Settings, task: str) -> None:
    """Of every task's inputs; what the model repeats of them is restored word for word."""

    def repeat(request: CompletionRequest) -> Completion:
        masked = re.search(r"It crashes\. my .*?\. Thanks\.", request.messages[-1].content, re.DOTALL)
        assert masked is not None
        told = json.dumps(fill(request.output_schema)).replace('"x"', json.dumps(masked[0]))
        return answer(told)

    provider = ScriptedClient([repeat])
    async with open_services(settings, provider=lambda _: provider) as services:
        item = planted(services.registry.get(task).example_request)
        outcome = await services.tasks.run(task, item, consumer=LOCAL_CONSUMER, options=CallOptions())

    told = "".join(seen(request) for request in provider.requests)
    assert [value for value in PLAIN.values() if value in told] == []
    assert "<EMAIL_1>" in told
    result = json.dumps(outcome.result, ensure_ascii=False)
    assert "<EMAIL" not in result
    assert "It crashes" not in result or SAID in result


async def test_quotes_of_masked_text_are_evidence_at_their_true_places(settings: Settings) -> None:
    """The offsets are those of the text that the caller sent."""
    text = f"Hello. Write to {PLAIN[Kind.EMAIL]} now, it crashes."
    quote = f"Write to {PLAIN[Kind.EMAIL]} now"

    def quoting(request: CompletionRequest) -> Completion:
        value = fill(request.output_schema) | {"evidence": [{"quote": "Write to <EMAIL_1> now"}]}
        return answer(json.dumps(value))

    provider = ScriptedClient([quoting])
    async with open_services(settings, provider=lambda _: provider) as services:
        found = await services.tasks.run("sentiment", {"text": text}, consumer=LOCAL_CONSUMER, options=CallOptions())

    start = text.index(quote)
    assert found.result["evidence"] == [{"quote": quote, "start": start, "end": start + len(quote)}]


async def test_what_a_user_wrote_like_a_placeholder_stays_what_it_is(settings: Settings) -> None:
    """It is nobody's address, and the address beside it has another number."""
    text = "The literal <EMAIL_1> and jane@example.com."

    def quoting(request: CompletionRequest) -> Completion:
        shown = re.search(r"The literal [^.]*\.", request.messages[-1].content)
        assert shown is not None
        return answer(json.dumps(fill(request.output_schema) | {"evidence": [{"quote": shown[0]}]}))

    provider = ScriptedClient([quoting])
    async with open_services(settings, provider=lambda _: provider) as services:
        found = await services.tasks.run("sentiment", {"text": text}, consumer=LOCAL_CONSUMER, options=CallOptions())

    assert "The literal <EMAIL_1> and <EMAIL_2>." in seen(provider.requests[0])
    assert [one["quote"] for one in found.result["evidence"]] == [text]


class Together:
    """A provider that answers everybody once all are there, each with the first address of their text."""

    def __init__(self, count: int) -> None:
        self._all = asyncio.Barrier(count)

    async def prepare(self) -> None:
        """Nothing to load."""

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:
        """Wait for the others, then quote."""
        await self._all.wait()
        return answer(json.dumps(fill(request.output_schema) | {"evidence": [{"quote": "<EMAIL_1>"}]}))


async def test_calls_at_the_same_time_never_see_each_other_s_placeholders(settings: Settings) -> None:
    """One placeholder, as many meanings as there are calls."""
    addresses = [f"user{number}@example.com" for number in range(16)]
    items = [{"text": f"Write to {address}."} for address in addresses]
    provider = Together(len(items))
    async with open_services(settings, provider=lambda _: provider) as services:
        bypass = CallOptions(cache="bypass")  # but for the addresses, they say the same
        found = await asyncio.gather(
            *(services.tasks.run("sentiment", item, consumer=LOCAL_CONSUMER, options=bypass) for item in items)
        )

    assert [one.result["evidence"][0]["quote"] for one in found if isinstance(one, Answer)] == addresses
