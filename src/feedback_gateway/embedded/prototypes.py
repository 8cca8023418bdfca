"""Labels as points among sentence vectors: what their description says, pulled to where their examples lie.

For labels with few examples or none beside others that have some, where learned weights go wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from feedback_gateway.embedded.embedders import unit_rows
from feedback_gateway.embedded.softmax import fit_temperature, softmax

Array = npt.NDArray[Any]

DESCRIBED = 2.0
"""How many examples a description counts as."""
PRIOR = 10.0
"""Examples from which half of their common part is taken away."""
SHARPNESS = 14.0
"""Turns cosines into logits where there are too few examples to measure it."""
FEWEST_MEASURED = 20


@dataclass(frozen=True, slots=True)
class Prototypes:
    """One unit row a label, shape (labels, dimensions), and what all texts of this kind have in common.

    Real texts resemble each other more than they resemble any description. Without that common part taken away from
    both, a label with one example would win every text from those that have none.
    """

    rows: Array
    common: Array
    sharpness: float

    @classmethod
    def of(cls, described: Array, vectors: Array, targets: Sequence[int]) -> "Prototypes":
        """From a unit row a label, and those of the examples with the label of each."""
        places = np.asarray(targets, dtype=int)
        share = len(places) / (len(places) + PRIOR)
        common = share * vectors.mean(axis=0)
        examples = unit_rows(vectors - common)
        sums = DESCRIBED * unit_rows(described - share * described.mean(axis=0))
        np.add.at(sums, places, examples)
        return cls(unit_rows(sums), common, measured_sharpness(sums, examples, places))

    def predict(self, vector: Array) -> Array:
        """Probabilities, shape (labels,), of a text with this sentence vector."""
        text = unit_rows((vector - self.common)[None])[0]
        return softmax(np.asarray(self.sharpness * (self.rows @ text), dtype=np.float64))


def measured_sharpness(sums: Array, examples: Array, places: Array) -> float:
    """What makes the shares of the examples fit, each held against prototypes without itself."""
    if len(places) < FEWEST_MEASURED:
        return SHARPNESS
    cosines = examples @ unit_rows(sums).T
    own = unit_rows(sums[places] - examples)
    cosines[np.arange(len(places)), places] = np.sum(own * examples, axis=1)
    return SHARPNESS / fit_temperature(SHARPNESS * cosines.astype(np.float64), places)
