"""Checks the JSON Schemas of a prompt file: valid, self-contained, and with patterns that cannot be slow."""

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs

DRAFT = "https://json-schema.org/draft/2020-12/schema"
ENUM_FROM = "x-enum-from"

Place = tuple[str | int, ...]


class SchemaRefused(Exception):
    """What is wrong with a schema, and at which place in it."""

    def __init__(self, reason: str, place: Place) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = place


def compile_schema(schema: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """A validator whose messages show no value; patterns run in linear time. Raises ValueError."""
    return jsonschema_rs.Draft202012Validator(
        dict(schema), mask="the value", offline=True, pattern_options=jsonschema_rs.RegexOptions()
    )


def check_schema(schema: Mapping[str, Any]) -> None:
    """Refuse what is no usable schema of an object. Raises SchemaRefused."""
    for place, value in walk(schema):
        refuse_keyword(place, value)
    try:
        validator = compile_schema(schema)
    except jsonschema_rs.ValidationError as error:
        raise SchemaRefused(reason(error), tuple(error.instance_path)) from None
    if schema.get("type") != "object":
        raise SchemaRefused("the schema must say `type: object`", ("type",))
    if not isinstance(schema.get("properties"), dict):
        raise SchemaRefused("the schema must list its `properties`", ())
    for index, example in enumerate(schema.get("examples", ())):
        for flaw in validator.iter_errors(example):
            at = "/".join(str(part) for part in flaw.instance_path)
            raise SchemaRefused(f"the example does not fit the schema: {at} {reason(flaw)}", ("examples", index))


def check_sources(output_schema: Mapping[str, Any], input_schema: Mapping[str, Any]) -> None:
    """Hold every `x-enum-from` of an output schema to the inputs there are. Raises SchemaRefused."""
    for place, value in walk(output_schema):
        if place[-1:] != (ENUM_FROM,):
            continue
        if not isinstance(value, str) or value.split(".")[0] not in input_schema["properties"]:
            raise SchemaRefused(f"{ENUM_FROM} must be a path into an input, such as `texts.id`", place)


def refuse_keyword(place: Place, value: Any) -> None:
    """Refuse references that leave the file, and other drafts."""
    if place[-1:] in {("$ref",), ("$dynamicRef",)} and isinstance(value, str) and not value.startswith("#"):
        raise SchemaRefused("a $ref must begin with `#`: schemas stand in the prompt file", place)
    if place[-1:] == ("$id",) and isinstance(value, str):
        raise SchemaRefused("a $id is not taken", place)
    if place[-1:] == ("enum",) and value == []:
        raise SchemaRefused("an enum without values, which nothing can satisfy", place)
    if place == ("$schema",) and value != DRAFT:
        raise SchemaRefused(f"the only draft is {DRAFT}", place)


def reason(error: jsonschema_rs.ValidationError) -> str:
    """The first line of the validator's message, cut."""
    return error.message.splitlines()[0][:300]


def walk(schema: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Everything in a schema with its place."""
    yield place, schema
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            yield from walk(value, (*place, key))
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from walk(value, (*place, index))
