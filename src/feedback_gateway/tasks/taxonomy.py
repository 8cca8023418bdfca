"""What feedback is sorted into and who gets it: categories, severities, teams and routing rules."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from feedback_gateway.errors import ConfigurationError, InvalidRequest, Problem
from feedback_gateway.prompts.marked_yaml import MarkedError, read_marked
from feedback_gateway.tasks.taxonomy_reader import Loc, Names, Reader, folded

SEVERITIES = ("critical", "major", "minor", "enhancement")
SENTIMENTS = ("positive", "neutral", "negative", "mixed")
FIELDS = ("categories", "severities", "teams", "rules", "default_team", "version", "label")
EMPTY: Mapping[str, Any] = {"severities": [], "teams": [], "rules": [], "default_team": None}
MAX_FILE_BYTES = 8 * 1024 * 1024
MAX_CATEGORIES = 500
MAX_EXAMPLES = 1_000
MAX_TEAMS = 200
MAX_RULES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One label with what it means; a severity is one too, without subcategories."""

    name: str
    description: str = ""
    examples: tuple[str, ...] = ()
    subcategories: tuple["Category", ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The label as JSON, without what is empty."""
        return {
            "name": self.name,
            **({"description": self.description} if self.description else {}),
            **({"examples": list(self.examples)} if self.examples else {}),
            **({"subcategories": [sub.as_json() for sub in self.subcategories]} if self.subcategories else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Who works on feedback."""

    name: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Gives items to `team` whose labels are, for every field of `when`, one of the values there."""

    name: str
    when: Mapping[str, tuple[str, ...]]
    team: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where an item goes and why; `rule` is None where none matched, `team` too where there is no default."""

    team: str | None
    rule: str | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Taxonomy:
    """Labels in the order in which they were written; rules are tried in theirs."""

    categories: tuple[Category, ...]
    severities: tuple[Category, ...] = ()
    teams: tuple[Team, ...] = ()
    rules: tuple[Rule, ...] = ()
    default_team: str | None = None
    label: str | None = None
    """What its author calls this version, where they wrote `version`; no part of what makes a version."""

    @cached_property
    def version(self) -> str:
        """A short hash of everything the taxonomy says."""
        canonical = json.dumps(self._content, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def as_json(self) -> Mapping[str, Any]:
        """The taxonomy as it may be written again, every part of it, with its version; shared, so not to be changed."""
        return self._json

    @cached_property
    def _json(self) -> dict[str, Any]:
        return {**EMPTY, **self._content, "version": self.version, **({"label": self.label} if self.label else {})}

    @cached_property
    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = {"categories": [category.as_json() for category in self.categories]}
        if self.severities:
            content["severities"] = [severity.as_json() for severity in self.severities]
        if self.teams:
            content["teams"] = [{"name": team.name, "description": team.description} for team in self.teams]
        if self.rules:
            content["rules"] = [
                {"name": rule.name, "when": {key: list(values) for key, values in rule.when.items()}, "team": rule.team}
                for rule in self.rules
            ]
        return content | ({"default_team": self.default_team} if self.default_team else {})


def parse_taxonomy(data: object, *, where: str = "taxonomy") -> Taxonomy:
    """Read a taxonomy from JSON data. Raises InvalidRequest naming every wrong place below `where`."""
    reader = Reader()
    made = read_taxonomy(reader, data, (where,) if where else ())
    if reader.problems:
        raise InvalidRequest("the taxonomy cannot be used", problems=reader.problems)
    return made


def load_taxonomy(path: Path | None = None) -> Taxonomy:
    """Read a taxonomy from a YAML file, the built-in one by default. Raises ConfigurationError with file and line."""
    taxonomy, problems = scan_taxonomy(path)
    if taxonomy is None:
        others = len(problems) - 1
        more = f" (and {others} more {'errors' if others > 1 else 'error'})" if others else ""
        raise ConfigurationError(f"{problems[0]}{more}")
    return taxonomy


def scan_taxonomy(path: Path | None = None) -> tuple[Taxonomy | None, tuple[str, ...]]:
    """The taxonomy of a file, or None and every flaw of it as `file:line: reason`."""
    file = source_of(path)
    try:
        return taxonomy_in(read_bytes(path), name=str(file)), ()
    except ConfigurationError as error:
        return None, (error.detail,)
    except InvalidRequest as error:
        return None, tuple(f"{file}:{one.loc[0]}: {one.msg}" for one in error.problems)


def source_of(path: Path | None) -> Path:
    """The file itself, the built-in one where none is named."""
    return Path(str(resources.files(__package__).joinpath("taxonomy.yaml"))) if path is None else path


def read_bytes(path: Path | None) -> bytes:
    """What a taxonomy file holds. Raises ConfigurationError."""
    file = source_of(path)
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror or error}") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(f"{file}:1: is larger than {MAX_FILE_BYTES // 1024} KiB")
    return content


def taxonomy_in(content: bytes, *, name: str) -> Taxonomy:
    """The taxonomy in a file of this `name`.

    Raises ConfigurationError for what is no YAML, and InvalidRequest whose problems are each of a line.
    """
    try:
        marked = read_marked(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name}:1: is no UTF-8 text") from None
    except MarkedError as error:
        raise ConfigurationError(f"{name}:{error.line}: {error.reason}") from None
    try:
        return parse_taxonomy(marked.data, where="")
    except InvalidRequest as error:
        problems = [
            Problem((marked.line(one.loc),), f"{'.'.join(str(part) for part in one.loc) or 'the file'}: {one.msg}")
            for one in error.problems
        ]
        raise InvalidRequest(error.detail, problems=problems) from None


def read_taxonomy(reader: Reader, data: object, loc: Loc) -> Taxonomy:
    """The taxonomy in `data`; it holds only if `reader` found no problems."""
    fields = reader.mapping(data, loc, known=FIELDS)
    if isinstance(data, Mapping) and not fields.get("categories"):
        reader.refuse((*loc, "categories"), "there must be at least one category")
    categories = read_categories(reader, fields.get("categories"), (*loc, "categories"))
    every = [*categories, *(sub for category in categories for sub in category.subcategories)]
    if len(every) > MAX_CATEGORIES:
        reader.refuse((*loc, "categories"), f"there are {len(every)} with all subcategories; at most {MAX_CATEGORIES}")
    severities = read_severities(reader, fields.get("severities"), (*loc, "severities"))
    teams = tuple(
        Team(name=row["name"], description=reader.text(row.get("description"), (*place, "description")))
        for place, row in reader.rows(fields.get("teams"), (*loc, "teams"), known=("description",), most=MAX_TEAMS)
    )
    team_names = folded(team.name for team in teams)
    labels = {
        "category": folded(category.name for category in categories),
        "subcategory": folded(sub.name for category in categories for sub in category.subcategories),
        "severity": folded(SEVERITIES),
        "sentiment": folded(SENTIMENTS),
    }
    rules = read_rules(reader, fields.get("rules"), (*loc, "rules"), labels=labels, teams=team_names)
    default_team = reader.choice(fields.get("default_team"), (*loc, "default_team"), team_names)
    made = Taxonomy(categories=categories, severities=severities, teams=teams, rules=rules, default_team=default_team)
    label = read_version(reader, fields.get("label"), (*loc, "label"))
    written = read_version(reader, fields.get("version"), (*loc, "version"))
    if not label and written and not reader.problems and written != made.version:
        label = written
    return replace(made, label=label)


def read_version(reader: Reader, value: object, loc: Loc) -> str | None:
    """A number or a name of one line, None where there is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if value is None or value == "":
        return None
    return reader.name(value, loc) or None


def read_categories(reader: Reader, value: object, loc: Loc) -> tuple[Category, ...]:
    """Categories with their subcategories, one level deep."""
    known = ("description", "examples", "subcategories")
    return tuple(
        replace(
            read_label(reader, row, place),
            subcategories=tuple(
                read_label(reader, sub, below)
                for below, sub in reader.rows(
                    row.get("subcategories"), (*place, "subcategories"), known=known[:2], most=MAX_CATEGORIES
                )
            ),
        )
        for place, row in reader.rows(value, loc, known=known, most=MAX_CATEGORIES)
    )


def read_severities(reader: Reader, value: object, loc: Loc) -> tuple[Category, ...]:
    """What each of the four severities means here."""
    found = []
    for place, row in reader.rows(value, loc, known=("description", "examples"), most=len(SEVERITIES)):
        name = reader.choice(row["name"], place, folded(SEVERITIES))
        found.append(replace(read_label(reader, row, place), name=name or row["name"]))
    return tuple(found)


def read_label(reader: Reader, row: Mapping[str, Any], loc: Loc) -> Category:
    """A label without what is below it."""
    return Category(
        name=row["name"],
        description=reader.text(row.get("description"), (*loc, "description")),
        examples=reader.texts(row.get("examples"), (*loc, "examples"), most=MAX_EXAMPLES),
    )


def read_rules(
    reader: Reader, value: object, loc: Loc, *, labels: Mapping[str, Names], teams: Names
) -> tuple[Rule, ...]:
    """Routing rules that name only labels and teams there are."""
    rules = []
    for place, row in reader.rows(value, loc, known=("when", "team"), most=MAX_RULES):
        conditions = reader.mapping(row.get("when"), (*place, "when"), known=(*labels, "language"))
        if isinstance(row.get("when"), Mapping) and not conditions:
            reader.refuse((*place, "when"), "must name a label; for everything else there is default_team")
        when = {
            key: read_values(reader, wanted, (*place, "when", key), labels.get(key))
            for key, wanted in conditions.items()
        }
        team = reader.choice(row.get("team"), (*place, "team"), teams)
        if not row.get("team"):
            reader.refuse((*place, "team"), "is required")
        rules.append(Rule(name=row["name"], when=when, team=team or ""))
    return tuple(rules)


def read_values(reader: Reader, wanted: object, loc: Loc, names: Names | None) -> tuple[str, ...]:
    """One value or a list of them; languages are codes such as `de`, which are not listed anywhere."""
    texts = reader.texts(wanted if isinstance(wanted, list) else [wanted], loc, most=MAX_CATEGORIES)
    if not texts:
        reader.refuse(loc, "must be a label or a list of labels")
    if names is None:
        return tuple(text.lower() for text in texts)
    return tuple(chosen for text in texts if (chosen := reader.choice(text, loc, names)) is not None)


def route(taxonomy: Taxonomy, *, labels: Mapping[str, Any]) -> Route:
    """The team of the first rule that `labels` (category, subcategory, severity, sentiment, language) satisfy."""
    for rule in taxonomy.rules:
        if all(labels.get(key) in values for key, values in rule.when.items()):
            reason = " and ".join(f"{key} is {labels[key]}" for key in rule.when)
            return Route(team=rule.team, rule=rule.name, reason=reason)
    reason = "no rule matched" if taxonomy.rules else "the taxonomy has no rules"
    return Route(team=taxonomy.default_team, rule=None, reason=reason)
