"""The main job with a scripted model: items in, checked answers out, each call in the ledger."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from feedback_gateway.calls.models import Call
from feedback_gateway.calls.repository import CallFilters
from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.errors import InvalidModelOutput, InvalidRequest, ProviderUnavailable, UnknownTask
from feedback_gateway.llm.models import Completion, CompletionRequest, Provider
from feedback_gateway.llm.scripted import ScriptedClient, Step, answer
from feedback_gateway.services import Services, open_services
from feedback_gateway.settings import DeploymentParams, ModelEntry, Settings
from feedback_gateway.tasks.models import Answer, CallOptions, Failure

pytestmark = pytest.mark.anyio

TEXT = "The export crashes since the update. I love the new look, though."
CLASSIFIED = {
    "sentiment": "mixed",
    "category": "bug",
    "subcategory": "UI",
    "severity": "major",
    "language": "en",
    "summary": "Export crashes; look is liked.",
    "confidence": 0.9,
    "evidence": [{"quote": "the export CRASHES"}],
}
PRICED = ModelEntry(
    model_name="default",
    litellm_params=DeploymentParams(
        model="openai/scripted", timeout=0.5, input_cost_per_token="0.000001", output_cost_per_token="0.000002"
    ),
)
NO_OPTIONS = CallOptions()

Open = Callable[[Sequence[Step] | Provider], AbstractAsyncContextManager[Services]]


@pytest.fixture
def gateway(tmp_path: Path) -> Open:
    """Opens services over a scripted provider and a database of their own."""

    @asynccontextmanager
    async def opened(script: Sequence[Step] | Provider) -> AsyncIterator[Services]:
        settings = Settings(model_list=[PRICED], database_url=f"sqlite:///{tmp_path}/calls.db")
        client = ScriptedClient(script) if isinstance(script, Sequence) else script
        async with open_services(settings, provider=lambda _: client) as services:
            yield services

    return opened


def said(**changes: Any) -> Step:
    """The model's answer to `classify`."""
    return answer(json.dumps(CLASSIFIED | changes))


async def classify(services: Services, item: object = None, options: CallOptions = NO_OPTIONS) -> Answer:
    """One item through `classify`."""
    return await services.tasks.run(
        "classify", item or {"text": TEXT, "id": "t-1"}, consumer=LOCAL_CONSUMER, options=options
    )


async def test_answer_carries_labels_evidence_route_and_exact_cost(gateway: Open) -> None:
    """The whole of a good answer."""
    async with gateway([said()]) as services:
        outcome = await classify(services)

    assert outcome.id == "t-1"
    assert outcome.deployment == "openai/scripted"
    assert outcome.result["evidence"] == [{"quote": "The export crashes", "start": 0, "end": 18}]
    assert outcome.result["route"]["team"]
    assert "confidence" not in outcome.result
    assert outcome.claim == 0.9
    assert outcome.result["needs_review"] is False
    assert outcome.receipt.cost_usd == Decimal("0.00014")


async def test_invented_quote_is_dropped_counted_and_sends_the_item_to_a_person(gateway: Open) -> None:
    """An answer whose evidence is not in the text is not trusted further than that."""
    evidence = [{"quote": "crashes since"}, {"quote": "I hate it"}]
    async with gateway([said(evidence=evidence)]) as services:
        outcome = await classify(services)
        await services.books.writer.flush()
        record, _ = services.books.calls.get(outcome.call_id)

    assert [entry["quote"] for entry in outcome.result["evidence"]] == ["crashes since"]
    assert outcome.result["needs_review"] is True
    assert record.dropped_evidence == 1


async def test_low_confidence_needs_review(gateway: Open) -> None:
    """A model that is not sure is not left alone with it."""
    async with gateway([said(confidence=0.4)]) as services:
        assert (await classify(services)).result["needs_review"] is True


