"""Multinomial logistic regression by L-BFGS in numpy, and the temperature that calibrates it; no features."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Objective = Callable[[Array], tuple[float, Array]]
Scale = Callable[[Array], Array]

HISTORY = 30
TEMPERATURES = np.exp(np.linspace(np.log(0.1), np.log(10.0), 93))


def softmax(logits: Array) -> Array:
    """Row-wise probabilities, same shape as `logits`."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def fit_softmax(
    features: Array,
    masses: Array,
    *,
    strength: float,
    iterations: int = 300,
    tolerance: float = 1e-7,
    metric: Array | None = None,
) -> Array:
    """Weights, shape (columns + 1, classes), the last row being the intercept, which is not penalised.

    `features` (rows, columns); `masses` (rows, classes) says how much each row speaks for each class, so that a row
    that people disagree about teaches the disagreement; `strength` is scikit-learn's C. Minimises the sum of
    weighted cross entropies + |W|² / (2 C), divided by the sum of masses, until the largest gradient entry is
    below `tolerance`. `metric` is `inverse_curvature`, worth its cost where the tolerance is small.
    """
    classes = masses.shape[1]
    columns = features.shape[1]
    total = masses.sum()
    penalty = 1.0 / (strength * total)
    shares = (masses / total).astype(features.dtype)
    scale = shares.sum(axis=1, keepdims=True)

    def objective(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(columns + 1, classes)
        residual = softmax(features @ weights[:-1] + weights[-1])
        loss = -float((shares * np.log(residual + 1e-30)).sum())
        residual = residual * scale - shares
        gradient = np.empty_like(weights)
        gradient[:-1] = features.T @ residual + penalty * weights[:-1]
        gradient[-1] = residual.sum(axis=0)
        return loss + 0.5 * penalty * float((weights[:-1] ** 2).sum()), gradient.ravel()

    def scaled(flat: Array) -> Array:
        return flat if metric is None else np.asarray(metric @ flat.reshape(columns + 1, classes)).ravel()

    start = np.zeros((columns + 1) * classes, dtype=features.dtype)
    found = minimise(objective, start, iterations=iterations, tolerance=tolerance, metric=scaled)
    return found.reshape(columns + 1, classes)


def inverse_curvature(features: Array, masses: Array, *, strength: float) -> Array:
    """Inverse of a bound on the curvature of `fit_softmax`'s objective (Böhning 1992), square, columns + 1 rows."""
    total = masses.sum()
    whole = np.hstack([features, np.ones((len(features), 1))])
    bound = 0.5 * (whole * (masses.sum(axis=1, keepdims=True) / total)).T @ whole
    penalty = np.full(len(bound), 1.0 / (strength * total))
    penalty[-1] = 0.0
    return np.asarray(np.linalg.inv(bound + np.diag(penalty)))


def minimise(objective: Objective, point: Array, *, iterations: int, tolerance: float, metric: Scale) -> Array:
    """Limited-memory BFGS with step halving (Nocedal and Wright, Numerical Optimization, algorithm 7.5).

    `metric` multiplies by a guess of the inverse curvature; the identity will do.

    A step may raise the value by its rounding error, so that the gradient can fall as far as the numbers allow.
    """
    noise = 16 * float(np.finfo(point.dtype).eps)
    value, gradient = objective(point)
    steps: list[tuple[Array, Array]] = []
    for _ in range(iterations):
        if np.abs(gradient).max() < tolerance:
            break
        direction = _direction(gradient, steps, metric)
        slope = float(direction @ gradient)
        if slope >= 0:
            steps, direction = [], -metric(gradient)
            slope = float(direction @ gradient)
        length = 1.0 if steps else min(1.0, 1.0 / float(np.abs(direction).sum()))
        for _halving in range(40):
            candidate = point + point.dtype.type(length) * direction
            new_value, new_gradient = objective(candidate)
            if new_value <= value + 1e-4 * length * slope + noise * abs(value):
                break
            length *= 0.5
        else:
            break
        moved, turned = candidate - point, new_gradient - gradient
        if float(moved @ turned) > 0:
            steps = [*steps, (moved, turned)][-HISTORY:]
        point, value, gradient = candidate, new_value, new_gradient
    return point


def fit_temperature(logits: Array, targets: Array) -> float:
    """The divisor of `logits` (rows, classes) with the least cross entropy to `targets`, from a fixed grid."""
    rows = np.arange(len(targets))
    losses = [-np.log(softmax(logits / t)[rows, targets] + 1e-12).mean() for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def balanced(masses: Array) -> Array:
    """`masses` (rows, classes) scaled by class, so that each class that occurs weighs the same; their sum stays."""
    by_class = masses.sum(axis=0)
    present = max(1, int((by_class > 0).sum()))
    return np.asarray(masses * (by_class.sum() / (present * np.where(by_class > 0, by_class, 1.0))))


def one_hot(targets: Array, classes: int) -> Array:
    """Masses of rows that belong to one class each: 1 there, 0 elsewhere, shape (rows, classes)."""
    return np.eye(classes)[targets]


def _direction(gradient: Array, steps: list[tuple[Array, Array]], metric: Scale) -> Array:
    direction = -gradient
    if not steps:
        return metric(direction)
    factors = []
    for moved, turned in reversed(steps):
        factor = float(moved @ direction) / float(moved @ turned)
        direction = direction - direction.dtype.type(factor) * turned
        factors.append(factor)
    moved, turned = steps[-1]
    direction = metric(direction) * direction.dtype.type(float(moved @ turned) / float(turned @ metric(turned)))
    for (moved, turned), factor in zip(steps, reversed(factors), strict=True):
        correction = factor - float(turned @ direction) / float(moved @ turned)
        direction = direction + direction.dtype.type(correction) * moved
    return np.asarray(direction)
