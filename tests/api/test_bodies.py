"""Bytes become strict JSON, or a refusal that names the place."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.api.bodies import MAX_DEPTH, parse_json, require_json
from feedback_gateway.errors import MalformedRequest, UnsupportedMediaType

SCALARS = (
    st.none() | st.booleans() | st.integers(-(10**200), 10**200) | st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_every_json_value_survives(value: Any) -> None:
    """What is JSON is read as it was written, escaped or not."""
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary())
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    """Nothing but a value or a MalformedRequest comes out, whatever goes in."""
    with suppress(MalformedRequest):
        json.dumps(parse_json(body), allow_nan=False).encode()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"   ", "empty"),
        (b'{"text": ', "line 1, column 10"),
        (b'{"text": "a"} tail', "Extra data"),
        (b'{"text": "a\nb"}', "control character"),
        (b'{"text": "\xff"}', "byte 0xff at offset 10"),
        (b'{"score": NaN}', "NaN"),
        (b'{"score": -Infinity}', "-Infinity"),
        (b'{"score": 1e999}', "out of range"),
        (b'{"score": ' + b"9" * 5_000 + b"}", "out of range"),
        (b'{"text": "a", "text": "b"}', "'text' is given twice"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b"[" * 1_000_000, "nested deeper"),
        (b'{"a":' * 100_000, "nested deeper"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested deeper"),
    ],
)
def test_refusal_says_what_and_where(body: bytes, words: str) -> None:
    """The detail names the flaw and its place."""
    with pytest.raises(MalformedRequest) as refused:
        parse_json(body)

    assert words in refused.value.detail


def test_nesting_up_to_the_limit_is_taken() -> None:
    """The limit itself is allowed."""
    value = parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)

    assert json.dumps(value) == "[" * MAX_DEPTH + "]" * MAX_DEPTH


def test_lone_surrogate_is_refused_with_its_place() -> None:
    """Half a surrogate pair cannot be written as UTF-8, in a value or in a key."""
    with pytest.raises(MalformedRequest) as in_value:
        parse_json(rb'{"items": [{"text": "fine"}, {"text": "ok \ud83d"}]}')
    with pytest.raises(MalformedRequest) as in_key:
        parse_json(rb'{"metadata": {"\udc00": 1}}')

    assert in_value.value.problems[0].loc == ("items", 1, "text")
    assert "U+D83D" in in_value.value.problems[0].msg
    assert in_key.value.problems[0].loc == ("metadata",)


def test_surrogate_pair_is_one_character() -> None:
    """An escaped pair is what JSON writers make of an emoji."""
    assert parse_json(rb'{"text": "\ud83d\ude00"}') == {"text": "\U0001f600"}


def test_byte_order_mark_is_skipped() -> None:
    """Some editors and shells put one first."""
    assert parse_json(b'\xef\xbb\xbf{"text": "a"}') == {"text": "a"}


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=UTF-8", "text/json", "application/vnd.a+json"]
)
def test_json_types_are_taken(content_type: str) -> None:
    """Whatever calls itself JSON."""
    require_json({"content-type": content_type, "origin": "http://elsewhere.example"})


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "json"]
)
def test_other_types_are_refused(content_type: str) -> None:
    """A form or plain text may come from any web page without the browser asking first."""
    with pytest.raises(UnsupportedMediaType):
        require_json({"content-type": content_type})


def test_untyped_body_is_taken_from_programs_only() -> None:
    """A page of another origin could send one too, and the browser then names its origin."""
    require_json({})

    with pytest.raises(UnsupportedMediaType):
        require_json({"origin": "http://elsewhere.example"})


def test_many_keys_are_read_in_linear_time() -> None:
    """A body of 300,000 keys with one twice is refused before anybody could wait for it."""
    body = "{" + ",".join(f'"k{n}":0' for n in range(300_000)) + ',"twice":1,"twice":2}'

    with pytest.raises(MalformedRequest, match="twice"):
        parse_json(body.encode())
