"""Turns a prompt and the inputs of one item into messages; text of unknown origin is fenced on the way."""

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import TemplateError

from feedback_gateway.errors import ConfigurationError, TooLarge
from feedback_gateway.llm.models import Message
from feedback_gateway.memo import Memo
from feedback_gateway.prompts.fencing import notice
from feedback_gateway.prompts.models import Prompt, Section
from feedback_gateway.prompts.templates import TOKEN_VARIABLE, Label, Shared

MAX_CHARS = 20_000_000
SHARED = frozenset({"taxonomy"})
"""Inputs that many calls have in common: not only what they hold, but the very objects."""
MARKED: Memo[dict[str, Any]] = Memo(most=16)
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")


def render(prompt: Prompt, variables: Mapping[str, Any], *, fence: str) -> tuple[Message, ...]:
    """The messages for one item whose `variables` satisfy the prompt's input schema.

    `fence` is a token of 16 to 64 hexadecimal digits that nobody can know beforehand. There is always a System
    message, and it ends with the sentence that says what the fences mean. A missing input takes the `default` of its
    schema, else it is null. Raises ConfigurationError where the template does not fit its inputs, TooLarge above
    20 million characters.
    """
    values = marked_inputs(prompt, variables) | {TOKEN_VARIABLE: fence}
    explained = notice(fence)
    messages = [Message(section.role, render_section(prompt, section, values)) for section in prompt.sections]
    if messages[0].role != "system":
        return (Message("system", explained), *messages)
    return (Message("system", f"{messages[0].content}\n\n{explained}"), *messages[1:])


def render_section(prompt: Prompt, section: Section, values: Mapping[str, Any]) -> str:
    """One message, cut short of filling the memory."""
    parts: list[str] = []
    size = 0
    try:
        for part in section.template.generate(values):
            parts.append(part)
            size += len(part)
            if size > MAX_CHARS:
                raise TooLarge(f"the prompt of {prompt.name!r} grows over {MAX_CHARS} characters with this item")
    except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{prompt.path.name}: cannot be rendered: {error}") from None
    return "".join(parts).strip()


def marked_inputs(prompt: Prompt, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Every variable a template may name, with labels told apart from text."""
    properties = prompt.input_schema["properties"]
    values = {}
    for name in prompt.variables:
        schema = properties.get(name, {})
        value = variables.get(name)
        value = schema.get("default") if value is None else value
        values[name] = marked_once(value, schema) if name in SHARED else mark(value, schema)
    return values


def marked_once(value: Any, schema: Any) -> Any:
    """`value` as `mark` gives it, made once for the very object that many calls have in common."""
    if not isinstance(value, dict):
        return mark(value, schema)
    known = MARKED.find(value, schema)
    if known is None:
        marked = mark(value, schema).items()
        known = {key: Shared(item) if isinstance(item, list) else item for key, item in marked}
        MARKED.keep(known, value, schema)
    return known


def mark(value: Any, schema: Any) -> Any:
    """`value` with every string that `schema` restricts to labels as a Label."""
    if not isinstance(schema, dict) or not schema:
        return value
    if isinstance(value, str):
        return Label(value) if is_label(value, schema) else value
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return {key: mark(item, properties.get(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [mark(item, schema.get("items")) for item in value]
    return value


def is_label(value: str, schema: Mapping[str, Any]) -> bool:
    """Whether `value` is one of its schema's words, or a single word of the form that its schema asks for."""
    if "enum" in schema:
        return value in schema["enum"]
    if "const" in schema:
        return bool(value == schema["const"])
    return "pattern" in schema and WORD.fullmatch(value) is not None
