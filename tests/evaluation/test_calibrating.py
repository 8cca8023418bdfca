"""From a run to a calibration."""

import random

import pytest

from feedback_gateway.errors import ConfigurationError
from feedback_gateway.evaluation.calibrating import calibrate
from feedback_gateway.evaluation.runner import Run
from tests.evaluation.runs import answered, failed, run_of


def overconfident(rows: int, *, deployments: tuple[str, ...] = ("openai/scripted",)) -> Run:
    """A run whose answers claim c and are right with probability c²."""
    chance = random.Random(11)
    outcomes = []
    for number in range(rows):
        claim = chance.uniform(0.3, 1)
        label = "a" if chance.random() < claim**2 else "b"
        deployment = deployments[number % len(deployments)]
        outcomes.append(answered({"category": label}, claim=claim, deployment=deployment))
    return run_of([(f"text {number}", "a") for number in range(rows)], outcomes)


def test_the_calibration_names_what_it_holds_for_and_is_measured_on_other_rows() -> None:
    """Error before and after, on the half that fitted nothing."""
    found = calibrate(overconfident(2000), target=0.8)

    calibration = found.calibration
    assert calibration.key == ("categorize", 1, "openai/scripted", "000000000000")
    assert found.claimed_error > 0.1
    assert found.mapped_error <= 0.05
    assert (found.fitted, found.certificate.rows) == (1000, 1000)
    assert sum(one.rows for one in found.mapped_bins) == 1000
    assert calibration.measured["calibration_error_mapped"] == round(found.mapped_error, 4)


def test_the_threshold_of_the_file_is_the_certified_one() -> None:
    """And none where none was."""
    good, poor = calibrate(overconfident(2000), target=0.8), calibrate(overconfident(40), target=0.95)

    assert good.certificate.certified is not None
    assert good.calibration.review_below == good.certificate.certified.threshold
    assert poor.calibration.review_below is None


def test_answers_of_several_deployments_are_not_mixed() -> None:
    """A mapping is one model's."""
    with pytest.raises(ConfigurationError, match=r"several deployments answered \(x/one, y/two\)"):
        calibrate(overconfident(40, deployments=("x/one", "y/two")), target=0.9)


def test_what_cannot_be_calibrated_is_told() -> None:
    """No confidence, too few rows, no answers."""
    silent = run_of([("t", "a")] * 30, [answered({"category": "a"})] * 30)
    with pytest.raises(ConfigurationError, match="state no confidence"):
        calibrate(silent, target=0.9)
    with pytest.raises(ConfigurationError, match="10 labelled rows are too few"):
        calibrate(overconfident(10), target=0.9)
    with pytest.raises(ConfigurationError, match="all 3 rows failed"):
        calibrate(run_of([("t", "a")] * 3, [failed()] * 3), target=0.9)
