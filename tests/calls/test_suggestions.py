"""What a model would have called a category is picked out of its call, as far as the log keeps its texts."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, select

from feedback_gateway.calls.models import Call, Payload
from feedback_gateway.calls.repository import CallRepository
from feedback_gateway.calls.suggestions import suggestions_of, text_digest
from feedback_gateway.calls.tables import category_suggestions


def call(suggested: Any, *, text: str = "Where is my invoice?") -> Call:
    """A finished call."""
    return Call(
        call_id="1",
        consumer="team",
        task="categorize",
        prompt_version=1,
        model="default",
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
        started=0.0,
        deadline=1.0,
        attempts_left=1,
        inputs={"text": text},
        result={"category": "other", "suggested_category": suggested},
    )


def payload(one: Call) -> Payload:
    """All of it."""
    return Payload(json.dumps(one.inputs), json.dumps(one.result))


@pytest.mark.parametrize("suggested", [None, "", 5, ["billing"], "x" * 201, "a\0b", "a\ud800"])
def test_what_is_no_name_is_left_out(suggested: Any) -> None:
    """Whatever a model, or a prompt file of somebody's own, puts there."""
    one = call(suggested)

    assert suggestions_of([one], {"1": payload(one)}) == []


def test_nothing_is_picked_out_of_what_is_not_kept() -> None:
    """Who wants no texts stored gets no suggestions stored."""
    assert suggestions_of([call("billing")], {}) == []


def test_the_kept_form_counts_and_not_the_original() -> None:
    """Personal data that the log masks is masked here as well."""
    masked = Payload('{"text": "I am [NAME]"}', '{"suggested_category": "mail of [NAME]"}')

    [row] = suggestions_of([call("mail of Ann")], {"1": masked})

    assert row == {"call_id": "1", "suggestion": "mail of [NAME]", "text_digest": text_digest("i am  [name]")}


def test_a_suggestion_goes_with_its_call(engine: Engine) -> None:
    """It is stored with the call and deleted with it."""
    repository = CallRepository(engine, payload=payload)
    repository.add([call("billing")])
    with engine.begin() as connection:
        before = list(connection.scalars(select(category_suggestions.c.suggestion)))
        connection.exec_driver_sql("DELETE FROM calls")
        after = list(connection.scalars(select(category_suggestions.c.suggestion)))

    assert (before, after) == (["billing"], [])
