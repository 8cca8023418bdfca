"""What the README shows is what a reader gets."""

import json

import pytest

from tests.readme import README, agrees, answers, examples

pytestmark = pytest.mark.anyio


async def test_every_example_answers_as_it_says() -> None:
    """Each curl command, run against the embedded default, gives the answer below it."""
    shown = examples(README.read_text(encoding="utf-8"))

    given = await answers([example.command for example in shown])

    assert len(shown) >= 9
    for example, answer in zip(shown, given, strict=True):
        assert agrees(json.loads(example.answer), json.loads(answer)), f"{example.command}\n{answer}"
