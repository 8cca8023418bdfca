"""From one run to a calibration: half of its rows fit the mapping, the others tell what it is worth."""

from collections.abc import Sequence
from dataclasses import dataclass

from feedback_gateway.errors import ConfigurationError
from feedback_gateway.evaluation.figures import beliefs, error_of, predicted
from feedback_gateway.evaluation.fitting import Method, fit, halves
from feedback_gateway.evaluation.metrics import Bin, reliability
from feedback_gateway.evaluation.runner import Run
from feedback_gateway.evaluation.thresholds import Believed, Certificate, certify
from feedback_gateway.tasks.calibration import DIGITS, Calibration
from feedback_gateway.tasks.models import Answer

LEAST_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A calibration with what it was measured to be worth, all of it on rows that it was not fitted on.

    `claimed_error` is the calibration error of the confidence as the model claims it, `mapped_error` after the mapping;
    `claimed_bins` and `mapped_bins` show them.
    """

    calibration: Calibration
    certificate: Certificate
    fitted: int
    claimed_error: float
    mapped_error: float
    claimed_bins: Sequence[Bin]
    mapped_bins: Sequence[Bin]


def calibrate(run: Run, *, target: float, method: Method | None = None) -> Finding:
    """Fit, certify and measure. Raises ConfigurationError where the run's answers do not allow it."""
    answers = [outcome for outcome in run.outcomes if isinstance(outcome, Answer)]
    right = [row.label == answer for row, answer in zip(run.rows, predicted(run), strict=True)]
    believed = beliefs(run, right, claimed=True)
    require_confidence(run, believed)
    asked = {(one.prompt_version, one.deployment, one.taxonomy_version) for one in answers}
    if len(asked) > 1:
        names = ", ".join(sorted(deployment for _, deployment, _ in asked))
        raise ConfigurationError(f"several deployments answered ({names}): name an alias of one of them in --model")
    fitting, testing = halves(believed)
    points = fit(fitting, method=method)
    ((version, deployment, taxonomy_version),) = asked
    mapping = Calibration(
        task=run.dataset.task,
        prompt_version=version,
        deployment=deployment,
        taxonomy_version=taxonomy_version,
        points=points,
    )
    certificate = certify(mapped(mapping, fitting), after := mapped(mapping, testing), target=target)
    certified = certificate.certified
    measured = {
        "target": target,
        "rows_fitted": len(fitting),
        "rows_tested": len(testing),
        "calibration_error_claimed": round(error_of(testing), DIGITS),
        "calibration_error_mapped": round(error_of(after), DIGITS),
    }
    if certified is not None:
        measured |= {"accepted": certified.rows, "right": certified.right, "bound": round(certified.bound, DIGITS)}
    return Finding(
        calibration=mapping.model_copy(
            update={"review_below": certified and certified.threshold, "measured": measured},
        ),
        certificate=certificate,
        fitted=len(fitting),
        claimed_error=error_of(testing),
        mapped_error=error_of(after),
        claimed_bins=bins_of(testing),
        mapped_bins=bins_of(after),
    )


def require_confidence(run: Run, believed: Sequence[Believed]) -> None:
    """Raise ConfigurationError unless enough answers say how sure they are."""
    if not believed:
        failed = sum(not isinstance(outcome, Answer) for outcome in run.outcomes)
        if failed == len(run.outcomes):
            raise ConfigurationError(f"all {failed} rows failed; measure the task with prompts eval first")
        raise ConfigurationError(
            f"answers of {run.dataset.task} state no confidence in the label; classify and categorize do"
        )
    if len(believed) < LEAST_ROWS:
        raise ConfigurationError(f"{len(believed)} labelled rows are too few to calibrate; {LEAST_ROWS} are the least")


def mapped(calibration: Calibration, rows: Sequence[Believed]) -> list[Believed]:
    """The rows with the confidence that is returned."""
    return [(calibration.map(confidence), right) for confidence, right in rows]


def bins_of(rows: Sequence[Believed]) -> list[Bin]:
    """The rows by intervals of confidence."""
    return reliability([confidence for confidence, _ in rows], [right for _, right in rows])
