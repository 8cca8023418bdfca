"""Thresholds that are proven, and what it takes where none is."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback_gateway.evaluation.intervals import lower_bound
from feedback_gateway.evaluation.thresholds import Believed, accept, certify, sequence

ROWS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60)


def drawn(chance: random.Random, rows: int) -> list[Believed]:
    """Rows whose confidence c is evenly spread and which are right with probability c²."""
    return [(confidence := chance.uniform(0.3, 1), chance.random() < confidence**2) for _ in range(rows)]


def true_precision(threshold: float) -> float:
    """The mean of c² from `threshold` to 1."""
    low = max(0.3, threshold)
    return (1 - low**3) / (3 * (1 - low))


def test_a_threshold_is_false_at_most_once_in_twenty() -> None:
    """Although hundreds of thresholds may be tried each time: what the labels prove is so."""
    chance = random.Random(7)

    found = [certify(drawn(chance, 300), drawn(chance, 300), target=0.8).certified for _ in range(400)]
    named = [one for one in found if one is not None]
    false = sum(true_precision(one.threshold) < 0.8 for one in named)

    assert len(named) > 100
    assert false <= 400 * 0.05


def test_the_best_threshold_of_the_same_rows_would_be_false_far_more_often() -> None:
    """Which is why other rows fix the order."""
    chance = random.Random(7)
    false = 0
    for _ in range(200):
        rows = drawn(chance, 300)
        loosest = next((t for t, _ in sorted(rows) if accept(rows, t).bound >= 0.8), None)
        false += loosest is not None and true_precision(loosest) < 0.8

    assert false > 200 * 0.05


def test_59_right_ones_of_59_prove_95_percent() -> None:
    """And 58 do not."""
    rows = [(0.9, True)] * 59

    assert certify(rows, rows, target=0.95).certified is not None
    assert certify(rows, rows[1:], target=0.95).certified is None


def test_what_is_certified_reaches_the_target_on_the_tested_rows() -> None:
    """With the figures it is proven by."""
    chance = random.Random(3)

    found = certify(drawn(chance, 2000), drawn(chance, 2000), target=0.8)

    assert found.certified is not None
    assert found.certified.bound == lower_bound(found.certified.right, found.certified.rows) >= 0.8
    assert found.labels_needed == 0


def test_what_it_takes_is_told_where_nothing_is_proven() -> None:
    """19 of 20 are right at 0.9: enough for 0.9, if only there were more of them."""
    rows = [(0.9, True)] * 19 + [(0.9, False)] + [(0.2, False)] * 20

    found = certify(rows, rows, target=0.9)

    assert found.certified is None
    assert found.labels_needed is not None
    more = [*rows, *(rows * (found.labels_needed // (2 * len(rows)) + 1))]
    assert certify(more, more, target=0.9).certified is not None
    assert found.review_share == pytest.approx((21 / 40 - 0.1) / 0.9)


def test_no_number_of_labels_helps_answers_that_are_wrong_too_often() -> None:
    """Half of them, however sure."""
    rows = [(0.9, True), (0.9, False)] * 40

    assert certify(rows, rows, target=0.95).labels_needed is None


def test_nothing_at_all_is_proven_by_no_rows() -> None:
    """It takes 59 in each half."""
    found = certify([], [], target=0.95)

    assert (found.certified, found.nearest, found.labels_needed) == (None, None, 118)


@settings(deadline=None)
@given(ROWS)
def test_the_order_goes_down_to_the_lowest_confidence(rows: list[Believed]) -> None:
    """Each threshold once."""
    order = sequence(rows)

    assert order == sorted(set(order), reverse=True)
    assert not rows or order[-1] == min(confidence for confidence, _ in rows)


@settings(deadline=None)
@given(ROWS, ROWS)
def test_whatever_the_rows_the_bound_holds(choosing: list[Believed], testing: list[Believed]) -> None:
    """Nothing is certified whose bound is under the target."""
    found = certify(choosing, testing, target=0.7)

    assert found.certified is None or found.certified.bound >= 0.7
    assert 0 <= found.review_share <= 1
