"""Server-sent events are the same wherever the bytes are cut."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.errors import ProviderUnavailable
from feedback_gateway.llm.openai_events import EventReader, event, events_from
from feedback_gateway.llm.provider_errors import MAX_ANSWER_BYTES

DATA = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")).map(str.encode), max_size=6)


def read(stream: bytes, cuts: list[int]) -> list[bytes]:
    """The data of a stream that comes in pieces."""
    reader = EventReader()
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    return [data for piece in pieces for data in reader.feed(piece)] + list(reader.end())


@given(DATA, st.lists(st.integers(0, 10_000), max_size=8), st.sampled_from([b"\n", b"\r\n"]))
def test_events_do_not_depend_on_where_the_bytes_are_cut(data: list[bytes], cuts: list[int], newline: bytes) -> None:
    """Names and comments are left out, and both ends of lines are known."""
    stream = b"".join(b": hello\nevent: x\n" + event(one) for one in data).replace(b"\n", newline)

    assert read(stream, cuts) == data


def test_last_event_counts_without_an_empty_line() -> None:
    """Some providers end that way."""
    assert read(b"data: one\n\ndata:two", []) == [b"one", b"two"]


def test_event_without_end_is_no_reason_to_run_out_of_memory() -> None:
    """It counts as a failure of the provider."""
    with pytest.raises(ProviderUnavailable):
        list(EventReader().feed(b"data: " + b"x" * MAX_ANSWER_BYTES))

    with pytest.raises(ProviderUnavailable):
        list(EventReader().feed((b"data: " + b"x" * 1_000_000 + b"\n") * 17))


def test_whole_answer_can_be_told_as_a_stream() -> None:
    """Calls of tools are numbered there, and usage comes only where it was asked for."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "tool_calls": [call]}}
    answer = json.dumps({"id": "a", "object": "chat.completion", "choices": [choice], "usage": {"total_tokens": 1}})

    first, last, done = events_from(answer.encode(), wants_usage=True)
    told = json.loads(first.removeprefix(b"data: "))

    assert told["choices"][0]["delta"]["tool_calls"] == [{"index": 0, **call}]
    assert (told["object"], "usage" in told) == ("chat.completion.chunk", False)
    assert json.loads(last.removeprefix(b"data: "))["usage"] == {"total_tokens": 1}
    assert done == b"data: [DONE]\n\n"
    assert len(list(events_from(answer.encode(), wants_usage=False))) == 2
