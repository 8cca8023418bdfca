"""Entries come back as the answers they were; whatever else bytes can be is no answer, and no error."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.llm.models import Completion, CompletionRequest, ForwardAnswer, ForwardRequest, Usage
from feedback_gateway.llm.stored import FORMAT, Entries, Stored, unchanged
from feedback_gateway.llm.validating import proven
from tests.cache.test_keys import JSON

SCHEMA = {
    "type": "object",
    "properties": {"mood": {"enum": ["good", "bad"]}},
    "required": ["mood"],
    "additionalProperties": False,
}
REQUEST = CompletionRequest(model="m", messages=(), output_schema=SCHEMA, max_tokens=1, task="mood")
ANYTHING = CompletionRequest(model="m", messages=(), output_schema={}, max_tokens=1, task="mood")
PASSED = ForwardRequest(operation="chat", model="m", body={}, size=1, max_tokens=1)
COMPLETIONS = Entries(Stored[Completion], proven)
FORWARDS: Entries[ForwardRequest, ForwardAnswer] = Entries(Stored[ForwardAnswer], unchanged)
USAGE = Usage(uncached_input_tokens=1, output_tokens=2)
GOOD = Completion(content="", finish_reason="stop", model="m", usage=USAGE, value={"mood": "good"}, deployment="one")


def stored() -> Stored[Completion]:
    """A good answer."""
    return Stored(answer=GOOD, cost_usd=Decimal("0.000123"), stored_at=1.5)


def test_answer_comes_back_as_it_was() -> None:
    """With its exact cost, and the events that it was streamed in."""
    passed = Stored(
        answer=ForwardAnswer(body=b'{"a":1}', finish_reason="tool_calls", model="m", usage=USAGE, deployment="one"),
        events=b"data: {}\n\n",
        cost_usd=None,
        stored_at=2.5,
    )

    assert COMPLETIONS.unpack(COMPLETIONS.pack(stored()) or b"", REQUEST) == stored()
    assert FORWARDS.unpack(FORWARDS.pack(passed) or b"", PASSED) == passed


def test_entry_of_another_format_is_a_miss() -> None:
    """Older or newer, and the other kind's."""
    entry = COMPLETIONS.pack(stored()) or b""

    assert COMPLETIONS.unpack(bytes([FORMAT[0] + 1]) + entry[1:], REQUEST) is None
    assert COMPLETIONS.unpack(entry[1:], REQUEST) is None
    assert FORWARDS.unpack(entry, PASSED) is None


@given(st.binary(max_size=200))
def test_no_bytes_make_unpacking_fail(rest: bytes) -> None:
    """They are an answer or nothing."""
    assert COMPLETIONS.unpack(FORMAT + rest, REQUEST) is None
    assert FORWARDS.unpack(FORMAT + rest, PASSED) is None


def test_deep_nesting_is_a_miss() -> None:
    """No stack overflows."""
    assert COMPLETIONS.unpack(FORMAT + b"\x91" * 100_000 + b"\xc0", REQUEST) is None


ODD = JSON | st.binary(max_size=4) | st.datetimes() | st.dictionaries(st.integers(), JSON, max_size=2)


def forged(value: Any) -> bytes:
    """An entry as somebody else may write it, whose answer says `value`."""
    answer = {"content": "", "finish_reason": "stop", "model": "m", "usage": {}, "value": value}
    return FORMAT + msgspec.msgpack.encode({"answer": answer, "events": b"", "cost_usd": None, "stored_at": 1.0})


@given(ODD)
def test_forged_answer_that_does_not_fit_its_schema_is_a_miss(value: Any) -> None:
    """What is taken is one of the schema's own."""
    try:
        entry = forged(value)
    except OverflowError:
        return
    found = COMPLETIONS.unpack(entry, REQUEST)

    assert found is None or found.answer.value in ({"mood": "good"}, {"mood": "bad"})


@pytest.mark.parametrize("value", [b"bytes", {"a": b"bytes"}, {1: 2}])
def test_forged_answer_that_is_no_json_is_a_miss(value: Any) -> None:
    """Also where the schema takes anything."""
    assert COMPLETIONS.unpack(forged(value), ANYTHING) is None


@pytest.mark.parametrize("value", [2**65, "\ud800", object()])
def test_answer_that_no_format_holds_is_not_packed(value: Any) -> None:
    """It is given to whoever asked, and not kept."""
    answer = Completion(content="", finish_reason="stop", model="m", usage=USAGE, value=value)

    assert COMPLETIONS.pack(Stored(answer=answer, cost_usd=None, stored_at=1.0)) is None
