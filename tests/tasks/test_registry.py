"""What follows from a prompt: checks of items, the schemas of answers and results, and the names that are taken."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from feedback_gateway.errors import ConfigurationError, InvalidRequest, UnknownTask
from feedback_gateway.prompts.library import PromptLibrary
from feedback_gateway.tasks.registry import Task, TaskRegistry

FOLDER = Path(__file__).parents[2] / "prompts"
TAXONOMY = {"categories": [{"name": "bug", "subcategories": [{"name": "UI"}]}, {"name": "praise"}]}


def write(
    folder: Path, name: str, *, inputs: dict[str, Any] | None = None, output: dict[str, Any] | None = None
) -> Path:
    """Write one prompt file."""
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    head = {
        "description": "A test.",
        "input": {"schema": inputs or schema},
        "output": {"schema": output or {"type": "object", "properties": {"a": {"type": "string"}}}},
    }
    path = folder / name
    path.write_text(f"---\n{json.dumps(head)}\n---\nUser: {{{{ text }}}}\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def registry() -> TaskRegistry:
    """The product's own tasks."""
    return TaskRegistry(PromptLibrary.load([FOLDER]))


def places(task: Task, item: Any) -> dict[tuple[str | int, ...], str]:
    """What is wrong with an item, by place."""
    return {problem.loc: problem.msg for problem in task.check_item(item)}


def test_an_item_is_checked_at_every_place(registry: TaskRegistry) -> None:
    """Unknown, missing, empty and wrong fields are each named where they are."""
    task = registry.get("reply-draft")

    found = places(
        task, {"text": "", "tone": "rude", "knowledge": [{"id": "a", "text": 1}, {"id": ""}], "x": 1, "y": 2}
    )

    assert found[("text",)] == "must not be empty"
    assert found[("tone",)].startswith('is not one of "friendly", "formal"')
    assert found["knowledge", 0, "text"] == 'is not of type "string"'
    assert found["knowledge", 1, "text"] == "is required"
    assert found["knowledge", 1, "id"] == "must not be empty"
    assert found[("x",)] == found[("y",)] == "unknown field"
    assert places(task, {"text": "fine"}) == {}


def test_problems_repeat_no_values(registry: TaskRegistry) -> None:
    """A megabyte in the wrong place does not come back."""
    task = registry.get("translate")

    problems = task.check_item({"text": ["y" * 1_000_000], "target_language": "z" * 1_000_000, "k" * 1_000_000: 1})

    assert len(problems) == 4
    assert all(len(problem.msg) <= 300 and len(str(problem.loc)) < 400 for problem in problems)


def test_problems_are_bounded(registry: TaskRegistry) -> None:
    """A thousand wrong fields make twenty problems."""
    assert len(registry.get("severity").check_item({str(number): 1 for number in range(1000)})) == 20


@pytest.mark.parametrize("item", [{}, {"text": "a", "texts": [{"id": "1", "text": "b"}]}])
def test_summarize_takes_one_text_or_many(registry: TaskRegistry, item: dict[str, Any]) -> None:
    """Neither and both are refused in words a caller understands."""
    assert places(registry.get("summarize"), item) == {(): "give either `text` or `texts`"}


def test_labels_of_an_answer_come_from_the_request(registry: TaskRegistry) -> None:
    """`x-enum-from` becomes the enumeration of these very inputs."""
    schema = registry.get("classify").answer_schema({"text": "x", "taxonomy": TAXONOMY})["properties"]

    assert schema["category"] == {"type": "string", "enum": ["bug", "praise"]}
    assert schema["subcategory"] == {"type": ["string", "null"], "enum": ["UI", None]}


def test_without_choices_a_label_must_be_null_and_a_list_empty(registry: TaskRegistry) -> None:
    """Where the request offers nothing, the model can choose nothing."""
    flat = {"categories": [{"name": "bug"}]}
    classify = registry.get("classify").answer_schema({"text": "x", "taxonomy": flat})["properties"]
    reply = registry.get("reply-draft").answer_schema({"text": "x", "knowledge": None})["properties"]

    assert classify["subcategory"]["enum"] == [None]
    assert reply["knowledge_ids"] == {"type": "array", "items": {"type": "string"}, "maxItems": 0}
    assert registry.get("classify").answer_schema({"text": "x"})["properties"]["category"] == {"type": "string"}


def test_fixed_and_requested_labels_join(registry: TaskRegistry) -> None:
    """Evidence of a cause comes from the report, the logs or one of the articles."""
    inputs = {"text": "x", "knowledge": [{"id": "kb-1", "text": "a"}, {"id": "logs", "text": "b"}]}
    hypothesis = registry.get("root-cause-suggest").answer_schema(inputs)["properties"]["hypotheses"]["items"]

    source = hypothesis["properties"]["evidence"]["items"]["properties"]["source"]
    assert source == {"type": "string", "enum": ["text", "logs", "kb-1"]}
    assert hypothesis["properties"]["knowledge_ids"]["items"]["enum"] == ["kb-1", "logs"]


def test_answer_schemas_hold_no_words_of_ours(registry: TaskRegistry) -> None:
    """Providers refuse keywords that they do not know."""
    for name in registry.names():
        schema = registry.get(name).answer_schema({"taxonomy": TAXONOMY, "texts": [{"id": "a", "text": "b"}]})
        assert "x-enum-from" not in json.dumps(schema)
        assert "examples" not in schema
        jsonschema_rs.Draft202012Validator(schema)


