"""Fits the mapping from a claimed confidence to the share of right answers, from labelled rows; applies nothing."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Literal, TypeVar

import numpy as np

from feedback_gateway.evaluation.thresholds import Believed

Method = Literal["isotonic", "platt"]
Points = tuple[tuple[float, float], ...]
T = TypeVar("T")

SEED = 20260101
GRID = 101
FOLDS = 5


def halves(rows: Sequence[T], *, seed: int = SEED) -> tuple[list[T], list[T]]:
    """Two halves of the rows, drawn by a fixed seed; the second one has the odd row."""
    order = list(range(len(rows)))
    Random(seed).shuffle(order)  # noqa: S311 a sample, no secret
    middle = len(rows) // 2
    return [rows[index] for index in order[:middle]], [rows[index] for index in order[middle:]]


def fit(rows: Sequence[Believed], *, method: Method | None = None) -> Points:
    """Points that rise in both, the second of them never 0 or 1: so few rows prove neither.

    Raises ValueError for no rows.
    """
    if not rows:
        raise ValueError("there must be rows to learn from")
    least = 1 / (len(rows) + 2)
    right = sum(hit for _, hit in rows)
    if right in {0, len(rows)}:  # nothing tells right from wrong: one share for all (Laplace's rule)
        return ((0.5, (right + 1) / (len(rows) + 2)),)
    points = FITS[method or likelier(rows)](rows)
    return tuple((claimed, min(1 - least, max(least, share))) for claimed, share in points)


def likelier(rows: Sequence[Believed]) -> Method:
    """The method under which rows that it has not seen are likelier, by cross-validation; steps need many rows."""
    losses: dict[Method, float] = {}
    for method, fitted in FITS.items():
        losses[method] = 0.0
        for fold in range(FOLDS):
            seen = [row for index, row in enumerate(rows) if index % FOLDS != fold]
            if len({hit for _, hit in seen}) < 2:  # noqa: PLR2004 right and wrong
                return "platt"
            claimed, shares = zip(*fitted(seen), strict=True)
            for confidence, hit in rows[fold::FOLDS]:
                share = float(np.clip(np.interp(confidence, claimed, shares), 1 / len(seen), 1 - 1 / len(seen)))
                losses[method] -= float(np.log(share if hit else 1 - share))
    return "isotonic" if losses["isotonic"] < losses["platt"] else "platt"


def isotonic(rows: Sequence[Believed]) -> Points:
    """The rising steps nearest to the rows, joined by straight lines (Zadrozny and Elkan 2002)."""
    from sklearn.isotonic import IsotonicRegression  # type: ignore[import-untyped]  # noqa: PLC0415 only fitting needs it

    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    model.fit([confidence for confidence, _ in rows], [float(hit) for _, hit in rows])
    return tuple(zip(map(float, model.X_thresholds_), map(float, model.y_thresholds_), strict=True))


def platt(rows: Sequence[Believed]) -> Points:
    """A logistic curve over the claim's log odds (Platt 1999), as points; flat where it would fall."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # noqa: PLC0415 likewise

    claims = log_odds(np.array([confidence for confidence, _ in rows]))
    model = LogisticRegression(C=1e6).fit(claims.reshape(-1, 1), [hit for _, hit in rows])
    grid = np.unique(np.concatenate([np.linspace(0, 1, GRID), 1 - np.geomspace(1e-4, 1e-2, 20)]))
    shares = model.predict_proba(log_odds(grid).reshape(-1, 1))[:, 1]
    if shares[-1] < shares[0]:
        shares = np.full_like(shares, sum(hit for _, hit in rows) / len(rows))
    return tuple(zip(map(float, grid), map(float, np.maximum.accumulate(shares)), strict=True))


FITS: Mapping[Method, Callable[[Sequence[Believed]], Points]] = {"platt": platt, "isotonic": isotonic}


def log_odds(confidences: "np.typing.NDArray[np.float64]") -> "np.typing.NDArray[np.float64]":
    """The logarithm of p / (1 - p), of a p that is kept off both ends."""
    inside = np.clip(confidences, 1e-4, 1 - 1e-4)
    found: np.typing.NDArray[np.float64] = np.log(inside / (1 - inside))
    return found
