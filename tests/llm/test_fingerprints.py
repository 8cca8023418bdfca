"""Whatever can change an answer changes its key, field by field of both requests; what cannot, does not."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from feedback_gateway import __version__
from feedback_gateway.calls.models import Call
from feedback_gateway.llm.fingerprints import alias_fingerprints, request_key
from feedback_gateway.llm.models import (
    CachePolicy,
    Completion,
    CompletionClient,
    CompletionRequest,
    Deployment,
    ForwardRequest,
    Message,
    Operation,
    Purpose,
    Role,
)
from feedback_gateway.prompts.fencing import fence, notice
from tests.cache.test_keys import JSON

FENCE, OTHER_FENCE = "0123456789abcdef", "fedcba9876543210"
NO_PART = {"fence", "cache", "size"}
"""What is drawn anew for each request, how its answer is kept, and the length of how it was written."""


async def sink(_: bytes) -> None:
    """Takes events."""


class Gathering:
    """Asks for one at a time."""

    async def ask(self, request: CompletionRequest, call: Call, client: CompletionClient) -> Completion:
        """Pass on."""
        return await client.complete(request, call)


GATHERING = Gathering()


objects = st.dictionaries(st.text(max_size=4), JSON, max_size=3)
messages = st.lists(st.builds(Message, st.sampled_from(get_args(Role)), st.text(max_size=8)), max_size=3).map(tuple)
VALUES: Mapping[type, Mapping[str, st.SearchStrategy[Any]]] = {
    CompletionRequest: {
        "model": st.text(max_size=4),
        "messages": messages,
        "output_schema": objects,
        "max_tokens": st.integers(1, 10_000),
        "temperature": st.none() | st.floats(0, 2),
        "purpose": st.sampled_from(get_args(Purpose)),
        "task": st.text(max_size=4),
        "items": st.lists(objects, max_size=2).map(tuple),
        "examples": st.integers(0, 9),
        "taxonomy": st.none() | objects,
        "prompt_digest": st.text(max_size=4),
        "fence": st.sampled_from([FENCE, OTHER_FENCE]),
        "gatherer": st.sampled_from([None, GATHERING]),
        "cache": st.builds(CachePolicy, read=st.booleans(), write=st.booleans()),
    },
    ForwardRequest: {
        "operation": st.sampled_from(get_args(Operation)),
        "model": st.text(max_size=4),
        "body": objects,
        "size": st.integers(0, 10_000),
        "max_tokens": st.integers(1, 10_000),
        "sink": st.sampled_from([None, sink]),
        "purpose": st.sampled_from(get_args(Purpose)),
        "cache": st.builds(CachePolicy, read=st.booleans(), write=st.booleans()),
    },
}
CASES = [(kind, one.name) for kind in VALUES for one in fields(kind)]


def written(value: Any) -> str:
    """A field's value, the one way to write it."""
    if isinstance(value, tuple):
        value = [asdict(one) if isinstance(one, Message) else one for one in value]
    return json.dumps(value, sort_keys=True, default=repr)


def key(request: CompletionRequest | ForwardRequest) -> bytes:
    """Its key, for one consumer and one set of deployments."""
    return request_key(request, scope="consumer a", answering=b"these")


@pytest.mark.parametrize(("kind", "name"), CASES)
@given(data=st.data())
def test_any_single_field_changes_the_key(kind: Any, name: str, data: st.DataObject) -> None:
    """A field that is added to a request has to be added here, too, or this fails."""
    request = kind(**{field: data.draw(values) for field, values in VALUES[kind].items()})
    other = replace(request, **{name: data.draw(VALUES[kind][name])})
    assume(written(getattr(request, name)) != written(getattr(other, name)))

    assert (key(request) == key(other)) == (name in NO_PART)


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
def test_equal_requests_have_equal_keys(kind: Any, data: st.DataObject) -> None:
    """In whichever order their names stand."""
    given_values = {field: data.draw(values) for field, values in VALUES[kind].items()}
    request = kind(**given_values)
    turned = {name: json.loads(json.dumps(value)) if name == "body" else value for name, value in given_values.items()}
    if "body" in turned:
        turned["body"] = dict(reversed(turned["body"].items()))

    assert key(request) == key(kind(**turned))


