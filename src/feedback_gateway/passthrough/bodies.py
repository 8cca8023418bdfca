"""What a request in OpenAI's terms asks for, and the most that it can take. Everything else is the provider's to judge.

Pure: knows no provider and no web framework.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from feedback_gateway.errors import MalformedRequest, Problem
from feedback_gateway.llm.models import USE_CACHE, CachePolicy, Operation
from feedback_gateway.llm.openai_endpoint import LIMITS
from feedback_gateway.llm.tokens import bytes_of
from feedback_gateway.passthrough.cache_controls import read_policy

MOST_CHOICES = 128
IMAGE_TOKENS = 50_000
"""More than any listed model takes for one picture: gpt-4o-mini takes 48,169 for the largest."""
UNBOUNDED_PARTS = frozenset({"input_audio", "file", "video_url", "audio_url", "document_url", "input_video"})
UNBOUNDED_FIELDS = ("audio", "prediction", "web_search_options", "plugins", "search_parameters", "provider")
OPERATORS = ("models", "preset")
"""What would let a caller choose another model than the deployment's, at another price."""
SHAPES: Mapping[str, type | tuple[type, ...]] = {
    "messages": list,
    "modalities": list,
    "response_format": dict,
    "service_tier": str,
    "stream": bool,
    "stream_options": dict,
    "tool_choice": (str, dict),
    "tools": list,
}
"""What members that are read here, or that no adapter survives in another shape, are where they are given."""
KINDS: Mapping[type | tuple[type, ...], str] = {
    list: "a list",
    dict: "an object",
    str: "a text",
    bool: "true or false",
    (str, dict): "a text or an object",
}
TOOLS = ("function", "custom")
"""Tools of the caller's own; others are the provider's, which bills their use by itself."""
DEAR_TIERS = frozenset({"priority", "fast"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request: `body` is all of it but the model, and `size` at least the tokens that its input can take.

    `most` is the most output tokens of one choice, None where it does not say. `unbounded` names what no budget can be
    held against, `shown` is the body without the pictures in it.
    """

    operation: Operation
    model: str
    body: Mapping[str, Any] = field(repr=False)
    size: int
    most: int | None = None
    choices: int = 1
    is_streamed: bool = False
    unbounded: str | None = None
    shown: Mapping[str, Any] = field(repr=False)
    cache: CachePolicy = USE_CACHE


def read_chat(value: Any, *, length: int) -> Asked:
    """A chat completion of `length` bytes. Raises MalformedRequest that names the place."""
    body, model = with_model(value)
    cache = read_policy(body.pop("cache", None))
    check_shapes(body)
    messages = body.get("messages")
    if not messages:
        raise malformed("messages", "give a list of at least one message")
    choices = whole(body, "n", most=MOST_CHOICES) or 1
    limits = [whole(body, name) for name in LIMITS]
    body = {name: member for name, member in body.items() if member is not None or name not in LIMITS}
    pictures = list(pictures_in(messages))
    return Asked(
        operation="chat",
        model=model,
        body=body,
        size=size_of(body, length=length) - sum(map(len, pictures)) + IMAGE_TOKENS * len(pictures),
        most=max((limit for limit in limits if limit is not None), default=None),
        choices=choices,
        is_streamed=bool(body.get("stream")),
        unbounded=unbounded_in(body, messages),
        shown=without(pictures, body) if pictures else body,
        cache=cache,
    )


def check_shapes(body: Mapping[str, Any]) -> None:
    """Refuse what no provider could take and what is the operator's to say. Raises MalformedRequest."""
    for name, kinds in SHAPES.items():
        value = body.get(name)
        if value is not None and not isinstance(value, kinds):
            raise malformed(name, f"must be {KINDS[kinds]}")
    for name in OPERATORS:
        if body.get(name) is not None:
            raise malformed(name, "which model answers is for the operator to say")
    for name in ("messages", "tools"):
        for place, one in enumerate(body.get(name) or ()):
            if not isinstance(one, dict):
                raise malformed(name, f"entry {place} must be an object")
    for message in body.get("messages") or ():
        if not is_content(message.get("content")):
            raise malformed("messages", "content must be a text, a list of parts with a type each, or null")


def is_content(content: Any) -> bool:
    """Whether a message may say this."""
    if isinstance(content, list):
        return all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in content)
    return isinstance(content, str | None)


def read_embeddings(value: Any, *, length: int) -> Asked:
    """Texts or tokens to embed, `length` bytes of them. Raises MalformedRequest that names the place."""
    body, model = with_model(value)
    cache = read_policy(body.pop("cache", None))
    if not isinstance(body.get("input"), str | list) or not body["input"]:
        raise malformed("input", "give a text, or a list of texts or of tokens")
    size = size_of(body, length=length)
    return Asked(operation="embeddings", model=model, body=body, size=size, most=0, shown=body, cache=cache)


def with_model(value: Any) -> tuple[dict[str, Any], str]:
    """The body without its model, and the model."""
    if not isinstance(value, dict):
        raise MalformedRequest("the body must be a JSON object")
    model = value.get("model")
    if not isinstance(model, str) or not model:
        raise malformed("model", "name one; GET /v1/models lists what there is")
    return {name: member for name, member in value.items() if name != "model"}, model


def whole(body: Mapping[str, Any], name: str, *, most: int = 10**9) -> int | None:
    """A whole number from 1 to `most`, None where it is absent or null."""
    value = body.get(name)
    if value is not None and (type(value) is not int or not 1 <= value <= most):
        raise malformed(name, f"must be a whole number from 1 to {most}")
    return value


def malformed(name: str, message: str) -> MalformedRequest:
    """What is wrong with one member."""
    return MalformedRequest(f"{name}: {message}", problems=[Problem((name,), message)])


def size_of(body: Mapping[str, Any], *, length: int) -> int:
    """UTF-8 bytes of the body in whichever form tokenizers may read it, the most of them."""
    text = msgspec.json.encode(body)
    return length if text.isascii() else max(length, bytes_of(text.decode()))


def parts_in(messages: list[Any]) -> Iterator[Mapping[str, Any]]:
    """Every part of every message that is written in parts."""
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, list):
            yield from (part for part in content if isinstance(part, Mapping))


def pictures_in(messages: list[Any]) -> Iterator[str]:
    """The address of every picture: where it is, or as a data URL the picture itself."""
    for part in parts_in(messages):
        if part.get("type") == "image_url":
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, Mapping) else image
            yield url if isinstance(url, str) else ""


def unbounded_in(body: Mapping[str, Any], messages: list[Any]) -> str | None:
    """What in a request costs more than its length and its most tokens tell; None where nothing does."""
    for name in UNBOUNDED_FIELDS:
        if body.get(name):
            return name
    if "audio" in (body.get("modalities") or ()):
        return "modalities"
    if any(tool.get("type") not in TOOLS for tool in body.get("tools") or ()):
        return "tools"
    if body.get("service_tier") in DEAR_TIERS:
        return "service_tier"
    return next((str(part["type"]) for part in parts_in(messages) if part.get("type") in UNBOUNDED_PARTS), None)


def without(pictures: list[str], value: Any) -> Any:
    """`value` with the length of each picture in its place, for the log."""
    if isinstance(value, dict):
        return {name: without(pictures, member) for name, member in value.items()}
    if isinstance(value, list):
        return [without(pictures, entry) for entry in value]
    if isinstance(value, str) and value.startswith("data:") and value in pictures:
        return f"{value.partition(',')[0][:100]},… ({len(value):,} characters)"
    return value
