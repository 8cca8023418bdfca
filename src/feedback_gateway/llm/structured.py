"""The three ways to ask a model for JSON of a schema. Whether it complied is checked elsewhere."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from feedback_gateway.llm.models import Message
from feedback_gateway.memo import Memo

Mode = Literal["schema", "tool", "text"]
Params = dict[str, Any]

TOOL = "answer"
INSTRUCTION = (
    "Answer with one JSON object that satisfies this JSON Schema and nothing else: no explanation, no code fence."
)
UNSUPPORTED_IN_STRICT = frozenset(
    {"allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas"}
)
STRICT: Memo[bool] = Memo(most=64)


def is_strict(schema: object) -> bool:
    """Whether OpenAI's strict mode takes `schema`: every object closed, every property required, no exotic keyword."""
    if isinstance(schema, list):
        return all(is_strict(item) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    if UNSUPPORTED_IN_STRICT & schema.keys():
        return False
    kinds = schema.get("type")
    if kinds == "object" or (isinstance(kinds, list) and "object" in kinds):
        properties = schema.get("properties", {})
        closed = schema.get("additionalProperties") is False
        if not closed or set(schema.get("required", ())) != set(properties):
            return False
    plain = {key: value for key, value in schema.items() if key not in ("enum", "const", "default", "examples")}
    nested = plain.pop("properties", {})
    return is_strict(list(nested.values())) and is_strict(list(plain.values()))


def takes_strictly(schema: Mapping[str, Any]) -> bool:
    """`is_strict`, looked at once for a schema that calls share."""
    if (known := STRICT.find(schema)) is not None:
        return known
    return STRICT.keep(is_strict(schema), schema)


def structured_params(mode: Mode, schema: Mapping[str, Any], *, supported: frozenset[str]) -> Params:
    """The parameters, in OpenAI's terms, that ask for `schema` in this mode."""
    if mode == "schema":
        form = {"name": TOOL, "schema": dict(schema), "strict": takes_strictly(schema)}
        return {"response_format": {"type": "json_schema", "json_schema": form}}
    if mode == "tool":
        function = {"name": TOOL, "description": "Gives the answer.", "parameters": dict(schema)}
        choice = {"type": "function", "function": {"name": TOOL}}
        return {"tools": [{"type": "function", "function": function}], "tool_choice": choice}
    return {"response_format": {"type": "json_object"}} if "response_format" in supported else {}


def structured_messages(mode: Mode, messages: Sequence[Message], schema: Mapping[str, Any]) -> list[dict[str, str]]:
    """The conversation on the wire; only plain text needs to be told the schema, before anything a user wrote."""
    turns = [{"role": message.role, "content": message.content} for message in messages]
    if mode != "text":
        return turns
    told = f"{INSTRUCTION}\n{json.dumps(schema, ensure_ascii=False)}"
    if turns and turns[0]["role"] == "system":
        return [{"role": "system", "content": f"{turns[0]['content']}\n\n{told}"}, *turns[1:]]
    return [{"role": "system", "content": told}, *turns]