def test_kinds_of_requests_share_no_key() -> None:
    """Even where their fields would say the same."""
    task = CompletionRequest(model="m", messages=(), output_schema={}, max_tokens=1, task="t")
    passed = ForwardRequest(operation="chat", model="m", body={}, size=1, max_tokens=1)

    assert key(task) != key(passed)


@pytest.mark.parametrize("what", [{"scope": "consumer b"}, {"scope": "shared"}, {"answering": b"those"}])
def test_who_asks_and_who_answers_are_in_the_key(what: dict[str, Any]) -> None:
    """Two consumers share nothing, nor do two sets of deployments."""
    request = ForwardRequest(operation="chat", model="m", body={}, size=1, max_tokens=1)

    assert request_key(request, **{"scope": "consumer a", "answering": b"these", **what}) != key(request)


def asked(text: str, token: str) -> CompletionRequest:
    """A request whose prompt fences a text; nothing but the messages tells the text."""
    system, user = (
        Message("system", f"Judge.\n\n{notice(token)}"),
        Message("user", f"Judge this:\n{fence(text, token)}"),
    )
    return CompletionRequest(model="m", messages=(system, user), output_schema={}, max_tokens=1, task="t", fence=token)


HOSTILE = st.lists(
    st.sampled_from([
        FENCE, OTHER_FENCE, "[token]", "<<<DATA", "<<< DATA", "DATA", ">>>", " ", "\n", "0", "a", FENCE[:8], FENCE[8:],
        f"<<<DATA {FENCE}\n", f"\nDATA {FENCE}>>>", f"\nDATA {OTHER_FENCE}>>>",
    ]),
    max_size=8,
).map("".join)  # fmt: skip


@given(HOSTILE, HOSTILE)
def test_fence_is_no_part_of_the_key_and_no_text_can_pass_for_it(one: str, other: str) -> None:
    """Two requests have one key only where a model would be told the same under the same fence."""
    tokens = ("00000000000000aa", "00000000000000bb")
    assume(not any(token in text for token in tokens for text in (one, other)))

    same = asked(one, tokens[0]).messages == asked(other, tokens[0]).messages

    assert (key(asked(one, tokens[0])) == key(asked(other, tokens[1]))) == same


def deployment(**changes: Any) -> Deployment:
    """One that answers for `default`."""
    return Deployment(**{"alias": "default", "name": "one", "model": "openai/one", **changes})


def fingerprint(*deployments: Deployment) -> bytes:
    """Of those who answer for `default`."""
    return alias_fingerprints(deployments)["default"]


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "openai/other"},
        {"params": {"api_base": "http://other"}},
        {"params": {"temperature": 0.5}},
        {"params": {"extra_body": {"a": {"b": 1}}}},
        {"params": {"seed": "1"}},
        {"params": {"seed": True}},
    ],
)
def test_another_deployment_answers_under_another_key(changes: dict[str, Any]) -> None:
    """Its model, its address, and whatever is sent along."""
    plain = {"params": {"seed": 1}} if "seed" in changes.get("params", {}) else {}

    assert fingerprint(deployment(**changes)) != fingerprint(deployment(**plain))


def test_another_gateway_answers_under_another_key() -> None:
    """It may ask in other words and read in another way; unless told otherwise it is this one."""
    own, newer = (alias_fingerprints([deployment()], version=one) for one in (__version__, f"{__version__}.1"))

    assert own == alias_fingerprints([deployment()])
    assert own["default"] != newer["default"]


def test_what_cannot_change_an_answer_keeps_the_key() -> None:
    """A new API key, another weight or limit, the order of the list, and the deployments of other aliases."""
    one, other = deployment(params={"api_key": "old"}), deployment(model="openai/other")

    moved = fingerprint(other, deployment(params={"api_key": "new"}, weight=3, timeout_s=1), deployment(alias="cheap"))

    assert moved == fingerprint(one, other)
