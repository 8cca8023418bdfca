"""The language of prompt templates: a small part of Jinja2 that can insert, choose and repeat, and nothing else.

A template is checked node by node before it is compiled; what is not on the lists below does not exist.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, Undefined, meta, nodes, pass_context
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from feedback_gateway.prompts.fencing import fence

TOKEN_VARIABLE = "fence token"  # noqa: S105 has a space, so that no template can name it
LOOP_FIELDS = frozenset({"first", "index", "index0", "last", "length"})
TESTS = frozenset({"boolean", "defined", "false", "in", "mapping", "none", "number", "sequence", "string", "true"})
TESTS |= {"undefined", "eq", "ne", "lt", "le", "gt", "ge"}
NODES: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem,
    nodes.If, nodes.For, nodes.CondExpr, nodes.And, nodes.Or, nodes.Not, nodes.Compare, nodes.Operand,
    nodes.Filter, nodes.Test, nodes.Keyword, nodes.List, nodes.Tuple,
)  # fmt: skip
MAX_FILTERS = 3
MAX_NODES = 2_000
MAX_ROWS = 10_000
MAX_NUMBER, MAX_STRING = 1_000, 40
AS_JSON = ("",)
"""Stands for a list's JSON among what is made of it by keys."""


class TemplateRefused(Exception):
    """What a template may not do, and in which of its lines (from 1)."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


class Label(str):
    """A string that its schema restricts so far that it can be no instruction; it is inserted without a fence."""

    __slots__ = ()


class Shared(list[Any]):
    """A list that many calls have in common and nobody changes: what templates make of it is made once."""

    __slots__ = ("made",)

    def __init__(self, values: Iterable[Any]) -> None:
        super().__init__(values)
        self.made: dict[tuple[str, ...], Any] = {}


class Environment(ImmutableSandboxedEnvironment):
    """A sandbox without globals, calls and attributes: `a.b` reads the key `b` of the mapping `a`."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """The key `attribute` of a mapping, or a field of `loop`."""
        if isinstance(obj, LoopContext) and attribute in LOOP_FIELDS:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """The item of a mapping or list, else undefined."""
        if isinstance(obj, Mapping) and isinstance(argument, str) and argument in obj:
            return obj[argument]
        if isinstance(obj, list) and isinstance(argument, int) and -len(obj) <= argument < len(obj):
            return obj[argument]
        return self.undefined(obj=obj, name=argument)

    def call(self, *_: Any, **__: Any) -> Any:
        """Refuse; no template that was checked holds a call."""
        raise TypeError("templates call nothing")


@pass_context
def finalize(context: Context, value: Any) -> str:
    """What an expression inserts: numbers and labels as they are, everything else as fenced data, nothing for null."""
    if isinstance(value, Undefined):
        return str(value)  # raises UndefinedError with the name
    if value is None:
        return ""
    if isinstance(value, Label):
        return str(value)
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return fence(value if isinstance(value, str) else to_json(value), context[TOKEN_VARIABLE])


def to_json(value: Any) -> str:
    """`value` as JSON for a reader: one line, letters of all scripts as they are."""
    if not isinstance(value, Shared):
        return json.dumps(value, ensure_ascii=False)
    if AS_JSON not in value.made:
        value.made[AS_JSON] = json.dumps(value, ensure_ascii=False)
    text: str = value.made[AS_JSON]
    return text


def only(value: Any, *keys: str) -> Any:
    """`value` with no other keys than these in its mappings, at any depth."""
    if isinstance(value, Shared):
        if keys not in value.made:
            value.made[keys] = Shared(only(list(value), *keys))
        return value.made[keys]
    if isinstance(value, dict):
        return {key: only(value[key], *keys) for key in keys if key in value}
    return [only(item, *keys) for item in value] if isinstance(value, list) else value


def default(value: Any, instead: Any) -> Any:
    """`instead` where there is no value."""
    return instead if value is None or isinstance(value, Undefined) else value


def join(values: Any, separator: str = ", ") -> str:
    """Strings and numbers in one line."""
    return separator.join(str(value) for value in rows(values))


def pick(values: Any, key: str) -> list[Any]:
    """The values of one key, row by row."""
    return [row[key] for row in rows(values) if key in row]


def rows(values: Any) -> list[Any]:
    """What a loop may run over."""
    if not isinstance(values, list) or len(values) > MAX_ROWS:
        raise TypeError(f"only a list of at most {MAX_ROWS} rows can be walked")
    return values


def truncate(value: str, length: int) -> str:
    """The first `length` characters."""
    return value if len(value) <= length else f"{value[:length]}…"


@cache
def environment() -> Environment:
    """The one environment of all templates; it holds no state of any of them."""
    made = Environment(
        undefined=StrictUndefined, autoescape=False, finalize=finalize, trim_blocks=True, lstrip_blocks=True,
        cache_size=0,
    )  # fmt: skip
    made.globals = {}
    made.tests = {name: made.tests[name] for name in TESTS}
    made.filters = {
        "default": default, "join": join, "length": len, "lower": str.lower, "only": only, "pick": pick,
        "rows": rows, "tojson": to_json, "trim": str.strip, "truncate": truncate, "upper": str.upper,
    }  # fmt: skip
    return made


def compile_template(source: str, *, variables: frozenset[str]) -> Template:
    """Check and compile one section. Raises TemplateRefused with the line in `source`."""
    made = environment()
    try:
        tree = made.parse(source)
        check(tree, variables=variables)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, "rows", [], [], None, None, lineno=loop.lineno)
        code = made.compile(tree)
    except TemplateSyntaxError as error:
        raise TemplateRefused(error.message or "no valid template", error.lineno) from None
    except (RecursionError, SyntaxError, MemoryError):  # of the generated Python, from thousands of brackets
        raise TemplateRefused("nested too deeply", 1) from None
    except ValueError:  # Python's bound on the digits of a number
        raise TemplateRefused("a number is too large", 1) from None
    return Template.from_code(made, code, {})


def names_in(source: str) -> frozenset[str]:
    """The inputs that a section, which can be compiled, uses."""
    return frozenset(meta.find_undeclared_variables(environment().parse(source)))


def check(tree: nodes.Template, *, variables: frozenset[str]) -> None:
    """Refuse every node that is not on the lists, and every name that is no input."""
    for count, node in enumerate(walk(tree)):
        refusal = refuse(node) if count < MAX_NODES else "the template is too long"
        if refusal:
            raise TemplateRefused(refusal, node.lineno or 1)
    unknown = meta.find_undeclared_variables(tree) - variables
    for name in tree.find_all(nodes.Name):
        if name.name in unknown:
            known = ", ".join(sorted(variables))
            raise TemplateRefused(f"{name.name!r} is no input; there are: {known}", name.lineno)


def walk(node: nodes.Node) -> Iterable[nodes.Node]:
    """`node` and everything below it, without recursion."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        waiting.extend(current.iter_child_nodes())


