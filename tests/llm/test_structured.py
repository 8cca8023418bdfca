"""A schema is asked for in the way that a provider takes, and called strict only where it is."""

from typing import Any

import pytest

from feedback_gateway.llm.models import Message
from feedback_gateway.llm.structured import is_strict, structured_messages, structured_params

CLOSED: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": ["string", "null"]}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": CLOSED}}}, True),
        ({**CLOSED, "properties": {"a": {"enum": [{"type": "object"}, "x"]}}}, True),
        ({**CLOSED, "properties": {"a": {"anyOf": [CLOSED, {"type": "null"}]}}}, True),
        ({**CLOSED, "additionalProperties": True}, False),
        ({**CLOSED, "required": []}, False),
        ({**CLOSED, "properties": {"a": {"type": "object"}}}, False),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": {"type": ["object", "null"]}}}}, False),
        ({**CLOSED, "properties": {"a": {"oneOf": [CLOSED]}}}, False),
    ],
)
def test_strict_is_what_closes_every_object_and_requires_every_property(schema: dict[str, Any], strict: bool) -> None:  # noqa: FBT001 - a case
    """The provider refuses the whole request otherwise."""
    assert is_strict(schema) is strict


def test_plain_json_is_asked_for_where_there_is_a_response_format() -> None:
    """The schema then stands in the messages."""
    assert structured_params("text", CLOSED, supported=frozenset()) == {}
    assert structured_params("text", CLOSED, supported=frozenset({"response_format"})) == {
        "response_format": {"type": "json_object"}
    }


def test_conversation_without_a_system_turn_gets_one_with_the_schema() -> None:
    """The instruction comes before anything a user wrote, and the turns stay as they are."""
    told = structured_messages("text", (Message("user", "hi"),), CLOSED)

    assert [turn["role"] for turn in told] == ["system", "user"]
    assert '"additionalProperties": false' in told[0]["content"]
    assert structured_messages("tool", (Message("user", "hi"),), CLOSED) == [{"role": "user", "content": "hi"}]
