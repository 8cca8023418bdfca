"""Picks out of finished calls the category that a model would have liked to have. Runs in the log's thread.

What the log keeps of a call's texts is all that is read: where it keeps none, nothing is picked out.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from feedback_gateway.calls.models import Call, Payload

FIELD = "suggested_category"
MOST_CHARS = 200
"""A name of more characters is none, and nobody reads it."""


def suggestions_of(batch: Sequence[Call], kept: Mapping[str, Payload]) -> list[dict[str, Any]]:
    """The rows of those calls whose result suggests a category; `kept` has what the log keeps of each."""
    found = []
    for call in batch:
        if not call.result or not call.result.get(FIELD) or (payload := kept.get(call.call_id)) is None:
            continue
        suggestion = json.loads(payload.result or "{}").get(FIELD)
        if isinstance(suggestion, str) and len(suggestion) <= MOST_CHARS and storable(suggestion):
            digest = text_digest(text_in(payload.inputs))
            found.append({"call_id": call.call_id, "suggestion": suggestion, "text_digest": digest})
    return found


def text_in(inputs: str) -> str:
    """The text among a call's inputs, as the log keeps them."""
    text = json.loads(inputs).get("text")
    return text if isinstance(text, str) else ""


def text_digest(text: str) -> str:
    """The same for texts that differ only in spaces and case."""
    plain = " ".join(text.casefold().split())
    return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def storable(text: str) -> bool:
    """Whether every database holds it."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
