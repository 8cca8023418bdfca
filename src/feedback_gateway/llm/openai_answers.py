"""Reads answers of OpenAI's protocol without unpacking what is only passed on. Sends nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from feedback_gateway.llm.models import FINISHED, FinishReason, Operation, Usage
from feedback_gateway.llm.usage import estimate, usage_of

Parts = dict[str, msgspec.Raw]
"""The members of a JSON object, each as it was written."""

FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
HOLDS: Mapping[Operation, str] = {"chat": "choices", "embeddings": "data"}
PARTS = msgspec.json.Decoder(Parts)
JSON = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Ending(msgspec.Struct):
    """A choice, of which only the end is of interest."""

    finish_reason: str | None = None


ENDINGS = msgspec.json.Decoder(list[Ending])


def split(body: bytes) -> Parts | None:
    """The members of the object in `body`; None where there is no object."""
    try:
        return PARTS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def value_of(body: bytes) -> Any:
    """The JSON value in `body`; None where there is none."""
    try:
        return JSON.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def member(parts: Parts, name: str) -> Any:
    """One member, unpacked; None where there is none."""
    raw = parts.get(name)
    return None if raw is None else value_of(bytes(raw))


def is_answer(parts: Parts | None, operation: Operation) -> bool:
    """Whether an object holds what was asked for, and no error."""
    if parts is None or member(parts, "error"):
        return False
    return bytes(parts.get(HOLDS[operation], b"[]")).strip() not in (b"[]", b"null", b"{}")


def finish_of(parts: Parts) -> FinishReason:
    """Why the first choice ended, or the first of those that did not end by themselves."""
    try:
        endings = ENDINGS.decode(parts.get("choices", b"[]"))
    except msgspec.DecodeError:
        return "other"
    reasons: list[FinishReason] = [FINISH.get(ending.finish_reason or "", "other") for ending in endings]
    return next((reason for reason in reasons if reason not in FINISHED), reasons[0] if reasons else "stop")


def usage_in(parts: Parts) -> Usage | None:
    """What the object says was billed; None where it says nothing."""
    usage = member(parts, "usage")
    return None if usage is None else usage_of({"usage": usage})


def usage_told(body: bytes) -> Usage | None:
    """What an answer that is of no use says was billed; half of a letter in it costs as much as a whole one."""
    try:
        return usage_of(json.loads(body.decode(errors="replace")))
    except (ValueError, RecursionError):
        return None


def billed(parts: Parts, *, asked: int) -> Usage:
    """What an answer was billed: by the provider's count, else estimated from the characters of both sides."""
    return usage_in(parts) or estimate(prompt=asked, answer=said_in(member(parts, "choices"), key="message"))


def told(usage: Usage) -> dict[str, int | bool]:
    """Billed tokens as OpenAI's clients read them, with a mark where nobody but us counted them."""
    tokens = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    return {**tokens, "estimated": True} if usage.estimated else tokens


def said_in(choices: Any, *, key: str) -> int:
    """Characters of all that `choices` say: `key` is `message`, or `delta` in a stream."""
    total = 0
    for choice in choices if isinstance(choices, list) else ():
        said = choice.get(key) if isinstance(choice, Mapping) else None
        for name, value in said.items() if isinstance(said, Mapping) else ():
            if name != "role" and value:
                total += len(value) if isinstance(value, str) else len(msgspec.json.encode(value))
    return total


def renamed(parts: Parts, model: str) -> bytes:
    """The object with the name of another model, everything else as it was written."""
    if "model" in parts:
        parts["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(parts)


def encode(document: Mapping[str, Any]) -> bytes:
    """The JSON of a document."""
    return msgspec.json.encode(document)
