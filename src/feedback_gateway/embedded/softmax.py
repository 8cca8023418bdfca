"""Multinomial logistic regression by L-BFGS in numpy, and the temperature that calibrates it; no features."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Objective = Callable[[Array], tuple[float, Array]]

HISTORY = 30
TEMPERATURES = np.exp(np.linspace(np.log(0.1), np.log(10.0), 93))


def softmax(logits: Array) -> Array:
    """Row-wise probabilities, same shape as `logits`."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def fit_softmax(
    features: Array,
    targets: Array,
    *,
    row_weights: Array,
    strength: float,
    iterations: int = 300,
    tolerance: float = 1e-7,
) -> Array:
    """Weights, shape (columns + 1, classes), the last row being the intercept, which is not penalised.

    `features` (rows, columns); `targets` class indices (rows,); `strength` is scikit-learn's C. Minimises
    sum of weighted cross entropies + |W|² / (2 C), divided by the sum of row weights, until the largest
    gradient entry is below `tolerance`.
    """
    classes = int(targets.max()) + 1
    columns = features.shape[1]
    total = row_weights.sum()
    penalty = 1.0 / (strength * total)
    scale = (row_weights / total).astype(features.dtype)
    rows = np.arange(len(targets))

    def objective(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(columns + 1, classes)
        residual = softmax(features @ weights[:-1] + weights[-1])
        loss = -float(scale @ np.log(residual[rows, targets] + 1e-30))
        residual[rows, targets] -= 1.0
        residual *= scale[:, None]
        gradient = np.empty_like(weights)
        gradient[:-1] = features.T @ residual + penalty * weights[:-1]
        gradient[-1] = residual.sum(axis=0)
        return loss + 0.5 * penalty * float((weights[:-1] ** 2).sum()), gradient.ravel()

    start = np.zeros((columns + 1) * classes, dtype=features.dtype)
    return minimise(objective, start, iterations=iterations, tolerance=tolerance).reshape(columns + 1, classes)


def minimise(objective: Objective, point: Array, *, iterations: int, tolerance: float) -> Array:
    """Limited-memory BFGS with step halving (Nocedal and Wright, Numerical Optimization, algorithm 7.5).

    A step may raise the value by its rounding error, so that the gradient can fall as far as the numbers allow.
    """
    noise = 16 * float(np.finfo(point.dtype).eps)
    value, gradient = objective(point)
    steps: list[tuple[Array, Array]] = []
    for _ in range(iterations):
        if np.abs(gradient).max() < tolerance:
            break
        direction = _direction(gradient, steps)
        slope = float(direction @ gradient)
        if slope >= 0:
            steps, direction = [], -gradient
            slope = float(direction @ gradient)
        length = 1.0 if steps else min(1.0, 1.0 / float(np.abs(gradient).sum()))
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


def balanced_weights(targets: Array, classes: int) -> Array:
    """Row weights (rows,) under which each class weighs the same; they sum to the number of rows."""
    counts = np.bincount(targets, minlength=classes)
    return np.asarray((len(targets) / (max(1, int((counts > 0).sum())) * np.maximum(counts, 1)))[targets])


def _direction(gradient: Array, steps: list[tuple[Array, Array]]) -> Array:
    direction = -gradient
    if not steps:
        return np.asarray(direction)
    factors = []
    for moved, turned in reversed(steps):
        factor = float(moved @ direction) / float(moved @ turned)
        direction = direction - direction.dtype.type(factor) * turned
        factors.append(factor)
    moved, turned = steps[-1]
    direction = direction * direction.dtype.type(float(moved @ turned) / float(turned @ turned))
    for (moved, turned), factor in zip(steps, reversed(factors), strict=True):
        correction = factor - float(turned @ direction) / float(moved @ turned)
        direction = direction + direction.dtype.type(correction) * moved
    return np.asarray(direction)