async def test_subcategory_of_another_category_is_left_out(gateway: Open) -> None:
    """Question has no subcategory UI."""
    async with gateway([said(category="question", subcategory="UI")]) as services:
        assert (await classify(services)).result["subcategory"] is None


async def test_label_outside_the_enumeration_never_leaves(gateway: Open) -> None:
    """Asked again once, then an error."""
    async with gateway([said(category="kaputt")]) as services:
        with pytest.raises(InvalidModelOutput) as failure:
            await classify(services)
        await services.books.writer.flush()
        _, attempts = services.books.calls.get(failure.value.call_id or "")

    assert [attempt.purpose for attempt in attempts] == ["answer", "repair"]


async def test_request_brings_its_own_taxonomy(gateway: Open) -> None:
    """Labels are those of the request; teams and rules stay the operator's."""
    item = {"text": TEXT, "taxonomy": {"categories": [{"name": "Exports"}, {"name": "Looks"}]}}
    async with gateway([said(category="exports", subcategory=None)]) as services:
        outcome = await classify(services, item)

    assert outcome.result["category"] == "Exports"
    assert outcome.result["route"]["team"]


@pytest.mark.parametrize("task", ["severity", "classify", "categorize"])
async def test_taxonomy_of_categories_alone_is_enough(tmp_path: Path, task: str) -> None:
    """What it does not say is left out of the prompt."""
    taxonomy = tmp_path / "taxonomy.yaml"
    taxonomy.write_text("categories: [{name: billing}, {name: delivery}]")
    settings = Settings(taxonomy=taxonomy, database_url=f"sqlite:///{tmp_path}/calls.db")

    async with open_services(settings) as services:
        outcome = await services.tasks.run(task, {"text": TEXT}, consumer=LOCAL_CONSUMER, options=NO_OPTIONS)

    assert outcome.task == task


@pytest.mark.parametrize("task", ["severity", "classify"])
async def test_severities_mean_what_the_configured_taxonomy_says(tmp_path: Path, task: str) -> None:
    """The model is told, whether or not the request can bring a taxonomy of its own."""
    taxonomy = tmp_path / "taxonomy.yaml"
    severities = [{"name": "critical", "description": "A PLANE IS LATE"}]
    taxonomy.write_text(json.dumps({"categories": [{"name": "flight"}], "severities": severities}))
    settings = Settings(model_list=[PRICED], taxonomy=taxonomy, database_url=f"sqlite:///{tmp_path}/calls.db")
    asked = ScriptedClient([answer("{}")])

    async with open_services(settings, provider=lambda _: asked) as services:
        await services.tasks.run_many(task, [{"text": TEXT}], consumer=LOCAL_CONSUMER, options=NO_OPTIONS)

    assert "A PLANE IS LATE" in asked.requests[0].messages[-1].content


async def test_severities_are_learned_from_the_examples_of_the_configured_taxonomy(tmp_path: Path) -> None:
    """By the embedded model, which would go by words otherwise."""
    taxonomy = tmp_path / "taxonomy.yaml"
    examples = {
        "critical": [f"Gate {number} is closed and the plane waits." for number in range(10)],
        "minor": [f"Seat {number} has a stain." for number in range(10)],
    }
    severities = [{"name": name, "examples": texts} for name, texts in examples.items()]
    taxonomy.write_text(json.dumps({"categories": [{"name": "flight"}], "severities": severities}))
    settings = Settings(taxonomy=taxonomy, database_url=f"sqlite:///{tmp_path}/calls.db")

    async with open_services(settings) as services:
        item = {"text": "Gate 40 is closed, our plane waits for us."}
        outcome = await services.tasks.run("severity", item, consumer=LOCAL_CONSUMER, options=NO_OPTIONS)

    assert outcome.result["severity"] == "critical"
    assert "the team's examples" in outcome.result["reason"]


