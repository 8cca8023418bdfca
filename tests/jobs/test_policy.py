"""What becomes of a run that gave no answer."""

import pytest

from feedback_gateway import errors
from feedback_gateway.jobs.models import Later, Never
from feedback_gateway.jobs.policy import LONGEST_S, growing, outcome_of


def limited(scope: str, *, retryable: bool = True) -> errors.RateLimited:
    """A used-up limit that gives way in 7 s."""
    return errors.RateLimited(
        "full",
        source="gateway",
        scope=scope,  # type: ignore[arg-type]
        name="x",
        retryable=retryable,
        retry_after=7,
    )


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (limited("consumer"), Later(seconds=7, problem="rate-limited: full", held="consumer")),
        (limited("deployment"), Later(seconds=7, problem="rate-limited: full", held="everybody")),
        (limited("provider"), Later(seconds=7, problem="rate-limited: full", held="everybody")),
        (limited("consumer", retryable=False), Never(problem="rate-limited: full")),
        (errors.CoolingDown("ill", retry_after=3), Later(seconds=3, problem="unavailable: ill", held="everybody")),
        (errors.BudgetExceeded("poor"), Later(seconds=900, problem="budget-exceeded: poor", held="consumer")),
        (
            errors.BudgetExceeded("busy", retry_after=1),
            Later(seconds=1, problem="budget-exceeded: busy", held="consumer"),
        ),
        (errors.Unavailable("down"), Later(seconds=2, problem="unavailable: down")),
        (errors.DeadlineExceeded("late"), Later(seconds=2, problem="deadline-exceeded: late")),
        (errors.ProviderFailed("no", retryable=True), Later(seconds=2, problem="provider-failed: no")),
        (errors.ProviderFailed("no", retryable=False), Never(problem="provider-failed: no")),
        (errors.Forbidden("no"), Never(problem="forbidden: no")),
        (errors.InvalidRequest("bad"), Never(problem="invalid-request: bad")),
        (errors.InvalidModelOutput("odd"), Later(seconds=2, problem="invalid-model-output: odd")),
        (errors.GatewayError("fault"), Later(seconds=2, problem="internal: fault")),
    ],
)
def test_each_failure_has_its_outcome(error: errors.GatewayError, outcome: Later | Never) -> None:
    """What passes is tried again when it has, what does not is given up, and whose limit it was has to wait."""
    assert outcome_of(error, tries=0) == outcome


@pytest.mark.parametrize("error", [errors.InvalidModelOutput("odd"), errors.GatewayError("fault")])
def test_what_costs_money_each_time_is_given_up(error: errors.GatewayError) -> None:
    """At the third try; an outage is waited out however long it is."""
    assert isinstance(outcome_of(error, tries=1), Later)
    assert isinstance(outcome_of(error, tries=2), Never)
    assert isinstance(outcome_of(errors.Unavailable("down"), tries=1_000), Later)


def test_waits_grow_to_a_bound() -> None:
    """Twice as long each time."""
    waits = [growing(tries) for tries in range(100)]

    assert waits[:4] == [2, 4, 8, 16]
    assert max(waits) == waits[-1] == LONGEST_S
