"""From a model's text to JSON that fits a schema: what can be mended without loss is mended, the rest is named."""

import json
import re
from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]
FENCE = re.compile(r"```[a-zA-Z]*\s*\n(.*?)\n?\s*```", re.DOTALL)
SPACES = re.compile(r"[\s_-]+")
MAX_DEPTH = 32


class OutputError(ValueError):
    """Why a text is no valid answer, in words that help its author to do better."""


def parse_object(text: str) -> dict[str, Any]:
    """The one JSON object in `text`, bare, in a code fence, or with words around it.

    Raises OutputError for none, more than one, a cut-off one, NaN, or nesting deeper than any schema of ours.
    """
    fenced = FENCE.findall(text)
    source = fenced[0] if len(fenced) == 1 else text
    start = source.find("{")
    if start < 0:
        raise OutputError("the answer holds no JSON object")
    decoder = json.JSONDecoder(parse_constant=refuse_constant)
    try:
        value, end = decoder.raw_decode(source, start)
    except json.JSONDecodeError as error:
        raise OutputError(f"the answer is no complete JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise OutputError("the answer is nested too deeply") from None
    except OutputError:
        raise
    except ValueError:
        raise OutputError("the answer holds a number that is out of range") from None
    if "{" in source[end:]:
        raise OutputError("the answer holds more than one JSON object; give exactly one")
    if depth(value) > MAX_DEPTH:
        raise OutputError("the answer is nested too deeply")
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise OutputError("the answer holds half a surrogate pair or a number that is out of range") from None
    return dict(value)


def refuse_constant(name: str) -> float:
    """Refuse NaN and the infinities, which JSON does not have."""
    raise OutputError(f"{name} is not JSON")


def depth(value: object) -> int:
    """How many containers are nested in `value`; stops counting where it is too deep for any answer."""
    level, layer = 0, [value]
    while layer and level <= MAX_DEPTH:
        inner = [item for item in layer if isinstance(item, dict | list)]
        layer = [child for item in inner for child in (item.values() if isinstance(item, dict) else item)]
        level += bool(inner)
        if not inner:
            break
    return level


def coerce(value: object, schema: Schema) -> Any:
    """`value` with the slips mended that have one reading only; whatever else is wrong stays as it is.

    Mended are a label in other case or spacing, a number or boolean in quotes, one thing where a list of such
    is asked for, a nullable property left out, and properties that nobody asked for.
    """
    if "enum" in schema and value not in schema["enum"]:
        return match_label(value, schema["enum"])
    kinds = schema.get("type", ())
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    if "array" in kinds and not isinstance(value, list) and not (value is None and "null" in kinds):
        value = [] if value is None else [value]
    if isinstance(value, list):
        return [coerce(item, schema.get("items", {})) for item in value]
    if isinstance(value, dict):
        return coerce_object(value, schema)
    if isinstance(value, str) and "string" not in kinds:
        return read_scalar(value, kinds)
    return value


def coerce_object(value: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """The object with each property coerced, missing nullable ones null, and unknown ones left out where forbidden."""
    properties: Mapping[str, Schema] = schema.get("properties", {})
    closed = schema.get("additionalProperties") is False
    kept = {name: item for name, item in value.items() if name in properties or not closed}
    for name in schema.get("required", ()):
        if name not in kept and "null" in properties.get(name, {}).get("type", ()):
            kept[name] = None
    return {name: coerce(item, properties.get(name, {})) for name, item in kept.items()}


def match_label(value: object, labels: list[Any]) -> object:
    """The one label that is `value` but for case, spaces, hyphens and underscores; else `value` itself."""
    if not isinstance(value, str):
        return value
    matches = [label for label in labels if isinstance(label, str) and fold(label) == fold(value)]
    return matches[0] if len(matches) == 1 else value


def fold(label: str) -> str:
    """A label without what people vary."""
    return SPACES.sub(" ", label.strip()).casefold()


def read_scalar(text: str, kinds: set[str]) -> object:
    """The number, boolean or null that `text` spells, where the schema asks for one; else `text`."""
    try:
        value = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return text
    readings = {"null": value is None, "boolean": isinstance(value, bool)}
    readings["integer"] = isinstance(value, int) and not isinstance(value, bool)
    readings["number"] = readings["integer"] or isinstance(value, float)
    return value if any(readings.get(kind) for kind in kinds) else text
