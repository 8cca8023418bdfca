"""Mappings from claimed confidence to the share that is right."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback_gateway.evaluation.fitting import Method, fit, halves
from feedback_gateway.evaluation.metrics import expected_calibration_error
from feedback_gateway.evaluation.thresholds import Believed
from feedback_gateway.tasks.calibration import Calibration


def mapping(rows: list[Believed], method: Method | None = None) -> Calibration:
    """What is fitted, as it is applied."""
    points = fit(rows, method=method)
    return Calibration(task="t", prompt_version=1, deployment="d", taxonomy_version="v", points=points)


def overconfident(chance: random.Random, rows: int) -> list[Believed]:
    """Rows that claim c and are right with probability c²."""
    return [(confidence := chance.uniform(0.3, 1), chance.random() < confidence**2) for _ in range(rows)]


def error(rows: list[Believed], through: Calibration | None = None) -> float:
    """The calibration error of rows, before or after a mapping."""
    confidences = [confidence if through is None else through.map(confidence) for confidence, _ in rows]
    return expected_calibration_error(confidences, [right for _, right in rows])


@pytest.mark.parametrize("method", ["platt", "isotonic", None])
def test_an_overconfident_claim_is_mapped_to_what_it_is_worth(method: Method | None) -> None:
    """On rows that it was not fitted on the error is under 0.05."""
    chance = random.Random(5)
    fitted = mapping(overconfident(chance, 2000), method)
    others = overconfident(chance, 4000)

    assert error(others) > 0.1
    assert error(others, fitted) <= 0.05


def test_steps_are_found_where_no_curve_fits() -> None:
    """Right in nine cases of ten between 0.4 and 0.6 and from 0.6 on, in one of ten under 0.4."""
    chance = random.Random(5)
    rows = [(c := chance.random(), chance.random() < (0.9 if c > 0.4 else 0.1)) for _ in range(3000)]

    assert fit(rows) == fit(rows, method="isotonic")


def test_claims_that_say_the_contrary_are_worth_the_share_of_all() -> None:
    """A curve that falls would put the worst first."""
    rows = [(0.9, False), (0.8, False), (0.2, True), (0.1, True)] * 10

    assert {round(share, 6) for _, share in fit(rows, method="platt")} == {0.5}


def test_rows_that_are_all_right_do_not_make_certain() -> None:
    """Laplace's rule: 11 of 12 for ten of ten."""
    assert fit([(0.7, True)] * 10) == ((0.5, 11 / 12),)


def test_nothing_is_learned_from_nothing() -> None:
    """It is refused."""
    with pytest.raises(ValueError, match="must be rows"):
        fit([])


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40), st.sampled_from([None, "platt"]))
def test_whatever_the_rows_a_mapping_comes_of_them(rows: list[Believed], method: Method | None) -> None:
    """It rises, and is never certain."""
    fitted = mapping(rows, method)

    shares = [fitted.map(number / 20) for number in range(21)]
    assert shares == sorted(shares)
    assert 0 < shares[0] <= shares[-1] < 1


@settings(deadline=None)
@given(st.lists(st.integers()))
def test_halves_are_all_of_the_rows_the_same_way_every_time(rows: list[int]) -> None:
    """None twice."""
    first, second = halves(rows)

    assert sorted([*first, *second]) == sorted(rows)
    assert len(second) - len(first) in {0, 1}
    assert (first, second) == halves(rows)
