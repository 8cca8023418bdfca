"""What a request can take at most is told from its body alone."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.errors import MalformedRequest
from feedback_gateway.llm.tokens import bytes_of
from feedback_gateway.passthrough.bodies import IMAGE_TOKENS, read_chat, read_embeddings


def asked(**more: Any) -> dict[str, Any]:
    """A request with everything that it must have."""
    return {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **more}


@given(st.text())
def test_size_is_never_below_the_bytes_of_any_text_in_it(text: str) -> None:
    """In whichever form a tokenizer reads it, escaped on the wire or not."""
    value = asked(messages=[{"role": "user", "content": text}])
    for ascii_only in (True, False):
        wire = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        try:
            read = read_chat(value, length=len(wire))
        except UnicodeEncodeError:  # half of a surrogate pair, which bodies are refused for before
            continue
        assert read.size >= bytes_of(text)


def test_picture_counts_by_its_own_measure_and_is_not_logged() -> None:
    """Neither its bytes nor its address say what it takes."""
    url = "data:image/png;base64," + "A" * 1_000_000
    value = asked(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])

    read = read_chat(value, length=len(json.dumps(value)))

    assert IMAGE_TOKENS < read.size < IMAGE_TOKENS + 200
    assert "AAAA" not in json.dumps(read.shown)
    assert read.body["messages"] == value["messages"]


@pytest.mark.parametrize(
    ("more", "most", "choices"),
    [
        ({}, None, 1),
        ({"max_tokens": 5}, 5, 1),
        ({"max_tokens": 5, "max_completion_tokens": 9, "n": 3}, 9, 3),
        ({"max_tokens": None, "n": None}, None, 1),
    ],
)
def test_bound_is_what_the_request_says(more: Any, most: int | None, choices: int) -> None:
    """By either name, the larger of both; null says nothing, and is not passed on."""
    read = read_chat(asked(**more), length=100)

    assert (read.most, read.choices) == (most, choices)
    assert read.body.get("max_tokens", 1) is not None


@pytest.mark.parametrize(
    "more",
    [
        {"audio": {"voice": "x"}},
        {"modalities": ["text", "audio"]},
        {"web_search_options": {"x": 1}},
        {"service_tier": "priority"},
        {"prediction": {"type": "content", "content": "x"}},
    ],
)
def test_what_its_length_does_not_tell_is_named(more: dict[str, Any]) -> None:
    """A budget cannot be held against it."""
    assert read_chat(asked(**more), length=100).unbounded == next(iter(more))


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"model": "m"},
        {"model": 1, "messages": [1]},
        asked(n=129),
        asked(n=True),
        asked(max_tokens=1.5),
        asked(stream="yes"),
        asked(stream_options=[]),
    ],
)
def test_nonsense_is_refused(value: Any) -> None:
    """Before anything is held or sent."""
    with pytest.raises(MalformedRequest):
        read_chat(value, length=1)


def test_embeddings_need_an_input() -> None:
    """A text, texts or tokens."""
    with pytest.raises(MalformedRequest):
        read_embeddings({"model": "m"}, length=1)
    assert read_embeddings({"model": "m", "input": [1, 2]}, length=30).most == 0


@pytest.mark.parametrize(
    "more",
    [
        {"modalities": 5},
        {"service_tier": ["priority"]},
        {"response_format": 5},
        {"tools": 5},
        {"tools": [5]},
        {"tool_choice": 5},
        {"stream": "true"},
        {"messages": [5]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": [None]}]},
        {"messages": [{"role": "user", "content": [{"type": ["file"]}]}]},
        {"models": ["openai/dearer"]},
        {"preset": "mine"},
    ],
)
def test_what_no_provider_could_take_is_told_by_name(more: dict[str, Any]) -> None:
    """Whatever its shape it is the caller's mistake: never ours, and never a mark against a deployment."""
    with pytest.raises(MalformedRequest) as caught:
        read_chat(asked(**more), length=100)

    assert caught.value.problems[0].loc == (next(iter(more)),)


def test_tools_of_the_provider_are_billed_beside_the_tokens() -> None:
    """Those of the caller are not."""
    own = {"type": "function", "function": {"name": "f"}}

    assert read_chat(asked(tools=[own]), length=100).unbounded is None
    assert read_chat(asked(tools=[own, {"type": "web_search"}]), length=100).unbounded == "tools"
