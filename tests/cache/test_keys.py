"""Equal parts have equal keys, different parts different ones, whatever JSON they are."""

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from feedback_gateway.cache.keys import KEY_BYTES, UnkeyableError, digest

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=5)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


def shuffled(value: Any) -> Any:
    """The same JSON with the names of every object in the opposite order."""
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in reversed(value)}
    return [shuffled(one) for one in value] if isinstance(value, list) else value


def written(value: Any) -> str:
    """The one way to write `value`; types that Python takes for equal differ."""
    return json.dumps(value, sort_keys=True)


@given(JSON)
def test_order_of_names_is_no_part_of_the_key(value: Any) -> None:
    """An object is a set of members."""
    assert digest([value]) == digest([shuffled(value)])


@given(JSON, JSON)
def test_whatever_differs_has_another_key(one: Any, other: Any) -> None:
    """Deep down or at the top, in type or in content."""
    assume(written(one) != written(other))

    assert digest([one]) != digest([other])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", 1),
        (1, 1.0),
        (1, True),
        (0, False),
        (0.0, -0.0),
        (None, "null"),
        ("", None),
        ([], {}),
        ([[1], 2], [1, [2]]),
        (["ab", "c"], ["a", "bc"]),
        ({"a": "b"}, ["a", "b"]),
        ("\u00e9", "e\u0301"),
        (b"a", "a"),
    ],
)
def test_what_is_easily_mixed_up_is_told_apart(one: Any, other: Any) -> None:
    """Numbers, booleans, words for them, nesting, lengths, and two ways to write one letter."""
    assert digest([one]) != digest([other])
    assert digest([one, other]) != digest([other, one])


def test_key_has_one_length() -> None:
    """Whatever it stands for."""
    assert {len(digest([])), len(digest(["x" * 100_000]))} == {KEY_BYTES}


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [2**64, "\ud800", nested(5_000), object(), {1: 2}])
def test_what_has_no_canonical_form_has_no_key(value: Any) -> None:
    """It is said so, and nothing is guessed."""
    with pytest.raises(UnkeyableError):
        digest([value])
