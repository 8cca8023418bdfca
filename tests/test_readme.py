"""What the README shows is what a reader gets."""

import json
import re

import pytest

from tests.readme import README, agrees, answers, examples

pytestmark = pytest.mark.anyio


async def test_every_example_answers_as_it_says() -> None:
    """Each curl command, run against the embedded default, gives the answer below it."""
    shown = examples(README.read_text(encoding="utf-8"))

    given = await answers([example.command for example in shown])

    assert len(shown) >= 8
    for example, answer in zip(shown, given, strict=True):
        assert agrees(json.loads(example.answer), json.loads(answer)), f"{example.command}\n{answer}"


def test_table_of_contents_leads_to_every_section() -> None:
    """And nowhere else; a section of files may be reached by another name."""
    text = README.read_text(encoding="utf-8")
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}

    linked = set(re.findall(r"\]\(#([^)]+)\)", text))

    assert linked == anchors - {"quick-start"}
