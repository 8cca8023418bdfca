"""Suggestions that mean the same are one cluster, whatever order they come in and whatever they are made of."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.llm.embedded_client import names_alike
from feedback_gateway.taxonomies.clustering import MOST_NAME, clean_name, cluster, form_of
from feedback_gateway.taxonomies.models import Suggestion
from feedback_gateway.taxonomies.service import id_of

NAMES = [
    "dark mode",
    "Dark Mode",
    "dark-mode",
    "darkmode",
    "dark modes",
    "billing",
    "Billing!",
    "version 1",
    "version 2",
]
HOSTILE = {
    "<script>alert(1)</script>": "alert(1)",
    "<b>Dark</b> mode": "Dark mode",
    "- name: x\n  team: y": "name: x team: y",
    "dark\nmode\r\n": "dark mode",
    '=HYPERLINK("http://x")': 'HYPERLINK("http://x")',
    "@SUM(1+1)": "SUM(1+1)",
    "+1 refunds": "1 refunds",
    "\u202eedom krad\u202c": "edom krad",
    "**Dark mode**": "Dark mode",
    "“Dark mode.”": "Dark mode",
    "C++": "C++",
    "x" * 10_000: None,
    "x" * (MOST_NAME + 1): None,
    "!!! ---": None,
    " \t\n": None,
    "": None,
}


def suggestions(names: list[str]) -> list[Suggestion]:
    """One item and person each."""
    return [Suggestion(name=name, item=f"i{number}", person=f"p{number % 3}") for number, name in enumerate(names)]


@given(st.lists(st.one_of(st.sampled_from(NAMES), st.text(max_size=30)), max_size=30), st.randoms())
def test_clusters_do_not_depend_on_the_order_of_arrivals(names: list[str], dice: random.Random) -> None:
    """The same items give the same proposals with the same ids; some of them come twice."""
    came = suggestions(names)
    again = [*came, *came[: len(came) // 2]]
    dice.shuffle(again)

    first, second = cluster(came), cluster(again)

    assert first == second
    assert [id_of(one.form) for one in first] == [id_of(one.form) for one in second]


@given(st.lists(st.sampled_from(NAMES), max_size=30))
def test_every_item_is_in_one_cluster(names: list[str]) -> None:
    """None is lost and none is counted twice."""
    found = cluster(suggestions(names))

    assert sum(len(one.items) for one in found) == len(names)
    assert frozenset().union(*(one.items for one in found)) == {f"i{number}" for number in range(len(names))}


def test_spellings_of_one_name_are_one_cluster() -> None:
    """Case, signs, spaces and a plural make no other category; a number does."""
    found = cluster(suggestions(NAMES))

    assert [(one.name, len(one.items)) for one in found] == [
        ("dark mode", 5), ("billing", 2), ("version 1", 1), ("version 2", 1),
    ]  # fmt: skip
    assert found[0].names == ("dark mode", "dark modes", "dark-mode", "darkmode", "Dark Mode")
    assert len(found[0].people) == 3


def test_names_are_not_chained_to_one_that_is_like_none_of_them() -> None:
    """Each is like the leader of its cluster, not only like its neighbour."""
    chain = ["aaaaaaaaaaaa", "aaaaaaaaaaab", "aaaaaaaaaabb", "aaaaaaaaabbb", "aaaaaaaabbbb"]

    found = cluster(suggestions([chain[0], *chain]))

    assert "aaaaaaaabbbb" not in found[0].forms


def test_a_model_puts_together_what_letters_do_not() -> None:
    """The embedded one knows that a billing issue is about billing, and that praise is not."""
    found = cluster(suggestions(["billing", "billing", "Billing issue", "praise"]), alike=names_alike)

    assert [one.names for one in found] == [("billing", "Billing issue"), ("praise",)]


@pytest.mark.parametrize("given_name", HOSTILE)
def test_hostile_names_become_one_harmless_line_or_nothing(given_name: str) -> None:
    """Neither markup, YAML's syntax, formulas nor what turns a line around survives."""
    assert clean_name(given_name) == HOSTILE[given_name]


@given(st.text(max_size=300))
def test_a_clean_name_is_one_line_that_no_spreadsheet_executes(text: str) -> None:
    """And it stays what it is when it is cleaned again."""
    name = clean_name(text)

    if name is not None:
        assert name.isprintable()
        assert name[0] not in "=+-@"
        assert 0 < len(name) <= MOST_NAME
        assert form_of(name)


def test_two_thousand_spellings_are_compared_and_no_more() -> None:
    """Whoever floods it with names does not hold up the rest."""
    letters = random.Random(7)
    flood = ["".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=12)) for _ in range(2_500)]

    found = cluster([*suggestions(flood), *(Suggestion(name="dark mode", item=f"d{n}") for n in range(3))])

    assert found[0].name == "dark mode"
    assert sum(len(one.forms) for one in found) == 2_000
