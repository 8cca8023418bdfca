"""One item as the caller sent it, taken apart and held to what any text of a request must be."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from feedback_gateway.errors import InvalidRequest, Problem

ENVELOPE = frozenset({"id", "metadata"})
MAX_ID = 200

Loc = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """The item's id and metadata, and the inputs that its task defines."""

    id: str | int | None
    inputs: Mapping[str, Any]


def parse_item(raw: object) -> Item:
    """Separate the envelope from the task's inputs. Raises InvalidRequest naming every wrong place of the envelope."""
    if not isinstance(raw, Mapping):
        raise InvalidRequest("an item is a JSON object", problems=[Problem((), "must be an object with `text`")])
    item_id, metadata = raw.get("id"), raw.get("metadata")
    problems = []
    if isinstance(item_id, bool) or not isinstance(item_id, str | int | None) or len(str(item_id)) > MAX_ID:
        problems.append(Problem(("id",), f"must be a string of at most {MAX_ID} characters, or an integer"))
    if not isinstance(metadata, Mapping | None):
        problems.append(Problem(("metadata",), "must be an object"))
    if problems:
        raise InvalidRequest("the item cannot be used", problems=problems)
    return Item(item_id, {name: value for name, value in raw.items() if name not in ENVELOPE})


def id_of(raw: object) -> str | int | None:
    """The id to answer under, of an item that may be no item at all."""
    item_id = raw.get("id") if isinstance(raw, Mapping) else None
    return item_id if isinstance(item_id, str | int) and not isinstance(item_id, bool) else None


def text_problems(inputs: Mapping[str, Any], *, most_chars: int) -> Iterator[Problem]:
    """Strings that are too long, blank where text is wanted, or no Unicode text at all."""
    for loc, value in strings(inputs, ()):
        if len(value) > most_chars:
            yield Problem(loc, f"has {len(value)} characters; at most {most_chars} are taken (limits.text_chars)")
        elif loc[-1] == "text" and value and not value.strip():
            yield Problem(loc, "must hold more than white space")
        elif not is_unicode(value):
            yield Problem(loc, "holds half of a surrogate pair, which is no Unicode text")


def id_problems(inputs: Mapping[str, Any]) -> Iterator[Problem]:
    """Ids that stand twice in one list: an answer that cites one would cite both."""
    for name, entries in inputs.items():
        seen: set[str] = set()
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            entry_id = entry.get("id") if isinstance(entry, Mapping) else None
            if isinstance(entry_id, str) and entry_id in seen:
                yield Problem((name, index, "id"), "is the id of an entry before it")
            elif isinstance(entry_id, str):
                seen.add(entry_id)


def as_texts(item: Item) -> Mapping[str, Any]:
    """The inputs with a single `text` as a list of one; its id there is the item's, or `"1"`."""
    if "text" not in item.inputs:
        return item.inputs
    rest = {name: value for name, value in item.inputs.items() if name != "text"}
    return {**rest, "texts": [{"id": "1" if item.id in (None, "") else str(item.id), "text": item.inputs["text"]}]}


def strings(value: object, loc: Loc) -> Iterator[tuple[Loc, str]]:
    """Every string in `value` with its place; keys of objects are not looked at."""
    if isinstance(value, str):
        yield loc, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from strings(item, (*loc, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from strings(item, (*loc, index))


def is_unicode(value: str) -> bool:
    """Whether `value` can be written as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
