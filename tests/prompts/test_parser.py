"""A prompt file is read strictly: whatever is wrong with it is refused with its line."""

from datetime import timedelta
from pathlib import Path

import pytest

from feedback_gateway.errors import ConfigurationError
from feedback_gateway.prompts.parser import parse_prompt

GOOD = """---
description: Says what it is about.
model: cheap
temperature: 0.5
max_tokens: 200
batch: 4
cache_ttl: 90s
input:
  schema:
    type: object
    properties:
      text: {type: string, minLength: 1}
    required: [text]
output:
  schema:
    type: object
    properties:
      topic: {type: string}
    required: [topic]
---
System:
You name topics.

User: Name the topic.
{{ text }}
"""


def write(folder: Path, content: str | bytes, *, name: str = "topic.v3.prompt") -> Path:
    """Write one prompt file."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_file_becomes_a_prompt(tmp_path: Path) -> None:
    """Name and version come from the file's name, everything else from its front matter."""
    prompt = parse_prompt(write(tmp_path, GOOD))

    assert (prompt.name, prompt.version, prompt.model, prompt.batch) == ("topic", 3, "cheap", 4)
    assert (prompt.temperature, prompt.max_tokens, prompt.cache_ttl) == (0.5, 200, timedelta(seconds=90))
    assert prompt.input_schema["properties"] == {"text": {"type": "string", "minLength": 1}}
    assert [section.role for section in prompt.sections] == ["system", "user"]
    assert len(prompt.digest) == 64


