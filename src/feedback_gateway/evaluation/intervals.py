"""How sure a measured figure is: bounds of a proportion, intervals by resampling, a paired test. Knows no task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import comb

import numpy as np

LEVEL = 0.95
SAMPLES = 2_000
SEED = 20260101
MOST_LABELS_NEEDED = 10_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """Between `low` and `high` the figure lies with 95 % confidence."""

    low: float
    high: float


def lower_bound(right: int, rows: int, *, level: float = LEVEL) -> float:
    """The least share of right answers that `right` of `rows` are compatible with, one-sided.

    Clopper and Pearson (Biometrika 26, 1934): the beta quantile at 1 - level. 0 where none is right.
    """
    if not 0 <= right <= rows:
        raise ValueError("the right ones are some of the rows")
    if right == 0:
        return 0.0
    from scipy.special import betaincinv  # type: ignore[import-untyped]  # noqa: PLC0415 only measuring needs it

    return float(betaincinv(right, rows - right + 1, 1 - level))


def rows_needed(target: float, *, errors: int = 0, level: float = LEVEL) -> int:
    """The fewest rows whose lower bound reaches `target` with so many `errors` among them: 59, 93, 124 for 0.95."""
    return first_reaching(target, lambda rows: rows - errors, least=errors + 1, level=level) or 0


def rows_needed_at(target: float, share: float, *, level: float = LEVEL) -> int | None:
    """About the fewest rows whose lower bound reaches `target` where `share` is right, None where no number does."""
    if share <= target:
        return None
    return first_reaching(target, lambda rows: int(rows * share), least=1, level=level)


def first_reaching(target: float, right: Callable[[int], int], *, least: int, level: float) -> int | None:
    """The fewest rows, from `least` on, with which `right(rows)` right ones are enough; by doubling, then halving."""
    high = least
    while lower_bound(right(high), high, level=level) < target:
        high *= 2
        if high > MOST_LABELS_NEEDED:
            return None
    low = max(least, high // 2)
    while low < high:
        middle = (low + high) // 2
        if lower_bound(right(middle), middle, level=level) >= target:
            high = middle
        else:
            low = middle + 1
    return high


def least_review_share(accuracy: float, target: float) -> float:
    """The share of answers that a person must see so that the others can be right in `target` of the cases.

    With an error rate of mu and a target error rate of a it is (mu - a) / (1 - a): even who knows all the wrong answers
    must set that many aside. 0 where the answers are good enough as they are.
    """
    wrong, allowed = 1 - accuracy, 1 - target
    return max(0.0, (wrong - allowed) / (1 - allowed)) if allowed < 1 else 0.0


def mcnemar(worsened: int, improved: int) -> float:
    """The exact two-sided p of McNemar's paired test: how likely a split at least as uneven is by chance alone.

    Only rows on which the two differ count: each is a fair coin's throw if neither is better. 1 where there are none.
    """
    rows, fewer = worsened + improved, min(worsened, improved)
    tail = sum(comb(rows, count) for count in range(fewer + 1))
    return min(1.0, float(2 * tail / 2**rows))


def resampled(
    confusion: Mapping[tuple[str, str | None], int], *, samples: int = SAMPLES, seed: int = SEED
) -> tuple[Interval, Interval]:
    """The intervals of accuracy and of macro-F1, by the bias-corrected bootstrap (Efron 1987), the same every time.

    Rows with the same truth and answer cannot be told apart, so that drawing rows with replacement is one multinomial
    draw over the cells of the confusion matrix. Macro-F1 is over the labels that are true in the sample.
    """
    rows = sum(confusion.values())
    if not rows:
        return Interval(0.0, 0.0), Interval(0.0, 0.0)
    cells = sorted(confusion, key=lambda cell: (cell[0], cell[1] or ""))
    labels = sorted({truth for truth, _ in cells})
    measured = np.array([confusion[cell] for cell in cells])
    drawn = np.random.default_rng(seed).multinomial(rows, measured / rows, size=samples)
    counts = np.vstack([drawn, measured])
    true = counts @ np.array([[truth == label for label in labels] for truth, _ in cells], dtype=int)
    said = counts @ np.array([[answer == label for label in labels] for _, answer in cells], dtype=int)
    right = counts @ np.array([[truth == label == answer for label in labels] for truth, answer in cells], dtype=int)
    f1 = 2 * right / np.maximum(1, true + said)
    macro = f1.sum(axis=1, where=true > 0) / (true > 0).sum(axis=1)
    accuracy = right.sum(axis=1) / rows
    return middle(accuracy[:-1], accuracy[-1]), middle(macro[:-1], macro[-1])


def middle(values: "np.typing.NDArray[np.float64]", measured: float) -> Interval:
    """Where the middle 95 % of the values would lie if they were spread evenly around what was measured.

    Labels with few rows lose more in macro-F1 than they gain when rows are drawn: plain percentiles lie too low.
    """
    from scipy.special import ndtr, ndtri  # noqa: PLC0415 only measuring needs it

    below = (np.sum(values < measured) + np.sum(values == measured) / 2) / len(values)
    shift = ndtri(np.clip(below, 1 / (2 * len(values)), 1 - 1 / (2 * len(values))))
    ends = ndtri([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = np.quantile(values, ndtr(2 * shift + ends))
    return Interval(float(low), float(high))