def refuse(node: nodes.Node) -> str | None:
    """Why this node may not stand in a template."""
    if not isinstance(node, NODES):
        return f"templates have no {type(node).__name__.lower()}"
    if isinstance(node, nodes.Name) and (node.name.startswith("_") or node.name in {"self", "super", "caller"}):
        return f"templates have no {node.name!r}"
    if isinstance(node, nodes.Const) and isinstance(node.value, float) and not math.isfinite(node.value):
        return "a number is too large"
    if isinstance(node, nodes.Getattr | nodes.Getitem):
        return refuse_key(node)
    if isinstance(node, nodes.Filter | nodes.Test):
        return refuse_filter(node)
    return refuse_loop(node) if isinstance(node, nodes.For) else None


def refuse_key(node: nodes.Getattr | nodes.Getitem) -> str | None:
    """Keys are written out, so that what a template reads can be read in it."""
    key = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
    if not isinstance(key, str | int) or isinstance(key, bool):
        return "a key in brackets must be a string or a number"
    return f"templates have no {key!r}" if str(key).startswith("_") else None


def refuse_filter(node: nodes.Filter | nodes.Test) -> str | None:
    """Filters are few, in short chains, with small constant arguments: no chain may multiply the size of its input."""
    known: Sequence[str] = sorted(environment().filters if isinstance(node, nodes.Filter) else environment().tests)
    if node.name not in known:
        return f"no {type(node).__name__.lower()} {node.name!r}; there are: {', '.join(known)}"
    if sum(1 for _ in node.find_all(nodes.Filter)) >= MAX_FILTERS:
        return f"more than {MAX_FILTERS} filters in a row"
    for argument in [*node.args, *(keyword.value for keyword in node.kwargs)]:
        if isinstance(node, nodes.Filter) and not is_small(argument):
            return f"the filter {node.name!r} takes only short constants"
    return "arguments cannot be unpacked" if node.dyn_args or node.dyn_kwargs else None


def is_small(argument: nodes.Node) -> bool:
    """Whether a filter's argument is a constant that cannot blow anything up."""
    if not isinstance(argument, nodes.Const):
        return False
    value = argument.value
    return len(value) <= MAX_STRING if isinstance(value, str) else abs(value or 0) <= MAX_NUMBER


def refuse_loop(node: nodes.For) -> str | None:
    """Loops do not nest: the work of a template stays proportional to its input."""
    if node.recursive:
        return "loops cannot be recursive"
    if not isinstance(node.target, nodes.Name):
        return "a loop has one variable"
    return "loops cannot stand in loops" if next(node.find_all(nodes.For), None) else None