def test_defaults_always_bound_the_answer(tmp_path: Path) -> None:
    """A prompt without limits of its own still carries a largest number of tokens."""
    lines = [line for line in GOOD.splitlines() if not line.startswith(("model", "temp", "max", "batch", "cache"))]

    prompt = parse_prompt(write(tmp_path, "\n".join(lines)))

    assert (prompt.model, prompt.max_tokens, prompt.batch) == ("default", 1024, 1)
    assert (prompt.temperature, prompt.cache_ttl) == (None, None)


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    """Files written on Windows say the same."""
    prompt = parse_prompt(write(tmp_path, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()))

    assert [section.role for section in prompt.sections] == ["system", "user"]


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ("model: cheap", "modle: cheap", 3, "unknown key 'modle'; there are: description"),
        ("model: cheap", "model: cheap\nmodel: dear", 4, "'model' stands twice, first in line 3"),
        ("input:\n  schema:", "input:\n  schemma:", 9, "unknown key 'input.schemma'; there are: schema"),
        ("temperature: 0.5", "temperature: hot", 4, "temperature"),
        ("temperature: 0.5", "temperature: .nan", 4, "temperature"),
        ("max_tokens: 200", "max_tokens: 0", 5, "max_tokens"),
        ("batch: 4", "batch: 2.5", 6, "batch"),
        ("cache_ttl: 90s", "cache_ttl: 1 fortnight", 7, "such as 24h"),
        ("description: Says what it is about.", "title: x", 2, "unknown key 'title'"),
        ("minLength: 1", "minLength: -1", 12, "properties.text.minLength"),
        ("minLength: 1", "pattern: '('", 12, "properties.text.pattern"),
        ("minLength: 1", "pattern: '(?=a)(a+)+'", 12, "properties.text.pattern"),
        ("minLength: 1", "minLength: &one 1", 12, "aliases"),
        ("minLength: 1", "minLength: *one", 12, "aliases"),
        ("minLength: 1", "minLength: !!python/object:os.system 1", 12, "tags"),
        ("minLength: 1", "minLength: !!map {}", 12, "tags"),
        ("model: cheap", "[model]: cheap", 3, "a key must be a string"),
        ("{type: string, minLength: 1}", "{$id: x}", 12, "$id is not taken"),
        ("{type: string, minLength: 1}", "{enum: []}", 12, "an enum without values"),
        ("    type: object\n", "    type: object\n    $schema: http://json-schema.org/schema#\n", 11, "only draft"),
        ("      topic: {type: string}\n    required: [topic]\n", "    required: []\n", 17, "is not of type"),
        ("    properties:\n      topic: {type: string}\n    required: [topic]\n", "", 15, "must list its `properties`"),
        ("{type: string, minLength: 1}", "{$ref: 'https://example.com/s.json'}", 12, "must begin with `#`"),
        ("{type: string, minLength: 1}", "{$ref: '#/$defs/none'}", 9, "does not exist"),
        ("type: object", "type: array", 10, "type: object"),
        ("required: [text]", "required: [text]\n    examples: [{text: ''}]", 14, "example does not fit"),
        ("topic: {type: string}", "topic: {type: string, x-enum-from: topics.id}", 18, "path into an input"),
        ("{{ text }}", "{{ texxt }}", 25, "'texxt' is no input; there are: "),
        ("{{ text }}", "{% if text %}", 25, "end of template"),
        ("System:\nYou name topics.", "Hello\nSystem:\nYou name topics.", 21, "text before the first"),
        ("System:\nYou name topics.", "System:", 21, "is empty"),
        ("User: Name the topic.", "System: Name the topic.", 24, "no `User:` section"),
        ("You name topics.", "You.\nUser: a\nSystem: b", 24, "first and only one"),
        ("{{ text }}", "{{ text }}\nAssistant: Yes.", 26, "last section must be a `User:`"),
        ("{{ text }}", "{{ text }}\nUser: Again.", 26, "two `User:` sections"),
        ("---\ndescription", "--\ndescription", 1, "begin with a line `---`"),
    ],
)  # fmt: skip
def test_a_flaw_is_refused_with_file_and_line(tmp_path: Path, old: str, new: str, line: int, reason: str) -> None:
    """The detail is `path:line: reason`, with the line of the flaw itself."""
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))

    with pytest.raises(ConfigurationError) as error:
        parse_prompt(path)

    assert error.value.detail.startswith(f"{path}:{line}: ")
    assert reason in error.value.detail


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"", 1, "begin with a line `---`"),
        (b"---\nmodel: a\n", 3, "no closing line"),
        (b"---\n---\n", 2, "must hold `key: value` lines"),
        (b"---\n- a\n---\n", 2, "must hold `key: value` lines"),
        (b"---\na: [\n---\n", 2, "no valid YAML"),
        (b"---\na: b: c\n---\n", 2, "no valid YAML"),
        (b"---\na: 1\n\xff\n---\n", 3, "no UTF-8"),
        (b"---\na: \x00\n---\n", 2, "no valid YAML"),
        (b"---\na: 1\n--- \n", 2, "key"),
        (b"---\na: 1\n--- # two\nb: 1\n---\n", 3, "a second YAML document"),
        (b"---\na: " + b"[" * 5000 + b"]" * 5000 + b"\n---\n", 2, ""),
        (b"---\n" + b"a: 1\n" * 60_000, 1, "256 KiB"),
    ],
)
def test_what_is_no_prompt_file_is_refused(tmp_path: Path, content: bytes, line: int, reason: str) -> None:
    """Empty, broken, binary, deeply nested and huge files get the same kind of answer."""
    path = write(tmp_path, content)

    with pytest.raises(ConfigurationError) as error:
        parse_prompt(path)

    assert error.value.detail.startswith(f"{path}:")
    assert reason in error.value.detail
    assert int(error.value.detail.removeprefix(f"{path}:").split(":")[0]) in {line, line + 1}


@pytest.mark.parametrize(
    "name",
    ["topic.prompt", "topic.v0.prompt", "topic.v01.prompt", "Topic.v1.prompt", "1a.v1.prompt", f"{'a' * 64}.v1.prompt"],
)
def test_a_file_name_must_tell_task_and_version(tmp_path: Path, name: str) -> None:
    """The name is the endpoint, so it follows one form."""
    with pytest.raises(ConfigurationError, match=r"<task>\.v<N>\.prompt"):
        parse_prompt(write(tmp_path, GOOD, name=name))


def test_a_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    """A missing file is an error of configuration, not of the operating system."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        parse_prompt(tmp_path / "gone.v1.prompt")


def test_yaml_words_are_no_booleans(tmp_path: Path) -> None:
    """A label `no` stays a string, and so does `on`."""
    content = GOOD.replace("topic: {type: string}", "topic: {enum: [no, on, 'true', 1.5, 7, null]}")

    prompt = parse_prompt(write(tmp_path, content))

    assert prompt.output_schema["properties"]["topic"]["enum"] == ["no", "on", "true", 1.5, 7, None]
