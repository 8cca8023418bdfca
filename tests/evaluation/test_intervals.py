"""Bounds, intervals and the paired test against the tables and libraries that define them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest  # type: ignore[import-untyped]

from feedback_gateway.evaluation.intervals import (
    least_review_share,
    lower_bound,
    mcnemar,
    resampled,
    rows_needed,
    rows_needed_at,
)

COUNTS = st.integers(1, 400).flatmap(lambda rows: st.tuples(st.integers(0, rows), st.just(rows)))


@pytest.mark.parametrize(("target", "needed"), [(0.90, (29, 46, 61)), (0.95, (59, 93, 124)), (0.99, (299, 473, 628))])
def test_labels_needed_are_those_of_the_table(target: float, needed: tuple[int, ...]) -> None:
    """With no error, one, and two."""
    assert tuple(rows_needed(target, errors=errors) for errors in range(3)) == needed


@pytest.mark.parametrize("target", [0.9, 0.95, 0.99])
def test_one_label_less_is_too_few(target: float) -> None:
    """The number is the least, not just one that does."""
    for errors in range(3):
        rows = rows_needed(target, errors=errors)

        assert lower_bound(rows - errors, rows) >= target > lower_bound(rows - 1 - errors, rows - 1)


@settings(deadline=None)
@given(COUNTS)
def test_the_bound_is_clopper_and_pearsons(counts: tuple[int, int]) -> None:
    """As the exact test of scipy gives it, one-sided: half of a two-sided interval of twice the error."""
    right, rows = counts

    exact = binomtest(right, rows).proportion_ci(0.90, "exact").low

    assert lower_bound(right, rows) == pytest.approx(exact, abs=1e-9)


@settings(deadline=None)
@given(COUNTS)
def test_a_share_of_its_bound_is_just_possible(counts: tuple[int, int]) -> None:
    """With the bound as the true share, so many right ones or more come in one sample of twenty."""
    right, rows = counts
    bound = lower_bound(right, rows)

    if right:
        assert binomtest(right, rows, bound, alternative="greater").pvalue == pytest.approx(0.05, abs=1e-6)


def test_more_right_than_rows_is_refused() -> None:
    """It is a mistake of the caller's."""
    with pytest.raises(ValueError, match="some of the rows"):
        lower_bound(3, 2)


@settings(deadline=None)
@given(st.floats(0.5, 0.98), st.floats(0.005, 0.2))
def test_rows_needed_at_a_share_do(target: float, above: float) -> None:
    """So many rows of that share do prove the target."""
    share = min(1.0, target + above)

    rows = rows_needed_at(target, share)

    assert rows is not None
    assert lower_bound(int(rows * share), rows) >= target


def test_no_number_of_rows_proves_what_is_not_so() -> None:
    """A share at the target or under it."""
    assert rows_needed_at(0.95, 0.95) is None
    assert rows_needed_at(0.95, 0.5) is None


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_exact_binomial_test(worsened: int, improved: int) -> None:
    """Of the rows that differ, against a fair coin."""
    rows = worsened + improved
    exact = binomtest(worsened, rows, 0.5).pvalue if rows else 1.0

    assert mcnemar(worsened, improved) == pytest.approx(exact, abs=1e-9)
    assert mcnemar(worsened, improved) == mcnemar(improved, worsened)


def test_least_review_share_is_what_perfect_sorting_leaves() -> None:
    """60 of 100 right, 95 % asked: with 63 answers let through 60 are right; 37 wrong ones must be set aside."""
    assert least_review_share(0.6, 0.95) == pytest.approx(0.35 / 0.95)
    assert 60 / (100 * (1 - least_review_share(0.6, 0.95))) == pytest.approx(0.95)
    assert least_review_share(0.97, 0.95) == 0


def test_the_interval_of_accuracy_is_near_the_binomial_one() -> None:
    """Over 400 rows the bootstrap and the exact interval agree to a point."""
    accuracy, _ = resampled({("a", "a"): 170, ("a", "b"): 30, ("b", "b"): 150, ("b", "a"): 50})
    exact = binomtest(320, 400).proportion_ci(0.95, "exact")

    assert accuracy.low == pytest.approx(exact.low, abs=0.01)
    assert accuracy.high == pytest.approx(exact.high, abs=0.01)


CONFUSION = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.sampled_from("abc") | st.none()), st.integers(1, 30), min_size=1, max_size=9
)


@settings(deadline=None)
@given(CONFUSION)
def test_intervals_are_the_same_every_time_and_in_order(confusion: dict[tuple[str, str | None], int]) -> None:
    """The seed is fixed, and both ends are shares."""
    first = resampled(confusion, samples=50)

    assert first == resampled(confusion, samples=50)
    for interval in first:
        assert 0 <= interval.low <= interval.high <= 1


def test_rows_that_are_all_right_leave_no_doubt_to_resampling() -> None:
    """Nor do none at all."""
    accuracy, macro_f1 = resampled({("a", "a"): 5, ("b", "b"): 5})

    assert (accuracy.low, accuracy.high, macro_f1.low, macro_f1.high) == (1, 1, 1, 1)
    assert [interval.high for interval in resampled({})] == [0, 0]
