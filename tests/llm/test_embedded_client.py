"""The embedded student answers others while it learns for one."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from feedback_gateway.clock import SystemClock
from feedback_gateway.embedded.embedders import Embedder
from feedback_gateway.embedded.labelling import Chooser, ChooserCache
from feedback_gateway.embedded.student import Student, StudentAnswer
from feedback_gateway.embedded.taxonomy import LabelSet
from feedback_gateway.errors import TaskUnsupported
from feedback_gateway.llm import embedded_client
from feedback_gateway.llm.embedded_client import EmbeddedClient
from feedback_gateway.llm.models import Completion, CompletionRequest
from tests.llm.calls import new_call

pytestmark = pytest.mark.anyio

CLOCK = SystemClock()
LONG = {
    "categories": [
        {"name": "sync", "examples": [f"It does not sync file {number}." for number in range(40)]},
        {"name": "price", "examples": [f"It costs {number} euros too much." for number in range(40)]},
    ]
}


@pytest.fixture
async def client() -> AsyncIterator[EmbeddedClient]:
    """A client with a student of its own, who has learned nothing yet."""
    embedded_client.load_student.cache_clear()
    opened = EmbeddedClient()
    await opened.prepare()
    yield opened
    await opened.aclose()


@pytest.fixture
def learning(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Learning of large sets says that it has begun, and goes on when it is told to."""
    begun, go_on = threading.Event(), threading.Event()
    learn = ChooserCache.learn

    def held(cache: ChooserCache, labels: LabelSet) -> Chooser:
        if labels.examples:
            begun.set()
            go_on.wait()
        return learn(cache, labels)

    monkeypatch.setattr(ChooserCache, "learn", held)
    return begun, go_on


def request(task: str, text: str, taxonomy: dict[str, Any] | None = None) -> CompletionRequest:
    """A request for one item."""
    return CompletionRequest(
        model="default",
        messages=(),
        output_schema={},
        max_tokens=10,
        task=task,
        items=({"text": text},),
        taxonomy=taxonomy,
    )


async def test_others_are_answered_while_taxonomies_are_learned(
    client: EmbeddedClient, learning: tuple[threading.Event, threading.Event]
) -> None:
    """More callers than there are threads wait for a taxonomy; one with a plain question does not wait for them."""
    begun, go_on = learning
    asked = request("categorize", "It syncs.", LONG)
    waiting = [asyncio.create_task(client.complete(asked, new_call())) for _ in range(3)]
    try:
        await asyncio.to_thread(begun.wait)
        async with asyncio.timeout(20):
            plain = await client.complete(request("sentiment", "I love it."), new_call())
            described = {"categories": [{"name": "sync"}, {"name": "price"}]}
            small = await client.complete(request("categorize", "It costs too much.", described), new_call())
        assert not any(task.done() for task in waiting)
    finally:
        go_on.set()

    assert plain.value is not None
    assert small.value is not None
    answers = [(await task).value or {} for task in waiting]
    assert [answer["category"] for answer in answers] == ["sync"] * 3


async def test_callers_who_left_are_not_learned_for(
    client: EmbeddedClient, learning: tuple[threading.Event, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many taxonomies only the one under way is learned once their callers are gone."""
    begun, go_on = learning
    learned: list[str] = []
    prepare = Chooser.prepare

    def noted(labels: LabelSet, embedder: Embedder) -> Chooser:
        learned.append(labels.fingerprint)
        return prepare(labels, embedder)

    monkeypatch.setattr(Chooser, "prepare", noted)
    taxonomies = [{"categories": [*LONG["categories"], {"name": f"other {number}"}]} for number in range(4)]
    waiting = [
        asyncio.create_task(client.complete(request("categorize", "It syncs.", taxonomy), new_call()))
        for taxonomy in taxonomies
    ]
    await asyncio.to_thread(begun.wait)
    await client.complete(request("sentiment", "I love it."), new_call())

    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    go_on.set()
    await client.complete(request("categorize", "It syncs.", LONG), new_call())

    assert len(learned) <= 2


async def test_requests_side_by_side_share_turns_and_keep_their_own_outcomes(
    client: EmbeddedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen requests take a few turns of two threads; one that cannot be answered fails alone."""
    turns: list[int] = []
    answer_each = embedded_client.ask_each

    def noted(student: Student, requests: Sequence[CompletionRequest]) -> list[StudentAnswer | Exception]:
        turns.append(len(requests))
        return answer_each(student, requests)

    monkeypatch.setattr(embedded_client, "ask_each", noted)
    texts = ["I love it." if number % 2 else "I hate it." for number in range(16)]
    asked = [request("sentiment", text) for text in texts] + [request("translate", "I love it.")]

    outcomes = await asyncio.gather(*(client.complete(one, new_call()) for one in asked), return_exceptions=True)

    labels = [(outcome.value or {})["label"] for outcome in outcomes if isinstance(outcome, Completion)]
    assert labels == ["negative", "positive"] * 8
    assert [type(outcome) for outcome in outcomes[16:]] == [TaskUnsupported]
    assert (sum(turns), max(turns)) == (17, 8)


async def test_requests_whose_callers_left_take_no_turn(
    client: EmbeddedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what somebody waits for is answered."""
    answered: list[str] = []
    begun, go_on = threading.Event(), threading.Event()
    answer = embedded_client.ask

    def noted(student: Student, asked: CompletionRequest) -> StudentAnswer:
        answered.append(asked.items[0]["text"])
        begun.set()
        go_on.wait()
        return answer(student, asked)

    monkeypatch.setattr(embedded_client, "ask", noted)
    texts = [f"It broke {number} times." for number in range(40)]
    waiting = [asyncio.create_task(client.complete(request("sentiment", text), new_call())) for text in texts]
    await asyncio.to_thread(begun.wait)

    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    go_on.set()
    last = await client.complete(request("sentiment", "I love it."), new_call())

    assert last.value is not None
    assert len(answered) <= 17


async def test_closing_lets_those_go_who_still_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is left hanging, and nothing is left to complain about."""
    client = EmbeddedClient()
    await client.prepare()
    go_on = threading.Event()
    answer = embedded_client.ask

    def held(student: Student, asked: CompletionRequest) -> StudentAnswer:
        go_on.wait()
        return answer(student, asked)

    monkeypatch.setattr(embedded_client, "ask", held)
    waiting = [asyncio.create_task(client.complete(request("sentiment", "x y"), new_call())) for _ in range(40)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    threading.Timer(0.01, go_on.set).start()
    await client.aclose()

    assert {type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)} == {asyncio.CancelledError}
