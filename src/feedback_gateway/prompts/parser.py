"""Reads one `.prompt` file: front matter, schemas, sections; a refusal names the file, the line and the reason."""

import hashlib
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from feedback_gateway.errors import ConfigurationError
from feedback_gateway.llm.models import Role
from feedback_gateway.prompts.marked_yaml import Marked, MarkedError, read_marked
from feedback_gateway.prompts.models import Prompt, Section
from feedback_gateway.prompts.schemas import SchemaRefused, check_schema, check_sources
from feedback_gateway.prompts.templates import TemplateRefused, compile_template, names_in

MAX_BYTES = 256 * 1024
FILE_NAME = re.compile(r"(?P<name>[a-z][a-z0-9-]{0,62})\.v(?P<version>[1-9][0-9]{0,5})\.prompt")
HEADING = re.compile(r"(System|User|Assistant):")
DURATION = re.compile(r"([0-9]{1,6})([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
GIVEN_VARIABLES = frozenset({"text", "texts", "taxonomy", "metadata"})
ROLES: tuple[Role, ...] = get_args(Role)


class PromptError(ConfigurationError):
    """A prompt file that cannot be used; the detail is `path:line: reason`."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")


def read_duration(value: object) -> object:
    """`"90s"`, `"15m"`, `"24h"` or `"7d"`; anything else is refused."""
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a duration is a number and s, m, h or d, such as 24h")
    return timedelta(seconds=int(match[1]) * SECONDS[match[2]])


class Strict(BaseModel):
    """A part of the front matter: an unknown key is an error, and no value is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SchemaOf(Strict):
    """`input` or `output`."""

    json_schema: dict[str, Any] = Field(alias="schema")


class FrontMatter(Strict):
    """What stands between the `---` lines."""

    description: str = Field(min_length=1, max_length=1_000)
    input: SchemaOf
    output: SchemaOf
    model: str = Field("default", min_length=1, max_length=200)
    temperature: float | None = Field(None, ge=0, le=2)
    max_tokens: int = Field(1024, ge=1, le=1_000_000)
    batch: int = Field(1, ge=1, le=100)
    cache_ttl: Annotated[timedelta, BeforeValidator(read_duration)] | None = None


def parse_prompt(path: Path) -> Prompt:
    """Read, check and compile one file. Raises PromptError."""
    name = FILE_NAME.fullmatch(path.name)
    if name is None:
        raise PromptError(path, 1, "the file must be named <task>.v<N>.prompt, such as my-task.v1.prompt")
    content = read_bytes(path)
    try:
        lines = content.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise PromptError(path, content[: error.start].count(b"\n") + 1, "is no UTF-8 text") from None
    end = front_matter_end(path, lines)
    head = read_front_matter(path, "\n".join(lines[1:end]))
    variables = GIVEN_VARIABLES | set(head.input.json_schema["properties"])
    return Prompt(
        name=name["name"],
        version=int(name["version"]),
        description=head.description,
        model=head.model,
        temperature=head.temperature,
        max_tokens=head.max_tokens,
        input_schema=head.input.json_schema,
        output_schema=head.output.json_schema,
        batch=head.batch,
        cache_ttl=head.cache_ttl,
        path=path,
        digest=hashlib.sha256(content).hexdigest(),
        variables=variables,
        sections=tuple(read_sections(path, lines, first=end + 1, variables=variables)),
    )


def read_bytes(path: Path) -> bytes:
    """The file's content, as long as it is a prompt and no flood."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PromptError(path, 1, f"cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise PromptError(path, 1, f"is larger than {MAX_BYTES // 1024} KiB")
    return content


def front_matter_end(path: Path, lines: list[str]) -> int:
    """The index of the second `---` line."""
    if lines[0].rstrip() != "---":
        raise PromptError(path, 1, "the file must begin with a line `---`")
    for index, line in enumerate(lines[1:], start=1):
        if line.rstrip() == "---":
            return index
    raise PromptError(path, len(lines), "the front matter has no closing line `---`")


def read_front_matter(path: Path, text: str) -> FrontMatter:
    """The front matter, its schemas checked."""
    marked = read_yaml(path, text)
    try:
        head = FrontMatter.model_validate(marked.data)
    except ValidationError as error:
        # a misspelt key also leaves its right name missing; the misspelling says more
        first = min(error.errors(include_url=False), key=lambda flaw: flaw["type"] != "extra_forbidden")
        raise PromptError(path, marked.line(first["loc"]), explain(first)) from None
    schemas = {"input": head.input.json_schema, "output": head.output.json_schema}
    for part, schema in schemas.items():
        try:
            check_schema(schema)
            if part == "output":
                check_sources(schema, schemas["input"])
        except SchemaRefused as refused:
            place = (part, "schema", *refused.place)
            raise PromptError(path, marked.line(place), f"{dotted(place)}: {refused.reason}") from None
    return head


def read_yaml(path: Path, text: str) -> Marked:
    """The front matter as data; it begins in line 2."""
    try:
        marked = read_marked(text, first_line=2)
    except MarkedError as error:
        raise PromptError(path, error.line, error.reason) from None
    if not isinstance(marked.data, dict):
        raise PromptError(path, 2, "the front matter must hold `key: value` lines")
    return marked


def explain(error: Any) -> str:
    """One sentence for one flaw that pydantic found."""
    place = dotted(error["loc"])
    if error["type"] == "extra_forbidden":
        known = {"input": ["schema"], "output": ["schema"]}.get(str(error["loc"][0])) or list(FrontMatter.model_fields)
        return f"unknown key {place!r}; there are: {', '.join(known)}"
    if error["type"] == "missing":
        return f"the key {place!r} is missing"
    return f"{place}: {error['msg'].removeprefix('Value error, ')}"


def dotted(place: tuple[str | int, ...]) -> str:
    """A place as a reader would write it."""
    return ".".join(str(part) for part in place)


def read_sections(path: Path, lines: list[str], *, first: int, variables: frozenset[str]) -> Iterator[Section]:
    """The sections below the front matter, each compiled on its own."""
    starts = [index for index in range(first, len(lines)) if HEADING.match(lines[index])]
    for index in range(first, starts[0] if starts else len(lines)):
        if lines[index].strip():
            raise PromptError(path, index + 1, "text before the first `System:`, `User:` or `Assistant:` line")
    check_order(path, lines, starts)
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        heading, _, rest = lines[start].partition(":")
        source = "\n".join([rest, *lines[start + 1 : end]])
        if not source.strip():
            raise PromptError(path, start + 1, f"the section `{heading}:` is empty")
        try:
            template = compile_template(source, variables=variables)
        except TemplateRefused as refused:
            raise PromptError(path, start + refused.line, refused.reason) from None
        yield Section(ROLES[[role.title() for role in ROLES].index(heading)], template, names_in(source))


def check_order(path: Path, lines: list[str], starts: list[int]) -> None:
    """At most one System section, first; the last word is the user's."""
    headings = [lines[start].partition(":")[0] for start in starts]
    if "User" not in headings:
        raise PromptError(path, starts[-1] + 1 if starts else len(lines), "there is no `User:` section")
    for position, heading in enumerate(headings):
        if heading == "System" and position:
            raise PromptError(path, starts[position] + 1, "a `System:` section must be the first and only one")
        if position and heading == headings[position - 1]:
            raise PromptError(path, starts[position] + 1, f"two `{heading}:` sections in a row")
    if headings[-1] != "User":
        raise PromptError(path, starts[-1] + 1, "the last section must be a `User:` section")
