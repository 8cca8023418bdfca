"""What is allowed in a taxonomy and most likely a mistake is told, one line each."""

from typing import Any

import pytest

from feedback_gateway.tasks.taxonomy import load_taxonomy, parse_taxonomy
from feedback_gateway.tasks.taxonomy_checks import warnings_of

BASE: dict[str, Any] = {
    "categories": [{"name": "bug", "subcategories": ["server", "client"]}, "praise"],
    "teams": ["core"],
}


def test_the_built_in_taxonomy_raises_no_doubt() -> None:
    """It is an example to follow."""
    assert list(warnings_of(load_taxonomy())) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"categories": ["bug", "praise"]}, "category 'bug': a name under 4 letters"),
        ({"categories": [{"name": "fault", "subcategories": ["UI"]}]}, "subcategory 'UI': a name under 4 letters"),
        ({"categories": ["fault"], "teams": ["ops"]}, "team 'ops': a name under 4 letters"),
        ({"categories": ["feature request", "Feature-Requests"]}, "'Feature-Requests': looks like 'feature request'"),
        (
            {"categories": [{"name": "fault", "subcategories": ["time zone", "timezones"]}]},
            "subcategory 'timezones': looks like 'time zone'",
        ),
        (
            {"categories": [{"name": "fault", "subcategories": ["Praise"]}, "praise"]},
            "subcategory 'Praise' of 'fault': shadows the category",
        ),
        (
            {
                "categories": [
                    {"name": "fault", "subcategories": ["speed"]},
                    {"name": "wish", "subcategories": ["Speed"]},
                ]
            },
            "subcategory 'Speed': stands under 'fault' and 'wish'",
        ),
        (
            {"categories": [{"name": "fault", "examples": ["It broke."]}, {"name": "wish", "examples": ["IT BROKE."]}]},
            "category 'wish': its example 'IT BROKE.' stands under 'fault' too",
        ),
        (
            {"rules": [{"name": "one", "when": {"category": "praise", "subcategory": "server"}, "team": "core"}]},
            "rule 'one': can never match; server is not under praise",
        ),
        (
            {
                "rules": [
                    {"name": "all faults", "when": {"category": ["bug", "praise"]}, "team": "core"},
                    {"name": "server", "when": {"category": "bug", "subcategory": "server"}, "team": "core"},
                ]
            },
            "rule 'server': can never match; 'all faults' before it",
        ),
    ],
)
def test_each_doubt_is_told(changes: dict[str, Any], said: str) -> None:
    """With the names that it is about."""
    warnings = list(warnings_of(parse_taxonomy(BASE | changes)))

    assert any(said in warning for warning in warnings), warnings


def test_a_description_and_a_narrower_rule_are_no_mistakes() -> None:
    """What is explained or can match is left alone."""
    taxonomy = {
        "categories": [{"name": "bug", "description": "Something fails.", "subcategories": ["server", "client"]}],
        "teams": ["core"],
        "rules": [
            {"name": "server", "when": {"category": "bug", "subcategory": "server"}, "team": "core"},
            {"name": "rest", "when": {"category": "bug"}, "team": "core"},
        ],
    }

    assert list(warnings_of(parse_taxonomy(taxonomy))) == []
