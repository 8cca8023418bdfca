"""Request bodies: bytes to strict JSON. What the JSON says is for others to judge.

Refused: other encodings than UTF-8, NaN and infinities, duplicate keys, deep nesting and lone surrogates.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Self

from feedback_gateway.errors import MalformedRequest, Problem, UnsupportedMediaType

MAX_DEPTH = 64

Place = tuple[str | int, ...]


class UnusableNumber(ValueError):
    """A number or key that strict JSON does not have."""


def require_json(headers: Mapping[str, str]) -> None:
    """Refuse a body that does not call itself JSON. Raises UnsupportedMediaType.

    A body without a type is taken for JSON, but not from a web page of another origin: browsers let such pages send
    untyped and form bodies to a gateway on the same machine without asking it first.
    """
    content_type = headers.get("content-type", "").lower()
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip()
    charset = next((part.split("=")[1].strip(' "') for part in parameters.split(";") if "charset=" in part), "utf-8")
    if charset not in {"utf-8", "utf8", "us-ascii"}:
        raise UnsupportedMediaType(f"JSON is UTF-8; this body says charset={charset[:40]}")
    if not kind and "origin" not in headers:
        return
    if not kind.endswith(("/json", "+json")):
        raise UnsupportedMediaType(f"send content-type: application/json, not {kind[:80] or 'none at all'}")


def parse_json(body: bytes, *, fraction: Callable[[str], Any] | None = None) -> Any:
    """The JSON value in `body`, numbers with a fraction or exponent as `fraction` reads them, else as floats.

    Raises MalformedRequest that names the place.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = f"byte 0x{body[error.start]:02x} at offset {error.start}"
        raise MalformedRequest(f"the body is not UTF-8: {place}") from None
    if not text.strip():
        raise MalformedRequest("the body is empty; send a JSON object")
    try:
        value = json.loads(
            text,
            object_pairs_hook=unique,
            parse_constant=refuse_constant,
            parse_float=fraction or finite,
            parse_int=integer,
        )
    except RecursionError:
        raise MalformedRequest(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise MalformedRequest(f"the body is not JSON: {error.msg} at {place}") from None
    except UnusableNumber as error:
        raise MalformedRequest(f"the body is not strict JSON: {error}") from None
    refuse_odd_values(value)
    return value


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's members; of two with one name nobody knows which one was meant."""
    members = dict(pairs)
    if len(members) != len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise UnusableNumber(f"the key {twice[:80]!a} is given twice in one object")
    return members


class Written(float):
    """A number that still knows how it was written: `str` gives every digit."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Read it. Raises UnusableNumber as `finite` does."""
        number = super().__new__(cls, finite(text))
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text


def refuse_constant(name: str) -> Any:
    """Refuse NaN, Infinity and -Infinity, which Python reads and JSON does not have."""
    raise UnusableNumber(f"{name} is no JSON number")


def finite(text: str) -> float:
    """A number with a fraction or an exponent, unless it is larger than any float."""
    number = float(text)
    if math.isinf(number):
        raise UnusableNumber(f"the number {text[:40]} is out of range")
    return number


def integer(text: str) -> int:
    """A whole number, unless no float and no other JSON reader could hold it."""
    if len(text) > 300:  # noqa: PLR2004 - the largest float has 309 digits
        raise UnusableNumber(f"the number {text[:40]}… is out of range")
    return int(text)


def refuse_odd_values(value: Any) -> None:
    """Refuse nesting over MAX_DEPTH and strings that no encoding can carry, naming the place."""
    stack: list[tuple[Any, Place]] = [(value, ())]
    while stack:
        current, place = stack.pop()
        if isinstance(current, str):
            refuse_surrogates(current, place)
        elif isinstance(current, dict | list):
            if len(place) >= MAX_DEPTH:
                raise MalformedRequest(
                    f"the body is nested deeper than {MAX_DEPTH} levels",
                    problems=[Problem(place[:8], f"nested deeper than {MAX_DEPTH} levels")],
                )
            if isinstance(current, dict):
                for name in current:
                    refuse_surrogates(name, place)
                stack.extend((member, (*place, name)) for name, member in current.items())
            else:
                stack.extend((entry, (*place, index)) for index, entry in enumerate(current))


def refuse_surrogates(text: str, place: Place) -> None:
    """Refuse half of a surrogate pair: it is no character and cannot be written as UTF-8."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"a lone surrogate (U+{ord(text[error.start]):04X}) at character {error.start} is no text"
        raise MalformedRequest(message, problems=[Problem(place, message)]) from None
