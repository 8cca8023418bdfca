"""Writes one more category into the text of a taxonomy file and leaves every other character as it was.

Knows YAML's shapes, not files: whoever calls it reads the outcome again and holds it against what was wanted.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

import yaml

from feedback_gateway.errors import ConfigurationError
from feedback_gateway.tasks.taxonomy import Category
from feedback_gateway.tasks.taxonomy_reader import plain

PLAIN = re.compile(r"[A-Za-z][A-Za-z ]*[A-Za-z]")
WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off"})
LAST = frozenset({plain("other")})
"""Categories for everything else, which stay the last."""
NOTHING = frozenset({"", "~", "null"})
NUMBER = re.compile(r"[0-9]{1,9}")
Mapping = yaml.MappingNode
Sequence = yaml.SequenceNode


@dataclass(frozen=True, slots=True)
class Splice:
    """Put `text` in place of what stands from `start` to `end`."""

    start: int
    end: int
    text: str


def with_category(text: str, category: Category, *, parent: str | None = None) -> str:
    """The text of the file with `category` in it, the last but for one for everything else.

    With a `parent` it becomes a subcategory of that one. A `version` that is a whole number is counted up. Raises
    ConfigurationError where the file has a shape that cannot be written to.
    """
    root = composed(text)
    categories = member(root, "categories")
    if categories is None:
        raise ConfigurationError("the taxonomy file has no categories")
    splice = adding(text, categories, category) if parent is None else below(text, categories, category, parent=parent)
    splices = [splice, *counting_up(root)]
    for one in sorted(splices, key=lambda one: one.start, reverse=True):
        text = text[: one.start] + one.text + text[one.end :]
    return text


def composed(text: str) -> Mapping:
    """The nodes of the file with where each begins and ends. Raises ConfigurationError."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"the taxonomy file is no valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(root, Mapping):
        raise ConfigurationError("the taxonomy file has no categories")
    return root


def adding(text: str, labels: yaml.Node, category: Category) -> Splice:
    """`category` among `labels`, in the way in which these are written."""
    entry = category.as_json()
    if isinstance(labels, Mapping):
        name, rest = entry.pop("name"), entry
        value = rest.get("description") if set(rest) <= {"description"} else rest
        if labels.flow_style or not labels.value:
            return in_braces(labels, f"{quoted(name)}: {'null' if value is None else json_of(value)}")
        nodes = [(key.start_mark, last_of(inner), str(key.value)) for key, inner in labels.value]
        column = labels.start_mark.column
        lines = [f"{scalar(name)}:" + ("" if value is None else f" {scalar(value)}" if isinstance(value, str) else "")]
        lines += [f"  {line}" for line in (block(value) if isinstance(value, dict) else [])]
    elif isinstance(labels, Sequence):
        if labels.flow_style or not labels.value:
            return in_braces(labels, json_of(entry if len(entry) > 1 else entry["name"]))
        nodes = [(node.start_mark, last_of(node), name_of(node)) for node in labels.value]
        column = labels.start_mark.column
        added = block(entry)
        lines = [f"- {added[0]}", *(f"  {line}" for line in added[1:])]
        if set(entry) == {"name"} and isinstance(labels.value[-1], yaml.ScalarNode):
            lines = [f"- {scalar(entry['name'])}"]
    else:
        raise ConfigurationError("the categories of the taxonomy file are neither a list nor an object")
    after = nodes[-2] if len(nodes) > 1 and plain(nodes[-1][2]) in LAST else nodes[-1]
    gap = len(nodes) > 1 and is_apart(text, nodes)
    return insertion(text, after[1], [" " * column + line for line in lines], gap=gap)


def below(text: str, categories: yaml.Node, category: Category, *, parent: str) -> Splice:
    """`category` under the category that is called `parent`."""
    node = category_node(categories, parent)
    if node is None:
        raise ConfigurationError(f"the taxonomy file has no category {parent!r}")
    entry = json_of([category.as_json()])
    if isinstance(node, Mapping):
        labels = member(node, "subcategories")
        if isinstance(labels, Mapping | Sequence):
            return adding(text, labels, category)
        if labels is not None:
            return replacing(labels, entry)
        if node.flow_style:
            return in_braces(node, f'"subcategories": {entry}')
        added = block(category.as_json())
        lines = ["subcategories:", f"  - {added[0]}", *(f"    {line}" for line in added[1:])]
        return insertion(text, last_of(node), [" " * node.start_mark.column + line for line in lines], gap=False)
    whole: dict[str, Any] = {} if isinstance(categories, Mapping) else {"name": str(node.value)}
    if isinstance(categories, Mapping) and node.value not in NOTHING:
        whole["description"] = str(node.value)
    return replacing(node, json_of(whole | {"subcategories": [category.as_json()]}))


