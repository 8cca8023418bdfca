"""Derives the schemas that models, callers and documentation see from those of a prompt file; pure functions."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from feedback_gateway.prompts.schemas import ENUM_FROM
from feedback_gateway.tasks.calibration import without_numbers

Schema = dict[str, Any]

MAX_ITEMS = 1_000
MAX_ID = 200

ROUTE: Schema = {
    "type": "object",
    "description": "the team that a routing rule of the taxonomy gives the item to, and why",
    "properties": {
        "team": {"type": ["string", "null"]},
        "rule": {"type": ["string", "null"]},
        "reason": {"type": "string"},
    },
    "required": ["team", "rule", "reason"],
    "additionalProperties": False,
}
NEEDS_REVIEW: Schema = {"type": "boolean", "description": "whether a person should look at this answer"}
REVIEW_REASONS = ("model_unsure", "low_confidence", "evidence_dropped", "injection_suspected")
REVIEW_REASON: Schema = {
    "type": "array",
    "items": {"type": "string", "enum": list(REVIEW_REASONS)},
    "description": "why a person should look at it",
}
CONFIDENCE_SOURCE: Schema = {
    "enum": ["classifier", "calibrated"],
    "description": "what `confidence` is: a classifier's probability, or how often answers like this one were right",
}
OFFSET: Schema = {"type": "integer", "minimum": 0, "description": "in Unicode code points"}
ENVELOPE: Schema = {
    "id": {
        "type": ["string", "integer", "null"],
        "maxLength": MAX_ID,
        "description": "yours; it comes back with the answer",
    },
    "metadata": {"type": ["object", "null"], "description": "yours; it is not shown to the model"},
}
OPTIONS: Schema = {
    "type": "object",
    "properties": {
        "model": {"type": ["string", "null"], "description": "an alias of `model_list`"},
        "prompt_version": {"type": ["integer", "null"], "minimum": 1},
        "cache": {"enum": ["use", "bypass", "refresh"]},
        "timeout_s": {"type": ["number", "null"], "exclusiveMinimum": 0},
    },
    "additionalProperties": False,
}
REVIEWED = frozenset({"sentiment", "categorize", "severity", "classify"})


def answer_schema(schema: Any, resolve: Callable[[str], tuple[str, ...]]) -> Any:
    """A model's schema for one request: every `x-enum-from` as the enumeration that `resolve` gives for its path.

    Where nothing can be chosen, a list must stay empty and a choice that may be null must be null. Annotations go.
    """
    if isinstance(schema, list):
        return [answer_schema(item, resolve) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    made = {
        key: answer_schema(value, resolve)
        for key, value in schema.items()
        if not key.startswith("x-") and key != "examples"
    }
    nullable = "null" in schema.get("type", ())
    if (labels := choices(schema, resolve)) is not None and (labels or nullable):
        made["enum"] = [*labels, *([None] if nullable else [])]
    items = schema.get("items")
    if isinstance(items, Mapping) and choices(items, resolve) == ():
        made["maxItems"] = 0
    return made


def choices(schema: Mapping[str, Any], resolve: Callable[[str], tuple[str, ...]]) -> tuple[str, ...] | None:
    """The labels of one place: its own `enum` and those of the request; None where it is not an enumeration of them."""
    if not isinstance(path := schema.get(ENUM_FROM), str):
        return None
    return tuple(dict.fromkeys([*schema.get("enum", ()), *resolve(path)]))


def values_at(data: Any, path: list[str]) -> Iterator[str]:
    """The strings that `path` leads to, through every item of every list on the way."""
    if isinstance(data, list | tuple):
        for item in data:
            yield from values_at(item, path)
    elif path and isinstance(data, dict):
        yield from values_at(data.get(path[0]), path[1:])
    elif not path and isinstance(data, str):
        yield data


def enum_paths(schema: Any) -> Iterator[str]:
    """Every path that an `x-enum-from` in `schema` names."""
    if isinstance(schema, Mapping):
        if isinstance(path := schema.get(ENUM_FROM), str):
            yield path
        schema = list(schema.values())
    if isinstance(schema, list):
        for item in schema:
            yield from enum_paths(item)


def result_schema(task: str, schema: Mapping[str, Any]) -> Schema:
    """What the endpoint's `result` is: the model's answer, quotes with their offsets, and what the gateway adds."""
    made: Schema = with_offsets(schema)
    added: Schema = {}
    if "confidence" in made["properties"]:
        made["properties"]["confidence_source"] = CONFIDENCE_SOURCE
        make_optional(made, "confidence")
        make_optional(made["properties"].get("alternatives", {}).get("items", {}), "confidence")
    if task == "classify":
        added["route"] = ROUTE
    if task in REVIEWED:
        added |= {"needs_review": NEEDS_REVIEW, "review_reasons": REVIEW_REASON}
    made["properties"] |= added
    made["required"] = [*made.get("required", ()), *added]
    return made


def make_optional(schema: Any, name: str) -> None:
    """Take `name` out of what an object of `schema` must have: a confidence that nobody measured is not told."""
    if isinstance(schema, dict) and name in schema.get("required", ()):
        schema["required"] = [one for one in schema["required"] if one != name]


def with_offsets(schema: Any, name: str = "") -> Any:
    """`schema` without keywords of ours, its evidence with `start` and `end`; labels of a request are any string."""
    if isinstance(schema, list):
        return [with_offsets(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    left_out = {"enum"} if ENUM_FROM in schema else set()
    made = {
        key: with_offsets(value, key)
        for key, value in schema.items()
        if not key.startswith("x-") and key not in left_out and key != "examples"
    }
    quotes = made.get("items")
    if name == "evidence" and isinstance(quotes, dict) and "quote" in quotes.get("properties", {}):
        quotes["properties"] |= {"start": OFFSET, "end": OFFSET}
        quotes["required"] = [*quotes.get("required", ()), "start", "end"]
    return made


def item_schema(schema: Mapping[str, Any]) -> Schema:
    """One item as a caller sends it: the task's inputs and the envelope."""
    shown = {key: value for key, value in schema.items() if key != "examples"}
    return shown | {"properties": schema["properties"] | ENVELOPE}


