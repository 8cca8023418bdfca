"""How many tokens a request may take, told from its length: no tokenizer runs on the event loop. Pure."""

import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from feedback_gateway.llm.models import ForwardRequest, Request
from feedback_gateway.memo import Memo

BYTES_PER_TOKEN = 3
OVERHEAD_TOKENS = 1_024
"""For what providers put around the messages: roles, separators, instructions for tools (some hundred at most)."""

MOST_REMEMBERED = 100_000
"""Bytes of a schema that is worth remembering: what callers bring along must not fill the memory."""
SCHEMAS: Memo[int] = Memo(most=64)


def most_input_tokens(request: Request) -> int:
    """More than any tokenizer makes of the request's messages and schema, or of a body that is passed on.

    A token stands for at least one byte of UTF-8, in whichever of the two forms that tokenizers read is longer: as it
    was written, or normalised (NFKC). A schema may reach the model with its characters escaped.
    """
    if isinstance(request, ForwardRequest):
        return request.size + OVERHEAD_TOKENS
    size = sum(bytes_of(message.content) for message in request.messages)
    return size + bytes_of_schema(request.output_schema) + OVERHEAD_TOKENS


def bytes_of_schema(schema: Mapping[str, Any]) -> int:
    """The most bytes that a schema is written in; counted once for one that calls share."""
    if (known := SCHEMAS.find(schema)) is not None:
        return known
    size = max(bytes_of(json.dumps(schema)), bytes_of(json.dumps(schema, ensure_ascii=False)))
    return SCHEMAS.keep(size, schema) if size <= MOST_REMEMBERED else size


def bytes_of(text: str) -> int:
    """UTF-8 bytes of the text or of its normal form, the more of both."""
    if text.isascii():
        return len(text)
    size = len(text.encode("utf-8", "surrogatepass"))
    return max(size, len(unicodedata.normalize("NFKC", text).encode("utf-8", "surrogatepass")))


def token_estimate(request: Request) -> int:
    """Tokens that `request` counts as against a limit: a third of its messages' UTF-8 bytes, and all it may answer."""
    if isinstance(request, ForwardRequest):
        return math.ceil(request.size / BYTES_PER_TOKEN) + request.max_tokens
    length = sum(len(message.content.encode("utf-8", "surrogatepass")) for message in request.messages)
    return math.ceil(length / BYTES_PER_TOKEN) + request.max_tokens
