"""The eight prompts that come with the product."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedback_gateway.prompts.library import PromptLibrary
from feedback_gateway.prompts.render import render
from feedback_gateway.tasks.registry import TaskRegistry
from feedback_gateway.tasks.taxonomy import load_taxonomy

FOLDER = Path(__file__).parents[2] / "prompts"
INPUTS = {
    "categorize": {"text", "taxonomy"},
    "classify": {"text", "taxonomy"},
    "reply-draft": {"text", "tone", "knowledge"},
    "root-cause-suggest": {"text", "logs", "knowledge"},
    "sentiment": {"text"},
    "severity": {"text"},
    "summarize": {"text", "texts", "audience", "max_words"},
    "translate": {"text", "target_language"},
}
OUTPUTS = {
    "categorize": {"category", "subcategory", "confidence", "alternatives", "suggested_category", "evidence"},
    "classify": {
        "sentiment", "category", "subcategory", "severity", "language", "summary", "confidence", "suggested_category",
        "evidence",
    },
    "reply-draft": {"reply", "knowledge_ids"},
    "root-cause-suggest": {"hypotheses", "five_whys", "missing_information"},
    "sentiment": {"label", "score", "aspects", "evidence"},
    "severity": {"severity", "priority", "impact", "reason"},
    "summarize": {"headline", "summary", "key_points", "action_items"},
    "translate": {"source_language", "translation"},
}  # fmt: skip
FENCE = "0123456789abcdef"


@pytest.fixture(scope="module")
def registry() -> TaskRegistry:
    """The product's own tasks."""
    return TaskRegistry(PromptLibrary.load([FOLDER]))


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object schema inside a schema."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for value in schema.values():
            yield from objects(value)
    if isinstance(schema, list):
        for value in schema:
            yield from objects(value)


def test_the_eight_tasks_are_there(registry: TaskRegistry) -> None:
    """Names are those of the contract."""
    assert set(registry.names()) == set(INPUTS)


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_and_outputs_are_those_of_the_contract(registry: TaskRegistry, name: str) -> None:
    """A renamed field would break callers."""
    prompt = registry.get(name).prompt

    assert set(prompt.input_schema["properties"]) == INPUTS[name]
    assert set(prompt.output_schema["properties"]) == OUTPUTS[name]


@pytest.mark.parametrize("name", INPUTS)
def test_output_schemas_suit_strict_providers(registry: TaskRegistry, name: str) -> None:
    """Providers' strict modes want every property required and nothing beside them."""
    for schema in objects(registry.get(name).answer_schema({})):
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"])


@pytest.mark.parametrize("name", INPUTS)
def test_examples_are_whole(registry: TaskRegistry, name: str) -> None:
    """The example of the documentation fits its schema, and its quotes are in its text."""
    task = registry.get(name)

    assert task.example_request is not None
    assert task.example_result is not None
    assert task.check_item(task.example_request) == ()
    assert set(task.example_result) == set(task.result_schema["properties"])
    for row in every_quote(task.example_result):
        source = task.example_request[row.get("source", "text")]
        assert source[row["start"] : row["end"]] == row["quote"]


def every_quote(value: Any) -> Iterator[dict[str, Any]]:
    """Every entry of evidence inside a result."""
    if isinstance(value, dict):
        if "quote" in value:
            yield value
        for item in value.values():
            yield from every_quote(item)
    if isinstance(value, list):
        for item in value:
            yield from every_quote(item)


@pytest.mark.parametrize("name", INPUTS)
def test_prompts_render_with_the_built_in_taxonomy(registry: TaskRegistry, name: str) -> None:
    """A System and a User message; the text is fenced, the fields of the answer are named."""
    task = registry.get(name)
    inputs = {**(task.example_request or {}), "taxonomy": load_taxonomy().as_json()}

    system, user = render(task.prompt, inputs, fence=FENCE)

    assert (system.role, user.role) == ("system", "user")
    assert user.content.endswith(f"DATA {FENCE}>>>")
    assert all(f"`{field}`" in system.content for field in OUTPUTS[name])


@pytest.mark.parametrize(
    ("name", "inputs", "shown"),
    [
        ("summarize", {"text": "x"}, "for the reader support, `summary` in at most 120 words"),
        ("summarize", {"text": "x", "audience": "executive", "max_words": 50}, "executive, `summary` in at most 50"),
        ("translate", {"text": "x", "target_language": "pt-BR"}, "with the tag pt-BR:"),
        ("reply-draft", {"text": "x"}, "in the tone friendly to"),
        ("reply-draft", {"text": "x"}, "There are no articles."),
        ("root-cause-suggest", {"text": "x", "logs": "ERROR 1"}, 'source "logs"):\n<<<DATA'),
    ],
)
def test_choices_of_the_caller_reach_the_model(
    registry: TaskRegistry, name: str, inputs: dict[str, Any], shown: str
) -> None:
    """Labels and numbers stand in the sentence itself, defaults included."""
    task = registry.get(name)

    assert task.check_item(inputs) == ()
    assert shown in render(task.prompt, inputs, fence=FENCE)[-1].content