def request_schema(schema: Mapping[str, Any]) -> Schema:
    """The body of a task's endpoint: one item with its options, or many."""
    item = item_schema(schema)
    return {
        "anyOf": [
            item | {"title": "One item", "properties": item["properties"] | {"options": OPTIONS}},
            {
                "title": "Many items",
                "type": "object",
                "properties": {
                    "items": {"type": "array", "items": item, "minItems": 1, "maxItems": MAX_ITEMS},
                    "options": OPTIONS,
                },
                "required": ["items"],
                "additionalProperties": False,
            },
        ]
    }


def result_example(task: str, example: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A model's example answer as a caller would get it, for the same inputs."""
    made: dict[str, Any] = locate(example, inputs)
    if "confidence" in made:
        made = without_numbers(made | {"confidence_source": "calibrated"})
    if task == "classify":
        made["route"] = {"team": None, "rule": None, "reason": "no rule matched"}
    return made | ({"needs_review": False, "review_reasons": []} if task in REVIEWED else {})


def locate(value: Any, inputs: Mapping[str, Any]) -> Any:
    """`value` with the offsets of its quotes in the inputs they come from."""
    if isinstance(value, list):
        return [locate(item, inputs) for item in value]
    if not isinstance(value, Mapping):
        return value
    made = {key: locate(item, inputs) for key, item in value.items()}
    source = str(inputs.get(made.get("source", "text"), ""))
    if isinstance(quote := made.get("quote"), str) and quote in source:
        start = source.index(quote)
        made |= {"start": start, "end": start + len(quote)}
    return made
