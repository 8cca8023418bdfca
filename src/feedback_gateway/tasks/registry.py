"""Tasks: a prompt with everything derived from it and compiled once; nothing here runs a task."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema_rs

from feedback_gateway.errors import ConfigurationError, Problem, UnknownTask
from feedback_gateway.memo import Memo
from feedback_gateway.prompts.library import PromptLibrary
from feedback_gateway.prompts.models import Prompt
from feedback_gateway.prompts.schemas import compile_schema
from feedback_gateway.tasks.schemas import (
    answer_schema,
    enum_paths,
    request_schema,
    result_example,
    result_schema,
    values_at,
)

RESERVED = frozenset({
    "admin", "agreement", "alerts", "ask", "calls", "chat", "completions", "consumers", "dashboard", "deployments",
    "digests", "docs", "embeddings", "exit-criteria", "feedback", "health", "jobs", "keys", "knowledge",
    "known-issues", "kpis", "live", "measurements", "metrics", "models", "openapi", "prompts",
    "ready", "redoc", "reviews", "static", "topics", "trends", "usage", "webhooks",
})  # fmt: skip
MAX_PROBLEMS = 20
MAX_MESSAGE = 300
MAX_CACHED = 64
MAX_CACHED_LABELS = 1_000
MAX_SHARED = 16
SHARED = "taxonomy"
"""The input that calls have in common, as the very same object."""

Choices = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """What one endpoint does: its prompt, and the schemas of its request, of the model's answer and of its result."""

    prompt: Prompt
    request_schema: Mapping[str, Any]
    result_schema: Mapping[str, Any]
    _inputs: jsonschema_rs.Draft202012Validator
    _paths: tuple[str, ...]
    _answers: dict[Choices, dict[str, Any]] = field(default_factory=dict)
    _choices_of: Memo[Choices] = field(default_factory=lambda: Memo(most=MAX_SHARED))

    @property
    def name(self) -> str:
        """The task's name, and its path under `/v1/`."""
        return self.prompt.name

    @property
    def version(self) -> int:
        """The version of its prompt."""
        return self.prompt.version

    @property
    def uses_taxonomy(self) -> bool:
        """Whether its answers depend on the taxonomy."""
        used = any(SHARED in section.names for section in self.prompt.sections)
        return used or any(path.split(".")[0] == SHARED for path in self._paths)

    def check_item(self, inputs: Mapping[str, Any]) -> tuple[Problem, ...]:
        """Every place where one item's own inputs (no id, metadata, options) do not fit; no value is repeated."""
        if self._inputs.is_valid(inputs):
            return ()
        problems: list[Problem] = []
        for error in self._inputs.iter_errors(inputs):
            problems.extend(explain(error, self.prompt.input_schema))
            if len(problems) >= MAX_PROBLEMS:
                break
        return tuple(problems[:MAX_PROBLEMS])

    def answer_schema(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The schema of the model's answer for these inputs; shared between calls, so not to be changed."""
        chosen = self._choices(inputs)
        if (known := self._answers.get(chosen)) is not None:
            return known
        by_path = dict(zip(self._paths, chosen, strict=True))
        made: dict[str, Any] = answer_schema(self.prompt.output_schema, by_path.__getitem__)
        if sum(map(len, chosen)) <= MAX_CACHED_LABELS:
            if len(self._answers) >= MAX_CACHED:
                self._answers.clear()
            self._answers[chosen] = made
        return made

    def _choices(self, inputs: Mapping[str, Any]) -> Choices:
        """The labels that each path leads to; read once from a taxonomy that calls share, where nothing else counts."""
        shared = inputs.get(SHARED)
        if all(path.split(".")[0] == SHARED for path in self._paths):
            if (known := self._choices_of.find(shared)) is not None:
                return known
            return self._choices_of.keep(choices_in(inputs, self._paths), shared)
        return choices_in(inputs, self._paths)

    @property
    def example_request(self) -> Mapping[str, Any] | None:
        """The first example of the prompt's input schema."""
        return first_example(self.prompt.input_schema)

    @property
    def example_result(self) -> Mapping[str, Any] | None:
        """The result that belongs to `example_request`."""
        request, answer = self.example_request, first_example(self.prompt.output_schema)
        return None if request is None or answer is None else result_example(self.name, answer, request)


class TaskRegistry:
    """The tasks of a prompt library, as they are at this moment; names of other routes are nobody's tasks."""

    def __init__(self, library: PromptLibrary, *, reserved: Iterable[str] = RESERVED) -> None:
        """Take over the library's prompts. Raises ConfigurationError for a file with a reserved name."""
        self.library = library
        self._reserved = frozenset(reserved)
        self._tasks: dict[str, Task] = {}
        for reason in self._misnamed().values():
            raise ConfigurationError(reason)

    @property
    def broken(self) -> Mapping[Path, str]:
        """Every prompt file that cannot be used as it is, and why."""
        return {**self.library.broken, **self._misnamed()}

    def names(self) -> tuple[str, ...]:
        """The tasks there are, sorted."""
        return tuple(name for name in self.library.names() if name not in self._reserved)

    def versions(self, name: str) -> tuple[int, ...]:
        """The prompt versions of one task. Raises UnknownTask."""
        self._refuse_reserved(name)
        return self.library.versions(name)

    def get(self, name: str, version: int | None = None) -> Task:
        """One task, with the highest version of its prompt by default. Raises UnknownTask or InvalidRequest."""
        self._refuse_reserved(name)
        prompt = self.library.get(name, version)
        key = f"{prompt.path}:{prompt.digest}"
        if (task := self._tasks.get(key)) is None:
            if len(self._tasks) > 4 * len(self.library.names()) + MAX_CACHED:
                self._tasks.clear()  # of versions that a hot reload replaced
            task = self._tasks[key] = build_task(prompt)
        return task

    def _refuse_reserved(self, name: str) -> None:
        if name in self._reserved:
            raise UnknownTask(f"no task {name!r}; there are: {', '.join(self.names())}")

    def _misnamed(self) -> dict[Path, str]:
        return {
            prompt.path: f"{prompt.path}:1: the name {name!r} belongs to another route; choose another"
            for name in sorted(self._reserved & set(self.library.names()))
            for prompt in [self.library.get(name)]
        }


def build_task(prompt: Prompt) -> Task:
    """Everything that follows from a prompt."""
    return Task(
        prompt=prompt,
        request_schema=request_schema(prompt.input_schema),
        result_schema=result_schema(prompt.name, prompt.output_schema),
        _inputs=compile_schema(prompt.input_schema),
        _paths=tuple(dict.fromkeys(enum_paths(prompt.output_schema))),
    )


def choices_in(inputs: Mapping[str, Any], paths: Iterable[str]) -> Choices:
    """The labels that each path leads to."""
    return tuple(tuple(values_at(inputs, path.split("."))) for path in paths)


def first_example(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first of a schema's examples that is an object."""
    return next((example for example in schema.get("examples", ()) if isinstance(example, Mapping)), None)


def explain(error: jsonschema_rs.ValidationError, schema: Mapping[str, Any]) -> Iterator[Problem]:
    """One flaw as problems: one for each field that is unknown, else one."""
    place = tuple(error.instance_path)
    kind = error.kind
    kinds = jsonschema_rs.ValidationErrorKind
    if isinstance(kind, kinds.AdditionalProperties):
        for name in kind.unexpected:
            yield Problem((*place, name[:MAX_MESSAGE]), "unknown field")
    elif isinstance(kind, kinds.Required):
        yield Problem((*place, kind.property), "is required")
    elif isinstance(kind, kinds.MinLength) and kind.limit == 1:
        yield Problem(place, "must not be empty")
    elif isinstance(kind, kinds.OneOfNotValid | kinds.OneOfMultipleValid) and list(error.schema_path) == ["oneOf"]:
        names = " or ".join(f"`{name}`" for choice in schema["oneOf"] for name in choice.get("required", ()))
        yield Problem(place, f"give either {names}")
    else:
        yield Problem(place, error.message.removeprefix("the value ")[:MAX_MESSAGE])