@pytest.mark.parametrize(
    ("item", "loc"),
    [
        ("text", ()),
        ({"text": ""}, ("text",)),
        ({"text": " \n\t"}, ("text",)),
        ({"text": 7}, ("text",)),
        ({}, ("text",)),
        ({"text": "x" * 100_001}, ("text",)),
        ({"text": "half \ud800 a pair"}, ("text",)),
        ({"text": TEXT, "txt": "x"}, ("txt",)),
        ({"text": TEXT, "id": True}, ("id",)),
        ({"text": TEXT, "metadata": [1]}, ("metadata",)),
        ({"text": TEXT, "taxonomy": {"categories": []}}, ("taxonomy", "categories")),
        ({"text": TEXT, "taxonomy": {"categories": ["a", "A"]}}, ("taxonomy", "categories", 1)),
    ],
)
async def test_item_that_does_not_fit_is_refused_with_its_place(
    gateway: Open, item: object, loc: tuple[Any, ...]
) -> None:
    """No call is made, and the caller learns where it is wrong."""
    async with gateway([said()]) as services:
        with pytest.raises(InvalidRequest) as refusal:
            await services.tasks.run("classify", item, consumer=LOCAL_CONSUMER, options=NO_OPTIONS)
        await services.books.writer.flush()
        page = services.books.calls.page(CallFilters())

    places = [problem.loc[: len(loc)] for problem in refusal.value.problems]
    assert loc in places
    assert page.data == ()


async def test_one_bad_item_never_fails_the_rest_and_order_is_kept(gateway: Open) -> None:
    """Each place holds its own answer or its own error."""
    items: list[object] = [{"text": TEXT, "id": n} for n in range(50)]
    items[7] = {"text": "", "id": 7}
    items[31] = None

    async with gateway([said()]) as services:
        outcomes = await services.tasks.run_many("classify", items, consumer=LOCAL_CONSUMER, options=NO_OPTIONS)

    assert [outcome.id for outcome in outcomes] == [None if n == 31 else n for n in range(50)]
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Failure)] == [7, 31]


async def test_every_call_of_many_is_in_the_ledger(gateway: Open) -> None:
    """The rows' sum is the answers' sum, failures included."""
    steps: list[Step] = [ProviderUnavailable("down", status=500), said(), said(category="no"), said(category="no")]
    async with gateway(steps) as services:
        items = [{"text": TEXT} for _ in range(20)]
        outcomes = await services.tasks.run_many("classify", items, consumer=LOCAL_CONSUMER, options=NO_OPTIONS)
        await services.books.writer.flush()
        rows = services.books.reports.usage(["consumer"])

    receipts = [outcome.receipt for outcome in outcomes if outcome.receipt]
    assert len(rows) == 1
    assert rows[0].calls == 20
    assert rows[0].cost_usd == sum(receipt.cost_usd or Decimal(0) for receipt in receipts)
    assert rows[0].failed_calls == sum(isinstance(outcome, Failure) for outcome in outcomes)


async def test_whole_request_ends_in_its_time(gateway: Open) -> None:
    """What has no answer by then says so, in its place."""

    class Busy(ScriptedClient):
        async def complete(self, request: CompletionRequest, call: Call) -> Completion:
            if "slow" in request.items[0]["text"]:
                await asyncio.Event().wait()
            return await super().complete(request, call)

    async with gateway(Busy([answer('{"source_language": "de", "translation": "fast"}')])) as services:
        items = [{"text": text, "target_language": "en"} for text in ("quick", "slow", "quick")]
        options = CallOptions(timeout_s=0.2)
        outcomes = await services.tasks.run_many("translate", items, consumer=LOCAL_CONSUMER, options=options)

    assert [type(outcome) for outcome in outcomes] == [Answer, Failure, Answer]


