"""A taxonomy is read whole or refused with every place that is wrong; rules are tried in their order."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.errors import ConfigurationError, InvalidRequest
from feedback_gateway.tasks.taxonomy import Route, load_taxonomy, parse_taxonomy, route

BUGS = {"name": "bug", "description": "Something fails.", "subcategories": ["UI", "database"]}
TEAMS: dict[str, Any] = {"categories": [BUGS, "praise"], "teams": [{"name": "core"}, "care"], "default_team": "care"}


def test_the_built_in_taxonomy_suits_an_embedded_model() -> None:
    """Every label is described, every category has five to eight examples, and every rule leads to a team."""
    taxonomy = load_taxonomy()

    names = [category.name for category in taxonomy.categories]
    assert names == [
        "bug", "feature request", "usability", "documentation and training", "question", "praise", "other",
    ]  # fmt: skip
    subcategories = taxonomy.categories[0].subcategories
    assert [sub.name for sub in subcategories] == ["database", "UI", "integration", "performance", "security"]
    assert [severity.name for severity in taxonomy.severities] == ["critical", "major", "minor", "enhancement"]
    for label in (*taxonomy.categories, *subcategories, *taxonomy.severities):
        assert label.description
    for category in (*taxonomy.categories, *subcategories):
        assert 5 <= len(category.examples) <= 8
    assert {rule.team for rule in taxonomy.rules} < {team.name for team in taxonomy.teams}
    assert taxonomy.default_team == "support"


def test_short_and_long_forms_say_the_same() -> None:
    """A category may be a bare name, and all of them an object of descriptions."""
    short = parse_taxonomy({"categories": {"bug": "Something fails.", "praise": None}})
    long = parse_taxonomy({"categories": [{"name": "bug", "description": " Something fails. "}, "praise"]})

    assert short == long
    assert short.version == long.version


def test_json_form_can_be_read_again() -> None:
    """What is given out can be sent back, and has the same version."""
    taxonomy = load_taxonomy()

    again = parse_taxonomy(json.loads(json.dumps(taxonomy.as_json())))

    assert again == taxonomy
    assert again.version == taxonomy.version == taxonomy.as_json()["version"]


def test_version_changes_with_content() -> None:
    """One more example is another taxonomy."""
    one = parse_taxonomy({"categories": [{"name": "bug", "examples": ["It fails."]}]})
    two = parse_taxonomy({"categories": [{"name": "bug", "examples": ["It fails.", "It broke."]}]})

    assert one.version != two.version


@pytest.mark.parametrize(
    ("data", "loc", "msg"),
    [
        (None, (), "must be an object"),
        ([], (), "must be an object"),
        ({}, ("categories",), "at least one"),
        ({"categories": []}, ("categories",), "at least one"),
        ({"categories": {}}, ("categories",), "at least one"),
        ({"categories": "bug"}, ("categories",), "must be a list"),
        ({"categories": [3]}, ("categories", 0), "must be an object or a name"),
        ({"categories": [""]}, ("categories", 0), "must not be empty"),
        ({"categories": [{"name": "  "}]}, ("categories", 0, "name"), "must not be empty"),
        ({"categories": [{"description": "x"}]}, ("categories", 0, "name"), "must not be empty"),
        ({"categories": [{"name": 5}]}, ("categories", 0, "name"), "must be a string"),
        ({"categories": ["x" * 101]}, ("categories", 0), "at most 100"),
        ({"categories": ["a\nb"]}, ("categories", 0), "one line"),
        ({"categories": ["a\ud800"]}, ("categories", 0), "surrogate"),
        ({"categories": ["bug", "Bug"]}, ("categories", 1), "'bug' stands twice"),
        ({"categories": ["bug", "bug"]}, ("categories", 1), "'bug' stands twice"),
        ({"categories": [{"name": "a", "nmae": 1}]}, ("categories", 0, "nmae"), "unknown key"),
        ({"categories": ["a"], "colour": 1}, ("colour",), "unknown key"),
        ({"categories": [{"name": "a", "examples": "x"}]}, ("categories", 0, "examples"), "must be a list"),
        ({"categories": [{"name": "a", "examples": [""]}]}, ("categories", 0, "examples", 0), "not empty"),
        ({"categories": {"a": {"description": 4}}}, ("categories", "a", "description"), "must be a string"),
        ({"categories": [{"name": "a", "subcategories": ["x", "X"]}]}, ("categories", 0, "subcategories", 1), "twice"),
        ({"categories": [str(number) for number in range(501)]}, ("categories",), "at most 500"),
        ({"categories": [{"name": "a", "subcategories": "x"}]}, ("categories", 0, "subcategories"), "must be a list"),
        ({"categories": ["a"], "severities": ["blocker"]}, ("severities", 0), "critical, major, minor"),
        (TEAMS | {"default_team": "sales"}, ("default_team",), "there are: core, care"),
        (TEAMS | {"rules": [{"name": "r", "when": {"category": "buug"}, "team": "core"}]},
         ("rules", 0, "when", "category"), "'buug' is not known; there are: bug, praise"),
        (TEAMS | {"rules": [{"name": "r", "when": {"category": "bug"}, "team": "cora"}]}, ("rules", 0, "team"), "cora"),
        (TEAMS | {"rules": [{"name": "r", "when": {"category": "bug"}}]}, ("rules", 0, "team"), "is required"),
        (TEAMS | {"rules": [{"name": "r", "when": {}, "team": "core"}]}, ("rules", 0, "when"), "default_team"),
        (TEAMS | {"rules": [{"name": "r", "team": "core"}]}, ("rules", 0, "when"), "must be an object"),
        (TEAMS | {"rules": [{"name": "r", "when": {"mood": "x"}, "team": "core"}]},
         ("rules", 0, "when", "mood"), "unknown"),
        (TEAMS | {"rules": [{"name": "r", "when": {"category": []}, "team": "core"}]},
         ("rules", 0, "when", "category"), "list of labels"),
    ],
)  # fmt: skip
def test_a_flaw_is_refused_with_its_place(data: Any, loc: tuple[str | int, ...], msg: str) -> None:
    """The first problem names the place below `where`."""
    with pytest.raises(InvalidRequest) as error:
        parse_taxonomy(data, where="taxonomy")

    assert error.value.problems[0].loc == ("taxonomy", *loc)
    assert msg in error.value.problems[0].msg


def test_subcategories_count_against_the_bound() -> None:
    """Six hundred labels on two levels are as many as six hundred on one."""
    categories = [{"name": str(number), "subcategories": ["a"]} for number in range(300)]

    with pytest.raises(InvalidRequest) as error:
        parse_taxonomy({"categories": categories})

    assert "there are 600" in error.value.problems[0].msg


def test_every_flaw_is_named_up_to_a_bound() -> None:
    """Several flaws come together, thousands do not flood the answer."""
    with pytest.raises(InvalidRequest) as few:
        parse_taxonomy({"categories": ["a", "", 3], "x": 1})
    with pytest.raises(InvalidRequest) as many:
        parse_taxonomy({"categories": ["a"], **{str(number): 1 for number in range(5000)}})

    assert len(few.value.problems) == 3
    assert len(many.value.problems) == 50


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["bug", "core"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["name", "categories", "rules", "when", "team", "teams", "category", "examples", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(data=JSON, teams=JSON, rules=JSON)
def test_any_json_is_a_taxonomy_or_refused(data: Any, teams: Any, rules: Any) -> None:
    """There is no third outcome."""
    outcome: object
    try:
        outcome = parse_taxonomy({"categories": data, "teams": teams, "rules": rules}).categories
    except InvalidRequest as error:
        outcome = error.problems

    assert outcome


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"categories: [bug]\nteam: x\n", 2, "team: unknown key"),
        (b"categories:\n  - bug\n  - question\n  - Bug\nx: 1\n", 5, "x: unknown key; there are: categories"),
        (b"categories:\n  - bug\n  - question\n  - Bug\n", 4, "categories.2: the name 'bug' stands twice"),
        (b"categories: [bug\n", 2, "no valid YAML"),
        (b"categories: [\xff]\n", 1, "no UTF-8"),
        (b"", 1, "must be an object"),
        (b"a: &x 1\n", 1, "aliases"),
        (b"#" * 9_000_000, 1, "larger than 8192 KiB"),
    ],
)
def test_a_file_is_refused_with_file_and_line(tmp_path: Path, content: bytes, line: int, reason: str) -> None:
    """What is wrong in a file is wrong configuration, and its line is told."""
    path = tmp_path / "taxonomy.yaml"
    path.write_bytes(content)

    with pytest.raises(ConfigurationError) as error:
        load_taxonomy(path)

    assert error.value.detail.startswith(f"{path}:{line}: ")
    assert reason in error.value.detail


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """The message names the file."""
    with pytest.raises(ConfigurationError, match="No such file"):
        load_taxonomy(tmp_path / "none.yaml")


def test_the_first_matching_rule_routes() -> None:
    """All fields of a rule must match, any value of a field; labels are found whatever their case."""
    taxonomy = parse_taxonomy(
        TEAMS
        | {
            "rules": [
                {"name": "data", "when": {"category": "BUG", "subcategory": "Database"}, "team": "Core"},
                {"name": "loud", "when": {"severity": ["critical", "major"], "language": "DE"}, "team": "care"},
                {"name": "rest", "when": {"category": ["bug", "praise"]}, "team": "core"},
            ]
        }
    )

    def routed(**labels: str | None) -> tuple[str | None, str | None]:
        found = route(taxonomy, labels=labels)
        return found.rule, found.team

    assert routed(category="bug", subcategory="database") == ("data", "core")
    assert routed(category="bug", subcategory=None, severity="major", language="de") == ("loud", "care")
    assert routed(category="bug", subcategory="UI", severity="minor", language="de") == ("rest", "core")
    assert routed(category="other") == (None, "care")


def test_a_route_says_why() -> None:
    """The reason names the labels that decided, or that nothing did."""
    taxonomy = load_taxonomy()

    assert route(taxonomy, labels={"category": "bug", "subcategory": "security"}) == Route(
        team="security", rule="security first", reason="category is bug and subcategory is security"
    )
    assert route(taxonomy, labels={"category": "question"}).reason == "no rule matched"
    assert route(parse_taxonomy({"categories": ["a"]}), labels={}).team is None
