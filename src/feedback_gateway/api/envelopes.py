"""The envelope of a task call: one item or many, and the options. What an item must hold is the task's own matter."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from feedback_gateway.api.problems import fault_message
from feedback_gateway.errors import InvalidRequest, Problem, TooLarge
from feedback_gateway.tasks.models import CallOptions


class Options(BaseModel):
    """How to answer, beside what."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())

    model: Annotated[str | None, Field(description="alias from the configuration's `model_list`")] = None
    prompt_version: Annotated[int | None, Field(ge=1, description="in place of the version that serves")] = None
    cache: Annotated[Literal["use", "bypass", "refresh"], Field(description="how to treat stored answers")] = "use"
    timeout_s: Annotated[float | None, Field(ge=0.1, le=600, description="seconds for the whole request")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """`items` as the caller sent them; `many` tells a list of one from a single item."""

    items: list[Any]
    many: bool
    options: CallOptions


def read_envelope(document: Any, *, models: Collection[str], versions: Collection[int], most_items: int) -> Envelope:
    """Take a task call apart. Raises InvalidRequest with every place that is wrong, and TooLarge."""
    if not isinstance(document, dict):
        message = f"the body must be a JSON object, not {json_type(document)}"
        raise InvalidRequest(message, problems=[Problem((), message)])
    options = read_options(document.get("options", {}), models=models, versions=versions)
    members = {name: value for name, value in document.items() if name != "options"}
    if "items" not in members:
        return Envelope(items=[members], many=False, options=options)
    items = members.pop("items")
    if members:
        message = "beside `items` only `options` may stand; inputs belong inside each item"
        raise InvalidRequest(message, problems=[Problem((name,), message) for name in members])
    if not isinstance(items, list) or not items:
        message = f"must be a list of at least one item, not {json_type(items)}"
        raise InvalidRequest(f"items: {message}", problems=[Problem(("items",), message)])
    if len(items) > most_items:
        message = f"{len(items):,} items are over the limit of {most_items:,} a request"
        raise TooLarge(message, problems=[Problem(("items",), message)])
    return Envelope(items=items, many=True, options=options)


def read_options(document: Any, *, models: Collection[str], versions: Collection[int]) -> CallOptions:
    """Check the options against their types, the configured models and the task's versions."""
    try:
        options = Options.model_validate(document)
    except ValidationError as error:
        problems = [
            Problem(("options", *fault["loc"]), fault_message(fault))
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise invalid(problems) from None
    problems = []
    if options.model is not None and options.model not in models:
        problems.append(Problem(("options", "model"), f"no such model; there are {', '.join(sorted(models))}"))
    if options.prompt_version is not None and options.prompt_version not in versions:
        there = ", ".join(str(version) for version in sorted(versions))
        problems.append(Problem(("options", "prompt_version"), f"no such version; there are {there}"))
    if problems:
        raise invalid(problems)
    return CallOptions(**options.model_dump())


def invalid(problems: list[Problem]) -> InvalidRequest:
    """One error whose detail is the first problem in words."""
    first = problems[0]
    return InvalidRequest(f"{'.'.join(str(part) for part in first.loc)}: {first.msg}", problems=problems)


def json_type(value: Any) -> str:
    """What JSON calls the type of `value`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return "a string" if isinstance(value, str) else "an object"
