"""Which places of a task's answers hold labels, and where two answers differ in them. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from feedback_gateway.prompts.schemas import ENUM_FROM

LABEL_WORDS = frozenset({"enum", "const", "pattern", ENUM_FROM})
TEAM = "route.team"
MISSING = "(none)"


def differing_labels(left: Any, right: Any, labels: Iterable[str]) -> dict[str, tuple[str | None, str | None]]:
    """Every one of `labels` that either result has, with its value in both."""
    found = {name: (value_at(left, name), value_at(right, name)) for name in labels}
    return {name: values for name, values in found.items() if values != (None, None)}


def differ(left: Any, right: Any, labels: Iterable[str]) -> bool:
    """Whether two results have another value in any of `labels`."""
    return any(one != other for one, other in differing_labels(left, right, labels).values())


def value_at(result: Any, name: str) -> str | None:
    """The label at a dotted place, None where there is no such place."""
    for part in name.split("."):
        if not isinstance(result, Mapping) or part not in result:
            return None
        result = result[part]
    return MISSING if result is None else str(result).lower() if isinstance(result, bool) else str(result)


def labels_of(schemas: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The places in answers of these schemas that hold one of a few words, and the team that a rule gave.

    Prose, numbers and lists are none: what a model writes in sentences is never twice the same.
    """
    return tuple(dict.fromkeys([name for schema in schemas for name in label_places(schema)] + [TEAM]))


def label_places(schema: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """The dotted places of one schema's labels."""
    for name, inner in schema.get("properties", {}).items():
        if not isinstance(inner, Mapping):
            continue
        is_flag = "boolean" in inner.get("type", ())
        if is_flag or LABEL_WORDS & inner.keys():
            yield ".".join((*path, name))
        yield from label_places(inner, (*path, name))
