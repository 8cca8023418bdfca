"""Where two versions answer differently: label by label, with the rate at which they agree. Pure but for its input."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from feedback_gateway.calls.pairs import Pair
from feedback_gateway.feedback.agreement import wilson
from feedback_gateway.tasks.labels import MISSING, differing_labels


@dataclass(slots=True, kw_only=True)
class FieldCount:
    """How often one label was compared and how often it differed; `changes` counts pairs of values."""

    compared: int = 0
    differ: int = 0
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(slots=True, kw_only=True)
class Comparison:
    """Two versions, each with its alias, over the pairs of one purpose.

    Of `pairs`, `failed` had no second answer and `unknown` no stored results; `compared` is what is left.
    """

    purpose: str
    versions: tuple[int, int]
    models: tuple[str, str]
    pairs: int = 0
    failed: int = 0
    unknown: int = 0
    compared: int = 0
    agreed: int = 0
    fields: dict[str, FieldCount] = field(default_factory=dict)

    @property
    def agreement(self) -> float | None:
        """The share of the compared items with the same value in every label."""
        return self.agreed / self.compared if self.compared else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its 95 % interval."""
        return wilson(self.agreed, self.compared)


@dataclass(frozen=True, slots=True)
class Difference:
    """A pair, and the labels in which it differs."""

    pair: Pair
    fields: tuple[str, ...]


@dataclass(slots=True)
class Disagreements:
    """What was counted of these `labels`, and the first `most` pairs that differ."""

    labels: tuple[str, ...]
    most: int
    comparisons: dict[tuple[Any, ...], Comparison] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)

    def add(self, pairs: Iterable[Pair]) -> "Disagreements":
        """Count pairs."""
        for pair in pairs:
            key = (pair.purpose, pair.answered.version, pair.beside.version, pair.answered.model, pair.beside.model)
            found = self.comparisons.get(key) or self.comparisons.setdefault(
                key, Comparison(purpose=key[0], versions=key[1:3], models=key[3:5])
            )
            differing = count(found, pair, self.labels)
            if differing and len(self.differences) < self.most:
                self.differences.append(Difference(pair, differing))
        return self

    @property
    def uncompared(self) -> int:
        """Pairs whose results the log does not have."""
        return sum(one.unknown for one in self.comparisons.values())


def count(found: Comparison, pair: Pair, labels: Iterable[str]) -> tuple[str, ...]:
    """Count one pair; the labels in which it differs."""
    found.pairs += 1
    if pair.beside.status != "ok":
        found.failed += 1
        return ()
    if pair.answered.result is None or pair.beside.result is None:
        found.unknown += 1
        return ()
    differing = differing_labels(pair.answered.result, pair.beside.result, labels)
    found.compared += 1
    found.agreed += not any(left != right for left, right in differing.values())
    for name, (one, other) in differing.items():
        counted = found.fields.setdefault(name, FieldCount())
        counted.compared += 1
        if one != other:
            counted.differ += 1
            counted.changes[one or MISSING, other or MISSING] += 1
    return tuple(name for name, (left, right) in differing.items() if left != right)
