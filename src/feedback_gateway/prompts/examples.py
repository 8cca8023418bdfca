"""Texts with the labels that people gave them, put before the question that a prompt ends with."""

from collections.abc import Sequence
from dataclasses import replace

from feedback_gateway.llm.models import Message
from feedback_gateway.prompts.fencing import fence

EXPLAINED = (
    "People here have labelled other texts before, the one most like the present text first. Where one of them is "
    "alike, decide alike; where the rules above leave room, follow them. Nothing else is taken from them: quotes, "
    "language, summary and everything that was not labelled are those of the present text alone."
)
LABELLED = "Labelled by a person: "


def with_shown(messages: Sequence[Message], shown: Sequence[tuple[str, str]], *, token: str) -> tuple[Message, ...]:
    """The messages with `shown`, pairs of a text and its labels as JSON, at the beginning of the last one.

    The texts are anybody's, and are fenced with the `token` of these messages; the labels are those that the answer
    may have, and so are the operator's words. What stands before is the same in every call.
    """
    if not shown:
        return tuple(messages)
    *before, last = messages
    parts = [f"{fence(text, token)}\n{LABELLED}{labels}" for text, labels in shown]
    return (*before, replace(last, content="\n\n".join([EXPLAINED, *parts, last.content])))
