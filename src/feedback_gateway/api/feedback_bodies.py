"""What `POST /v1/feedback` takes: one item, `{"items": […]}` or JSON Lines.

What is wrong with one item of many is said of it alone.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from starlette.requests import Request

from feedback_gateway.api.admin_bodies import NAME, Moment, Strict, validated
from feedback_gateway.api.bodies import parse_json, require_json
from feedback_gateway.errors import GatewayError, InvalidRequest, MalformedRequest, Problem, TooLarge
from feedback_gateway.feedback.models import NewItem

LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines")
TEXT = r"^[^\x00]*[^\s\x00][^\x00]*$"
"""More than white space, and nothing that a database cannot hold."""
MOST_RATING = 1e9

Parsed = NewItem | GatewayError


def as_id(value: object) -> object:
    """An id as text: help desks count theirs."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def not_counted(value: object) -> object:
    """Refuse a number for a moment: nobody knows whether it counts seconds. Raises ValueError."""
    if not isinstance(value, str | datetime | None):
        raise ValueError("write a time such as 2026-03-01T12:00:00Z")  # noqa: TRY004 - which pydantic takes for its own
    return value


def storable_text(text: str) -> str:
    """Refuse what holds nothing, or what no database can hold. Raises ValueError."""
    if not text.strip():
        raise ValueError("must hold more than white space")
    if "\0" in text:
        raise ValueError("holds a NUL, which is no character of a text")
    return text


ID_SCHEMA = {"type": ["string", "integer", "null"], "minLength": 1, "maxLength": 200, "pattern": NAME}
GivenId = Annotated[
    Annotated[str, Field(min_length=1, max_length=200, pattern=NAME)] | None,
    BeforeValidator(as_id),
    WithJsonSchema(ID_SCHEMA),
]


class FeedbackBody(Strict):
    """One item."""

    text: Annotated[str, AfterValidator(storable_text), WithJsonSchema({"type": "string", "pattern": TEXT})]
    source: Annotated[str, Field(min_length=1, max_length=100, pattern=NAME, description="where it comes from")]
    external_id: Annotated[GivenId, Field(description="its id there; the same one of a source is one item")] = None
    author_id: GivenId = None
    created_at: Annotated[Moment | None, BeforeValidator(not_counted)] = None
    rating: Annotated[float | None, Field(strict=True, ge=-MOST_RATING, le=MOST_RATING)] = None
    metadata: Annotated[dict[str, Any], Field(default_factory=dict)]

    def item(self) -> NewItem:
        """The item, not stored yet."""
        return NewItem(**{name: getattr(self, name) for name in type(self).model_fields})


class FeedbackBatch(Strict):
    """Many items."""

    items: list[FeedbackBody]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a request brings, in its order; `many` tells a list of one from a single item."""

    parsed: list[Parsed]
    many: bool


async def read_submission(request: Request, *, most_items: int, most_chars: int) -> Submission:
    """Take a request's body apart. Raises MalformedRequest, InvalidRequest and TooLarge about the whole of it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in LINES:
        lines = [line for line in (await request.body()).split(b"\n") if line.strip()]
        if not lines:
            raise MalformedRequest("the body is empty; send a JSON object a line")
        require_room(len(lines), most_items=most_items)
        return Submission(parsed=[parse_line(line, most_chars=most_chars) for line in lines], many=True)
    require_json(request.headers)
    document = parse_json(await request.body())
    if not isinstance(document, dict) or "items" not in document:
        return Submission(parsed=[read_item(document, most_chars=most_chars)], many=False)
    return Submission(parsed=read_items(document, most_items=most_items, most_chars=most_chars), many=True)


def read_items(document: dict[str, Any], *, most_items: int, most_chars: int) -> list[Parsed]:
    """The entries of `items`."""
    items = document["items"]
    beside = [name for name in document if name != "items"]
    if beside:
        message = "beside `items` nothing may stand"
        raise InvalidRequest(f"{beside[0]}: {message}", problems=[Problem((name,), message) for name in beside])
    if not isinstance(items, list) or not items:
        message = "must be a list of at least one item"
        raise InvalidRequest(f"items: {message}", problems=[Problem(("items",), message)])
    require_room(len(items), most_items=most_items)
    return [parse_item(entry, most_chars=most_chars) for entry in items]


def require_room(count: int, *, most_items: int) -> None:
    """Raises TooLarge."""
    if count > most_items:
        message = f"{count:,} items are over the limit of {most_items:,} a request"
        raise TooLarge(message, problems=[Problem(("items",), message)])


def parse_line(line: bytes, *, most_chars: int) -> Parsed:
    """The item of one line, or what is wrong with it."""
    try:
        return read_item(parse_json(line), most_chars=most_chars)
    except GatewayError as error:
        return error


def parse_item(document: object, *, most_chars: int) -> Parsed:
    """One item, or what is wrong with it."""
    try:
        return read_item(document, most_chars=most_chars)
    except GatewayError as error:
        return error


def read_item(document: object, *, most_chars: int) -> NewItem:
    """One item. Raises InvalidRequest with every place that is wrong."""
    item = validated(FeedbackBody, document).item()
    if len(item.text) > most_chars:
        message = f"has {len(item.text)} characters; at most {most_chars} are taken (limits.text_chars)"
        raise InvalidRequest(f"text: {message}", problems=[Problem(("text",), message)])
    return item