def test_the_same_choices_give_the_same_schema(registry: TaskRegistry) -> None:
    """It is made once, not for every item; many ids of one request are not kept."""
    classify, summarize = registry.get("classify"), registry.get("summarize")
    many = {"texts": [{"id": str(number), "text": "x"} for number in range(1001)]}

    first = classify.answer_schema({"text": "a", "taxonomy": TAXONOMY})
    for number in range(200):
        classify.answer_schema({"taxonomy": {"categories": [{"name": str(number)}]}})

    assert classify.answer_schema({"text": "b", "taxonomy": TAXONOMY}) == first
    assert classify.answer_schema({"taxonomy": TAXONOMY}) is classify.answer_schema({"taxonomy": TAXONOMY})
    assert summarize.answer_schema(many) is not summarize.answer_schema(many)


def test_results_carry_offsets_and_what_the_gateway_adds(registry: TaskRegistry) -> None:
    """The documented result is the model's answer and our own fields, all of them required but a confidence."""
    classify = registry.get("classify").result_schema
    sentiment = registry.get("sentiment").result_schema

    assert {"route", "needs_review"} < set(classify["required"])
    assert set(classify["properties"]) - set(classify["required"]) == {"confidence", "confidence_source"}
    assert classify["properties"]["category"] == {"type": "string"}
    for evidence in (
        sentiment["properties"]["evidence"],
        sentiment["properties"]["aspects"]["items"]["properties"]["evidence"],
    ):
        assert evidence["items"]["required"] == ["quote", "start", "end"]
    assert "confidence_source" not in sentiment["properties"]
    assert "needs_review" in registry.get("severity").result_schema["required"]
    assert "needs_review" not in registry.get("summarize").result_schema["properties"]


def test_examples_fit_the_documented_schemas(registry: TaskRegistry) -> None:
    """What the documentation shows is what it says."""
    for name in registry.names():
        task = registry.get(name)
        request = jsonschema_rs.Draft202012Validator(dict(task.request_schema))
        assert request.is_valid(task.example_request)
        assert request.is_valid({"items": [task.example_request, {**(task.example_request or {}), "id": "a"}]})
        jsonschema_rs.Draft202012Validator(dict(task.result_schema)).validate(task.example_result)


@pytest.mark.parametrize(
    ("body", "valid"),
    [
        ({"text": "x"}, True),
        ({"text": "x", "id": "a", "metadata": {"b": 1}, "options": {"model": "default", "cache": "bypass"}}, True),
        ({"items": [{"text": "x", "id": 7}], "options": {"timeout_s": 2.5, "prompt_version": 1}}, True),
        ({"text": "x", "optoins": {}}, False),
        ({"text": "x", "options": {"cache": "never"}}, False),
        ({"items": []}, False),
        ({"items": [{"text": "x", "options": {}}]}, False),
        ({"items": [{"text": "x"}], "text": "y"}, False),
    ],
)
def test_requests_are_documented_with_their_envelope(
    registry: TaskRegistry, body: dict[str, Any], valid: object
) -> None:
    """One item with id, metadata and options, or many items with options."""
    assert jsonschema_rs.Draft202012Validator(dict(registry.get("severity").request_schema)).is_valid(body) is valid


def test_a_name_of_another_route_is_refused(tmp_path: Path) -> None:
    """At start the file is named; while running it counts as broken and serves nothing."""
    write(tmp_path, "topic.v1.prompt")
    library = PromptLibrary.load([tmp_path])
    registry = TaskRegistry(library)

    path = write(tmp_path, "usage.v1.prompt")
    library.refresh()

    assert registry.names() == ("topic",)
    assert registry.broken == {path: f"{path}:1: the name 'usage' belongs to another route; choose another"}
    with pytest.raises(UnknownTask, match="there are: topic"):
        registry.get("usage")
    with pytest.raises(UnknownTask):
        registry.versions("usage")
    with pytest.raises(ConfigurationError, match=r"usage\.v1\.prompt:1: "):
        TaskRegistry(library)
    assert TaskRegistry(library, reserved=()).names() == ("topic", "usage")


def test_a_task_is_built_once_and_again_after_a_change(tmp_path: Path) -> None:
    """The same file is the same task; a changed file is another."""
    write(tmp_path, "topic.v1.prompt")
    library = PromptLibrary.load([tmp_path])
    registry = TaskRegistry(library)
    before = registry.get("topic")

    assert registry.get("topic", 1) is before
    for number in range(100):
        write(tmp_path, "topic.v1.prompt", output={"type": "object", "properties": {f"b{number}": {}}})
        library.refresh()
        assert set(registry.get("topic").result_schema["properties"]) == {f"b{number}"}
    assert (registry.get("topic").name, registry.get("topic").version) == ("topic", 1)
    with pytest.raises(InvalidRequest):
        registry.get("topic", 2)


def test_an_example_whose_quote_is_not_in_its_text_breaks_nothing(tmp_path: Path) -> None:
    """The documentation of a user's prompt is built whatever its examples say."""
    evidence = {"type": "array", "items": {"type": "object", "properties": {"quote": {"type": "string"}}}}
    inputs = {"type": "object", "properties": {"text": {"type": "string"}}, "examples": [{"text": "a"}]}
    output = {"type": "object", "properties": {"evidence": evidence}, "examples": [{"evidence": [{"quote": "b"}]}]}
    write(tmp_path, "topic.v1.prompt", inputs=inputs, output=output)
    write(tmp_path, "mood.v1.prompt")

    registry = TaskRegistry(PromptLibrary.load([tmp_path]))

    assert registry.get("topic").example_result == {"evidence": [{"quote": "b"}]}
    assert registry.get("mood").example_result is None
