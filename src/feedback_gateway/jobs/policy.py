"""What becomes of a run that gave no answer: tried again, when, and who else waits as long, or given up. Pure."""

from feedback_gateway import errors
from feedback_gateway.jobs.models import Later, Never, Outcome

SHORTEST_S = 2.0
LONGEST_S = 300.0
MONEY_S = 900.0
"""How often somebody without money is asked again."""
DOUBTFUL_TRIES = 3
"""How often what costs money each time, or is a fault of ours, is tried."""


def outcome_of(error: errors.GatewayError, *, tries: int) -> Outcome:
    """What to do after `error`, with `tries` made before; `held` tells whose limit it was."""
    problem = f"{error.code}: {error.detail}"
    if not is_passing(error, tries=tries):
        return Never(problem=problem)
    if isinstance(error, errors.BudgetExceeded):
        return Later(seconds=error.retry_after or MONEY_S, problem=problem, held="consumer")
    if isinstance(error, errors.RateLimited | errors.CoolingDown):
        is_own = isinstance(error, errors.RateLimited) and error.scope == "consumer"
        seconds = error.retry_after or growing(tries)
        return Later(seconds=seconds, problem=problem, held="consumer" if is_own else "everybody")
    return Later(seconds=max(error.retry_after or 0, growing(tries)), problem=problem)


def is_passing(error: errors.GatewayError, *, tries: int) -> bool:
    """Whether another try may help, and is worth what it costs."""
    if isinstance(error, errors.InvalidModelOutput) or type(error) is errors.GatewayError:
        return tries + 1 < DOUBTFUL_TRIES
    return error.retryable or isinstance(error, errors.BudgetExceeded | errors.ConfigurationError)


def growing(tries: int) -> float:
    """Seconds until the next try: twice as many each time, up to LONGEST_S."""
    return float(min(SHORTEST_S * 2 ** min(tries, 20), LONGEST_S))