def replacing(node: yaml.Node, entry: str) -> Splice:
    """`entry` in place of a node; of one that is empty there is only where it would begin, right behind a colon."""
    start, end = node.start_mark.index, node.end_mark.index
    return Splice(start, end, entry if end > start else f" {entry}")


def counting_up(root: Mapping) -> list[Splice]:
    """The next number, where the file gives its version one."""
    node = member(root, "version")
    if not isinstance(node, yaml.ScalarNode) or node.style or not NUMBER.fullmatch(node.value):
        return []
    return [Splice(node.start_mark.index, node.end_mark.index, str(int(node.value) + 1))]


def in_braces(node: Mapping | Sequence, entry: str) -> Splice:
    """`entry` as the last in a list or an object that is written in brackets."""
    if not node.flow_style:
        raise ConfigurationError("the taxonomy file has an empty list where the category should go; add it by hand")
    if not node.value:
        return Splice(node.end_mark.index - 1, node.end_mark.index - 1, entry)
    last = node.value[-1][1] if isinstance(node, Mapping) else node.value[-1]
    end = last.end_mark.index
    return Splice(end, end, f", {entry}")


def insertion(text: str, end: int, lines: list[str], *, gap: bool) -> Splice:
    """`lines` below the line in which `end` is, with an empty line before them where there is a `gap`."""
    stop = text.find("\n", end)
    newline = "\r\n" if "\r\n" in text else "\n"
    added = newline.join([*([""] if gap else []), *lines])
    if stop < 0:
        return Splice(len(text), len(text), newline + added + newline)
    return Splice(stop + 1, stop + 1, added + newline)


def last_of(node: yaml.Node) -> int:
    """Where the last thing in a node ends; what YAML counts to a block goes on to the next one's first character."""
    while isinstance(node, Mapping | Sequence) and not node.flow_style and node.value:
        node = node.value[-1][1] if isinstance(node, Mapping) else node.value[-1]
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return max(node.start_mark.index, node.end_mark.index - node.end_mark.column - 1)
    return int(node.end_mark.index)


def is_apart(text: str, nodes: list[tuple[yaml.Mark, int, str]]) -> bool:
    """Whether an empty line stands between the last two entries."""
    between = text[nodes[-2][1] : nodes[-1][0].index]
    return any(not line.strip() for line in between.splitlines()[1:-1])


def member(node: yaml.Node, name: str) -> yaml.Node | None:
    """The value of a key."""
    if not isinstance(node, Mapping):
        return None
    return next((value for key, value in node.value if key.value == name), None)


def category_node(categories: yaml.Node, name: str) -> yaml.Node | None:
    """The node of the category that is called `name`: all of it in a list, what it is described by in an object."""
    if isinstance(categories, Mapping):
        return next((value for key, value in categories.value if plain(str(key.value)) == plain(name)), None)
    if isinstance(categories, Sequence):
        return next((node for node in categories.value if plain(name_of(node)) == plain(name)), None)
    return None


def name_of(node: yaml.Node) -> str:
    """What a category in a list is called."""
    named = member(node, "name") if isinstance(node, Mapping) else node
    return str(named.value).strip() if isinstance(named, yaml.ScalarNode) else ""


def block(entry: dict[str, Any]) -> list[str]:
    """The lines of an object, a key each."""
    return [f"{key}: {scalar(value) if isinstance(value, str) else json_of(value)}" for key, value in entry.items()]


def scalar(text: str) -> str:
    """A string: as it is where nothing in it means anything to YAML, else in quotes."""
    is_simple = PLAIN.fullmatch(text) and text.casefold() not in WORDS and "  " not in text
    return text if is_simple else quoted(text)


def quoted(text: str) -> str:
    """A string in double quotes, where YAML knows JSON's escapes; what cannot be seen is escaped."""
    plain_text = json.dumps(text, ensure_ascii=False)
    return "".join(
        one if one.isprintable() else f"\\u{ord(one):04x}" if ord(one) < 0x10000 else f"\\U{ord(one):08x}"  # noqa: PLR2004
        for one in plain_text
    )


def json_of(value: Any) -> str:
    """JSON of strings, lists and objects, which is YAML as well."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return "[" + ", ".join(json_of(one) for one in value) + "]"
    return "{" + ", ".join(f"{quoted(key)}: {json_of(one)}" for key, one in value.items()) + "}"


def as_entry(category: Category) -> str:
    """A category as an entry of a list, in one line."""
    entry = category.as_json()
    return f"`- {json_of(entry)}`" if len(entry) > 1 else f"`- {scalar(category.name)}`"