async def test_items_are_pulled_only_as_answers_are_taken(gateway: Open) -> None:
    """A file of any size streams through: reading stays a bounded way ahead."""
    pulled = 0

    def items() -> Iterator[object]:
        nonlocal pulled
        for _ in range(100_000):
            pulled += 1
            yield {"text": f"{TEXT} {pulled}"}

    async with gateway([said()]) as services:
        batch = services.registry.get("classify").prompt.batch
        stream = services.tasks.stream("classify", items(), consumer=LOCAL_CONSUMER, options=NO_OPTIONS)
        for _ in range(10):
            await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]

    assert pulled <= 10 + 4 * Settings().limits.concurrency * batch + 1


async def test_unknown_task_model_and_version_are_refused(gateway: Open) -> None:
    """Each with what there is instead."""
    async with gateway([said()]) as services:
        with pytest.raises(UnknownTask, match="classify"):
            await services.tasks.run("praise", {"text": TEXT}, consumer=LOCAL_CONSUMER, options=NO_OPTIONS)
        with pytest.raises(InvalidRequest, match="best"):
            await classify(services, options=CallOptions(model="best"))
        with pytest.raises(InvalidRequest):
            await classify(services, options=CallOptions(prompt_version=99))


async def test_single_text_is_summarised_under_its_own_id(gateway: Open) -> None:
    """One text is a list of one, cited by the id it came with."""
    summary = {"headline": "h", "summary": "s", "key_points": [{"point": "p", "item_ids": ["t-9"]}], "action_items": []}
    async with gateway([answer(json.dumps(summary))]) as services:
        item = {"text": TEXT, "id": "t-9"}
        outcome = await services.tasks.run("summarize", item, consumer=LOCAL_CONSUMER, options=NO_OPTIONS)

    assert outcome.result["key_points"] == [{"point": "p", "item_ids": ["t-9"]}]


async def test_id_that_stands_twice_among_the_texts_is_refused(gateway: Open) -> None:
    """A citation must mean one text."""
    item = {"texts": [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}, {"id": "a", "text": "z"}]}
    async with gateway([answer("{}")]) as services:
        with pytest.raises(InvalidRequest) as refusal:
            await services.tasks.run("summarize", item, consumer=LOCAL_CONSUMER, options=NO_OPTIONS)

    assert refusal.value.problems[0].loc == ("texts", 2, "id")


async def test_cause_without_a_line_that_speaks_for_it_is_left_out(gateway: Open) -> None:
    """A hypothesis is worth its evidence."""
    hypotheses = [
        {"cause": cause, "likelihood": "high", "evidence": [{"source": source, "quote": quote}]}
        | {"next_step": "look", "knowledge_ids": []}
        for cause, source, quote in [("disk", "logs", "disk FULL"), ("moon", "logs", "full moon"), ("x", "text", "no")]
    ]
    value = {"hypotheses": hypotheses, "five_whys": [], "missing_information": []}
    async with gateway([answer(json.dumps(value))]) as services:
        item = {"text": "it stopped", "logs": "12:00 ERROR disk full"}
        outcome = await services.tasks.run("root-cause-suggest", item, consumer=LOCAL_CONSUMER, options=NO_OPTIONS)

    assert [one["cause"] for one in outcome.result["hypotheses"]] == ["disk"]
    assert outcome.result["hypotheses"][0]["evidence"][0]["quote"] == "disk full"


async def test_fault_of_ours_with_one_item_costs_no_other_its_answer(
    gateway: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """The item has an error in its place, and the log has the frames without the text."""

    def faulty(request: CompletionRequest) -> Completion:
        if "poison" in request.items[0]["text"]:
            raise ZeroDivisionError(request.items[0]["text"])
        return said(evidence=[])  # type: ignore[return-value]

    async with gateway([faulty]) as services:
        items = [{"text": "good"}, {"text": "poison pill"}, {"text": "good too"}]
        outcomes = await services.tasks.run_many("classify", items, consumer=LOCAL_CONSUMER, options=NO_OPTIONS)

    assert [type(outcome) for outcome in outcomes] == [Answer, Failure, Answer]
    assert "ZeroDivisionError" in caplog.text
    assert "pill" not in caplog.text
