"""A model's text becomes JSON where it has one reading, and an error in words where it has not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.llm.parsing import OutputError, coerce, parse_object

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["label", "score", "tags", "note"],
    "properties": {
        "label": {"type": "string", "enum": ["positive", "feature request"]},
        "score": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "note": {"type": ["string", "null"]},
        "sure": {"type": "boolean"},
        "count": {"type": "integer"},
    },
}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '```json\n{"a": 1}\n```',
        '```\n{"a": 1}```',
        'Here you are:\n{"a": 1}\nAnything else?',
        '<think>hm, let me see</think>{"a": 1}',
        '\ufeff {"a": 1} ',
    ],
)
def test_one_object_is_found_bare_fenced_or_among_words(text: str) -> None:
    """What surrounds the one object says nothing."""
    assert parse_object(text) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON object"),
        ("I cannot do that.", "no JSON object"),
        ("[1, 2]", "no JSON object"),
        ('{"a": 1', "no complete JSON"),
        ('{"a": 1} {"a": 2}', "more than one"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a":' * 50 + "1" + "}" * 50, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("<html><body>502 Bad Gateway</body></html>", "no JSON object"),
    ],
)
def test_anything_else_is_refused_with_its_reason(text: str, reason: str) -> None:
    """The reason goes back to the model, so it must say what is wrong."""
    with pytest.raises(OutputError, match=reason):
        parse_object(text)


@given(st.text(max_size=200))
def test_no_text_breaks_the_parser(text: str) -> None:
    """Any text gives an object or an OutputError."""
    try:
        assert isinstance(parse_object(text), dict)
    except OutputError:
        return


def test_slips_with_one_reading_are_mended() -> None:
    """Case, quoted numbers, one thing for a list, a missing nullable property and an extra one."""
    answer = {"label": " Feature_Request", "score": "0.5", "tags": "slow", "extra": 1, "sure": "True", "count": "3"}

    mended = coerce(answer, SCHEMA)

    assert mended["label"] == "feature request"
    assert mended["score"] == 0.5
    assert mended["tags"] == ["slow"]
    assert mended["note"] is None
    assert "extra" not in mended
    assert mended["count"] == 3


@pytest.mark.parametrize("label", ["positiv", "negative", "", "good", 3, None, ["positive"]])
def test_a_label_is_never_guessed(label: object) -> None:
    """A label that is not one of them, in another language say, stays as it is and fails validation."""
    assert coerce({"label": label}, SCHEMA)["label"] == label


def test_an_ambiguous_label_stays_as_it_is() -> None:
    """Two labels that differ in case only: neither is chosen for a third spelling."""
    assert coerce("ui", {"enum": ["UI", "Ui"]}) == "ui"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_coercion_takes_any_json(value: Any) -> None:
    """Whatever a model sends, coercion leaves JSON behind, and doing it twice changes nothing more."""
    once = coerce(value, SCHEMA)

    assert coerce(once, SCHEMA) == once
    json.dumps(once)
