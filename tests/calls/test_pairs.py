"""Calls that were made to be compared, read from both databases."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from feedback_gateway.calls.models import Call, Payload
from feedback_gateway.calls.pairs import Pairs
from feedback_gateway.calls.repository import CallRepository

MakeCall = Callable[..., Call]
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def kept(call: Call) -> Payload | None:
    """The texts of a call, of all but those named `nothing`."""
    return None if call.task == "nothing" else Payload(json.dumps({"text": call.call_id}), json.dumps(call.result))


def test_pairs_are_found_newest_first_with_what_is_kept_of_them(engine: Engine, make_call: MakeCall) -> None:
    """Of the task, the period and the consumer that were asked for."""
    answers = [make_call(created_at=NOON, task="mood", result={"mood": "good"}, consumer=name) for name in "ab"]
    other = make_call(created_at=NOON, task="other", result={})
    shadows = [
        make_call(
            created_at=NOON + timedelta(seconds=1 + number),
            task=call.task,
            purpose="shadow",
            beside=call.call_id,
            prompt_version=2,
            result={"mood": "bad"},
        )
        for number, call in enumerate([*answers, other])
    ]
    CallRepository(engine, payload=kept).add([*answers, other, *shadows])
    pairs = Pairs(engine)

    found = list(pairs.of("mood"))

    assert [pair.beside.call_id for pair in found] == [shadows[1].call_id, shadows[0].call_id]
    assert (found[0].answered.version, found[0].beside.version) == (1, 2)
    assert (found[0].answered.result, found[0].beside.result) == ({"mood": "good"}, {"mood": "bad"})
    assert found[0].inputs == {"text": answers[1].call_id}
    assert [pair.answered.call_id for pair in pairs.of("mood", consumer="a")] == [answers[0].call_id]
    assert list(pairs.of("mood", until=NOON)) == []
    assert len(list(pairs.of("mood", since=NOON + timedelta(seconds=2)))) == 1


def test_only_answers_that_somebody_got_are_made_again(engine: Engine, make_call: MakeCall) -> None:
    """No shadows or replays, no failures, and nothing that has no text."""
    answer = make_call(created_at=NOON, task="mood", result={"mood": "good"})
    rest = [
        make_call(created_at=NOON, task="mood", purpose="shadow", beside=answer.call_id, result={}),
        make_call(created_at=NOON, task="mood", status="failed", result={}),
        make_call(created_at=NOON, task="nothing", result={}),
    ]
    CallRepository(engine, payload=kept).add([answer, *rest])

    found = list(Pairs(engine).answered(None, since=None, until=None))

    assert [(call.call_id, call.result, call.output_tokens) for call in found] == [
        (answer.call_id, {"mood": "good"}, 58)
    ]
    assert Pairs(engine).textless(None, since=None, until=None) == 1


def test_earlier_replays_are_found_by_what_they_replayed(engine: Engine, make_call: MakeCall) -> None:
    """Those by the same version and alias, the newest of several."""
    answer = make_call(created_at=NOON, task="mood", result={"mood": "good"})
    replays = [
        make_call(
            created_at=NOON + timedelta(seconds=number),
            task="mood",
            purpose="replay",
            beside=answer.call_id,
            prompt_version=version,
            result={"mood": mood},
        )
        for number, (version, mood) in enumerate([(2, "older"), (2, "newer"), (3, "other")])
    ]
    CallRepository(engine, payload=kept).add([answer, *replays])

    found = Pairs(engine).replayed([answer.call_id, "nobody"], version=2, model="default")

    assert found == {answer.call_id: {"mood": "newer"}}
    assert Pairs(engine).replayed([answer.call_id], version=2, model="elsewhere") == {}
