"""One item or many, with options that are checked before anything is asked."""

from typing import Any

import pytest

from feedback_gateway.api.envelopes import Envelope, read_envelope
from feedback_gateway.errors import InvalidRequest, TooLarge
from feedback_gateway.tasks.models import CallOptions


def read(document: Any) -> Envelope:
    """Read with two models, two versions and at most three items."""
    return read_envelope(document, models={"default", "cheap"}, versions=(1, 2), most_items=3)


def test_single_item_keeps_everything_but_the_options() -> None:
    """What an item may hold is for the task to say."""
    envelope = read({"text": "a", "odd": 1, "options": {"cache": "bypass"}})

    assert envelope == Envelope(items=[{"text": "a", "odd": 1}], many=False, options=CallOptions(cache="bypass"))


def test_list_of_one_is_many() -> None:
    """Who sends a list gets a list."""
    assert read({"items": ["anything"]}) == Envelope(items=["anything"], many=True, options=CallOptions())


def test_all_options_are_taken() -> None:
    """Each reaches the task service as it was given."""
    options = {"model": "cheap", "prompt_version": 2, "cache": "refresh", "timeout_s": 5}

    assert read({"text": "a", "options": options}).options == CallOptions(
        model="cheap", prompt_version=2, cache="refresh", timeout_s=5.0
    )


@pytest.mark.parametrize(
    ("document", "loc"),
    [
        ([], ()),
        ("text", ()),
        (None, ()),
        ({"items": []}, ("items",)),
        ({"items": {"text": "a"}}, ("items",)),
        ({"items": [{}], "text": "a"}, ("text",)),
        ({"text": "a", "options": None}, ("options",)),
        ({"text": "a", "options": {"odd": 1}}, ("options", "odd")),
        ({"text": "a", "options": {"cache": "never"}}, ("options", "cache")),
        ({"text": "a", "options": {"timeout_s": 0}}, ("options", "timeout_s")),
        ({"text": "a", "options": {"timeout_s": 601}}, ("options", "timeout_s")),
        ({"text": "a", "options": {"timeout_s": True}}, ("options", "timeout_s")),
        ({"text": "a", "options": {"timeout_s": "5"}}, ("options", "timeout_s")),
        ({"text": "a", "options": {"model": "gpt-99"}}, ("options", "model")),
        ({"text": "a", "options": {"prompt_version": 3}}, ("options", "prompt_version")),
        ({"text": "a", "options": {"prompt_version": 1.0}}, ("options", "prompt_version")),
    ],
)
def test_wrong_envelope_is_refused_with_its_place(document: Any, loc: tuple[str | int, ...]) -> None:
    """The first problem stands where the caller went wrong."""
    with pytest.raises(InvalidRequest) as refused:
        read(document)

    assert refused.value.problems[0].loc == loc


def test_unknown_model_and_version_are_both_named_with_the_known_ones() -> None:
    """One round is enough to mend both."""
    with pytest.raises(InvalidRequest) as refused:
        read({"text": "a", "options": {"model": "x", "prompt_version": 9}})

    messages = [problem.msg for problem in refused.value.problems]
    assert messages == ["no such model; there are cheap, default", "no such version; there are 1, 2"]


def test_too_many_items_are_too_large() -> None:
    """The limit itself is allowed."""
    assert len(read({"items": [1, 2, 3]}).items) == 3
    with pytest.raises(TooLarge):
        read({"items": [1, 2, 3, 4]})
