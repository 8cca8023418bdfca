"""Two runs over the same rows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback_gateway.evaluation.comparison import compare
from feedback_gateway.evaluation.page import verdict
from tests.evaluation.runs import said

LABELS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=30)


def test_changed_rows_are_listed_with_what_became_of_them() -> None:
    """For the better, for the worse, and from one wrong answer to another."""
    found = compare(said("a", "a", "b", "b"), said("a", "b", "a", "c", version=2))

    assert [(one.number, one.kind, one.before, one.after) for one in found.changes] == [
        (2, "worsened", "a", "b"),
        (3, "improved", "b", "a"),
        (4, "changed", "b", "c"),
    ]
    assert (found.improved, found.worsened, found.p_value) == (1, 1, 1.0)


@settings(deadline=None)
@given(LABELS)
def test_a_comparison_looks_the_same_from_both_sides(pairs: list[tuple[str, str]]) -> None:
    """What one gained the other lost; the difference of right answers is that of the counts."""
    first, second = said(*(one for one, _ in pairs)), said(*(other for _, other in pairs))

    there, back = compare(first, second), compare(second, first)

    assert (there.improved, there.worsened) == (back.worsened, back.improved)
    assert there.p_value == back.p_value
    gained = sum(other == "a" for _, other in pairs) - sum(one == "a" for one, _ in pairs)
    assert there.improved - there.worsened == gained


def test_a_difference_is_called_one_only_where_chance_does_not_explain_it() -> None:
    """Five better and none worse may be chance (p = 0.06), six are not."""
    assert "no difference is shown" in verdict(compare(said(*"bbbbb"), said(*"aaaaa")))
    assert "it is better" in verdict(compare(said(*"bbbbbb"), said(*"aaaaaa")))
    assert "it is worse" in verdict(compare(said(*"aaaaaa"), said(*"bbbbbb")))
    assert verdict(compare(said("a"), said("a"))) == "0 rows improved and 0 worsened of 1."


def test_runs_over_other_rows_are_refused() -> None:
    """They prove nothing of each other."""
    with pytest.raises(ValueError, match="the same rows"):
        compare(said("a"), said("a", "b"))
