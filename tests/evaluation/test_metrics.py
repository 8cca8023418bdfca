"""Figures of classifications against values worked out by hand, and against those of scikit-learn and numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (  # type: ignore[import-untyped]
    accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
)

from feedback_gateway.evaluation.metrics import (
    expected_calibration_error,
    majority_baseline,
    most_confused,
    quantile,
    reliability,
    score,
)

TRUTHS = ["a", "a", "a", "b", "b", "c"]
PREDICTIONS = ["a", "a", "b", "b", None, "a"]


def test_accuracy_counts_no_answer_as_wrong() -> None:
    """Three of six are right."""
    assert score(TRUTHS, PREDICTIONS).accuracy == pytest.approx(3 / 6)


def test_label_scores_follow_their_definitions() -> None:
    """`a`: 3 predicted, 2 right of 3; `b`: 2 predicted, 1 right of 2; `c`: never predicted."""
    labels = score(TRUTHS, PREDICTIONS).labels

    assert (labels["a"].precision, labels["a"].recall, labels["a"].support) == (2 / 3, 2 / 3, 3)
    assert (labels["b"].precision, labels["b"].recall, labels["b"].f1) == (1 / 2, 1 / 2, 1 / 2)
    assert (labels["c"].precision, labels["c"].recall, labels["c"].f1) == (0, 0, 0)


def test_macro_f1_is_the_plain_mean_over_the_true_labels() -> None:
    """2/3, 1/2 and 0."""
    assert score(TRUTHS, PREDICTIONS).macro_f1 == pytest.approx((2 / 3 + 1 / 2) / 3)


def test_the_confusion_counts_every_row_once() -> None:
    """Answers that are missing are a column of their own."""
    confusion = score(TRUTHS, PREDICTIONS).confusion

    assert confusion == {("a", "a"): 2, ("a", "b"): 1, ("b", "b"): 1, ("b", None): 1, ("c", "a"): 1}


def test_a_label_that_is_never_true_is_no_part_of_the_mean() -> None:
    """It costs the recall of the label it stands for."""
    assert score(["a", "a"], ["a", "z"]).macro_f1 == pytest.approx(2 / 3)


def test_the_majority_answers_the_most_frequent_label() -> None:
    """Half of the rows right; one label of three with F1 = 2·3 / (6 + 3)."""
    majority = majority_baseline(TRUTHS)

    assert majority.accuracy == pytest.approx(1 / 2)
    assert majority.macro_f1 == pytest.approx((2 / 3) / 3)


def test_no_rows_give_zeros() -> None:
    """Not a division by zero."""
    assert (score([], []).accuracy, score([], []).macro_f1, majority_baseline([]).accuracy) == (0, 0, 0)


def test_unequal_sequences_are_refused() -> None:
    """They cannot belong together."""
    with pytest.raises(ValueError, match="as many"):
        score(["a"], [])


def test_calibration_error_weighs_the_gap_of_each_interval() -> None:
    """(0.8, 0.9]: 0.85 and 0.9 claimed, one of two right; (0.5, 0.6]: 0.6 claimed, right."""
    error = expected_calibration_error([0.85, 0.9, 0.6], [True, False, True])

    assert error == pytest.approx((abs(0.85 + 0.9 - 1) + abs(0.6 - 1)) / 3)


def test_an_interval_includes_its_upper_end() -> None:
    """0.1 and 0.05 share one; 0 belongs to the first."""
    assert expected_calibration_error([0.1, 0.05, 0.0], [False, False, True]) == pytest.approx(abs(0.15 - 1) / 3)


def test_perfect_confidence_has_no_error() -> None:
    """And none at all has none either."""
    assert expected_calibration_error([1.0, 0.0], [True, False]) == 0
    assert expected_calibration_error([], []) == 0


def test_quantiles_lie_on_a_straight_line_between_values() -> None:
    """The median of four lies between the middle two."""
    assert quantile([4, 1, 3, 2], 0.5) == pytest.approx(2.5)
    assert quantile([1, 2, 3], 1.0) == 3
    assert quantile([], 0.5) == 0


LABEL = st.sampled_from(["a", "b", "c"])


@given(st.lists(st.tuples(LABEL, LABEL | st.none()), min_size=1))
def test_scores_stay_between_zero_and_one(rows: list[tuple[str, str | None]]) -> None:
    """Whatever was answered; all right means 1 everywhere."""
    truths = [truth for truth, _ in rows]

    scores = score(truths, [prediction for _, prediction in rows])

    assert 0 <= scores.macro_f1 <= 1
    assert 0 <= scores.accuracy <= 1
    assert score(truths, truths).macro_f1 == score(truths, truths).accuracy == 1


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_calibration_error_stays_between_zero_and_one(rows: list[tuple[float, bool]]) -> None:
    """It is a weighted mean of gaps."""
    assert 0 <= expected_calibration_error([one for one, _ in rows], [hit for _, hit in rows]) <= 1 + 1e-9


@settings(deadline=None)
@given(st.lists(st.tuples(LABEL, LABEL | st.just("z")), min_size=1))
def test_every_score_is_scikit_learns(rows: list[tuple[str, str]]) -> None:
    """Accuracy, precision, recall, F1, support and the confusion matrix, over the labels that are true."""
    truths, predictions = [truth for truth, _ in rows], [prediction for _, prediction in rows]
    labels = sorted(set(truths))

    found = score(truths, predictions)
    reference = precision_recall_fscore_support(truths, predictions, labels=labels, zero_division=0)

    assert found.accuracy == pytest.approx(accuracy_score(truths, predictions))
    assert found.macro_f1 == pytest.approx(np.mean(reference[2]))
    ours = [(one.precision, one.recall, one.f1, one.support) for one in found.labels.values()]
    assert np.allclose(ours, np.array(reference).T)
    matrix = confusion_matrix(truths, predictions, labels=[*labels, "z"])
    for row, truth in enumerate(labels):
        for column, said in enumerate([*labels, "z"]):
            assert found.confusion.get((truth, said), 0) == matrix[row][column]


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 1))
def test_quantiles_are_numpys(values: list[float], share: float) -> None:
    """By straight line between two values."""
    assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)), abs=1e-6)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1000).map(lambda number: number / 1000), st.booleans()), min_size=1))
def test_calibration_error_is_that_of_numpys_digitize(rows: list[tuple[float, bool]]) -> None:
    """Intervals that include their upper ends, weighted by rows."""
    confidences, right = np.array([one for one, _ in rows]), np.array([hit for _, hit in rows])
    places = np.digitize(confidences, np.arange(1, 10) / 10, right=True)

    gaps = [abs(confidences[places == one].sum() - right[places == one].sum()) for one in range(10)]

    assert expected_calibration_error(list(confidences), list(right)) == pytest.approx(sum(gaps) / len(rows))
    assert sum(one.rows for one in reliability(list(confidences), list(right))) == len(rows)


def test_the_most_confused_pairs_come_first() -> None:
    """Right answers are none of them."""
    found = score(["a", "a", "a", "b", "b"], ["b", "b", "a", None, "b"])

    assert most_confused(found, 5) == [("a", "b", 2), ("b", None, 1)]
    assert most_confused(found, 1) == [("a", "b", 2)]
