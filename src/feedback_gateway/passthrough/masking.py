"""Takes personal data out of a request before it is passed on, and puts it back into the answer."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from feedback_gateway.redaction.redaction import Redaction

TEXTS = ("messages", "input", "user", "metadata", "safety_identifier")
"""The members of a body that hold what users wrote."""
LEFT = frozenset({"role", "type", "id", "tool_call_id", "name", "image_url", "input_audio", "file", "detail"})
"""Members whose values are no text of anybody's: names of the protocol, and what is not written in letters."""


def masked(body: Mapping[str, Any], mask: Redaction) -> dict[str, Any]:
    """The body with a placeholder for all that is personal or secret in its texts."""
    return {name: changed(value, mask.mask) if name in TEXTS else value for name, value in body.items()}


def texts_in(body: Mapping[str, Any]) -> Iterator[str]:
    """Every text that would be masked, so that what looks like a placeholder in one is given out in none."""
    for name in TEXTS:
        yield from texts_of(body.get(name))


def texts_of(value: Any) -> Iterator[str]:
    """Every text in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, member in value.items():
            if name not in LEFT:
                yield from texts_of(member)
    elif isinstance(value, list):
        for entry in value:
            yield from texts_of(entry)


def changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """The value with `change` made to every text in it."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: member if name in LEFT else changed(member, change) for name, member in value.items()}
    if isinstance(value, list):
        return [changed(entry, change) for entry in value]
    return value
