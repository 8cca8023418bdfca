"""A classifier learned in seconds from a team's labelled examples: n-grams and sentence vectors, logistic regression.

Learned in the space of the examples (a Cholesky factor of their Gram matrix), so that the vocabulary's size costs
nothing. Probabilities are calibrated by cross-validation on the examples. Knows labels, not what they mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from feedback_gateway.embedded.embedders import Embedder
from feedback_gateway.embedded.ngrams import Counts, Rows, Vocabulary, count, gram
from feedback_gateway.embedded.softmax import balanced, fit_softmax, fit_temperature, one_hot, softmax
from feedback_gateway.embedded.text import clean

Array = npt.NDArray[Any]

MOST_EXAMPLES = 3_000
"""Examples that are learned from; of more, the first ones of each label in turn."""
MOST_WEIGHTS = 4_000_000
FOLDS = 3
FEW = 40
"""Examples a label up to which the sentence vector counts more and the weights are held less tightly."""
DEFAULT_TEMPERATURE = 0.7
CROSS_VALIDATED = 500_000_000
"""Examples² times labels up to which the temperature is measured; above, learning three more times takes too long."""


@dataclass(frozen=True, slots=True)
class Example:
    """A text that the team labelled."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class FewShotHead:
    """Learned weights; `predict` is pure numpy and safe in threads."""

    labels: tuple[str, ...]
    vocabulary: Vocabulary
    by_column: Array
    by_dimension: Array
    intercept: Array
    temperature: float

    @classmethod
    def learn(cls, examples: Sequence[Example], embedder: Embedder) -> "FewShotHead":
        """Learn from at least one example; labels keep the order of their first example."""
        chosen = _spread(examples)
        labels = tuple(dict.fromkeys(example.label for example in chosen))
        targets = np.array([labels.index(example.label) for example in chosen])
        texts = [clean(example.text) for example in chosen]
        few = len(chosen) <= FEW * len(labels)
        vectors = embedder.embed(texts) * np.float32(1.5 if few else 1.0)
        counts = [count(text) for text in texts]
        vocabulary = Vocabulary.learn(counts)
        matrix = vocabulary.matrix(counts)
        kernel = gram(matrix) + vectors @ vectors.T
        strength = 10.0 if few else 3.0
        dual, intercept = _learn(kernel, targets, len(labels), strength=strength)
        vocabulary, by_column = _primal(vocabulary, matrix, dual)
        return cls(
            labels=labels,
            vocabulary=vocabulary,
            by_column=by_column,
            by_dimension=(vectors.T @ dual * (1.5 if few else 1.0)).astype(np.float32),
            intercept=intercept,
            temperature=_temperature(kernel, targets, len(labels), strength=strength),
        )

    def predict(self, text: str, vector: Array) -> Array:
        """Calibrated probabilities, shape (labels,), of a cleaned text with its embedding."""
        columns, values = self.vocabulary.weigh(count(text))
        logits = values @ self.by_column[columns] + vector @ self.by_dimension + self.intercept
        return softmax(np.asarray(logits, dtype=np.float64) / self.temperature)

    def support(self, text: str, label: str) -> float:
        """How much the words of `text` speak for `label`; comparable within one text only."""
        words: Counts = count(text)
        columns, values = self.vocabulary.weigh(words)
        return float(values @ self.by_column[columns, self.labels.index(label)])


def _spread(examples: Sequence[Example]) -> list[Example]:
    if len(examples) <= MOST_EXAMPLES:
        return list(examples)
    by_label: dict[str, list[Example]] = {}
    for example in examples:
        by_label.setdefault(example.label, []).append(example)
    turns = max(len(held) for held in by_label.values())
    mixed = [held[turn] for turn in range(turns) for held in by_label.values() if turn < len(held)]
    return mixed[:MOST_EXAMPLES]


def _learn(kernel: Array, targets: Array, labels: int, *, strength: float) -> tuple[Array, Array]:
    """Dual weights (examples, labels) and intercept (labels,)."""
    factor = np.linalg.cholesky(kernel.astype(np.float64) + 0.01 * np.eye(len(kernel))).astype(np.float32)
    weights = fit_softmax(
        factor,
        balanced(one_hot(targets, labels)),
        strength=strength,
        iterations=100,
        tolerance=1e-5,
    )
    return np.linalg.solve(factor.T, weights[:-1]), weights[-1]


def _temperature(kernel: Array, targets: Array, labels: int, *, strength: float) -> float:
    if len(targets) < 2 * FOLDS or labels == 1 or len(targets) ** 2 * labels > CROSS_VALIDATED:
        return DEFAULT_TEMPERATURE
    turn = np.zeros(len(targets), dtype=int)
    for label in range(labels):
        members = np.flatnonzero(targets == label)
        turn[members] = np.arange(len(members)) % FOLDS
    logits, truths = [], []
    for fold in range(FOLDS):
        seen, unseen = np.flatnonzero(turn != fold), np.flatnonzero(turn == fold)
        present, renumbered = np.unique(targets[seen], return_inverse=True)
        unseen = unseen[np.isin(targets[unseen], present)]
        if not len(unseen) or len(present) == 1:
            continue
        dual, intercept = _learn(kernel[np.ix_(seen, seen)], renumbered, len(present), strength=strength)
        full = np.full((len(unseen), labels), -30.0)
        full[:, present] = kernel[np.ix_(unseen, seen)] @ dual + intercept
        logits.append(full)
        truths.append(targets[unseen])
    if not logits:
        return DEFAULT_TEMPERATURE
    return fit_temperature(np.vstack(logits), np.concatenate(truths))


def _primal(vocabulary: Vocabulary, matrix: Rows, dual: Array) -> tuple[Vocabulary, Array]:
    """Weights by column, shape (columns, labels), of the most frequent columns that fit the memory."""
    room = max(1, MOST_WEIGHTS // dual.shape[1])
    if len(vocabulary.hashes) > room:
        kept = np.sort(np.argsort(vocabulary.idf, kind="stable")[:room])
        place = np.full(len(vocabulary.hashes), -1)
        place[kept] = np.arange(room)
        columns = place[matrix.columns]
        inside = columns >= 0
        matrix = Rows(matrix.rows[inside], columns[inside], matrix.values[inside], matrix.count)
        vocabulary = Vocabulary(vocabulary.hashes[kept], vocabulary.idf[kept])
    size = len(vocabulary.hashes)
    by_column = np.empty((size, dual.shape[1]), dtype=np.float32)
    for label in range(dual.shape[1]):
        by_column[:, label] = np.bincount(matrix.columns, matrix.values * dual[matrix.rows, label], minlength=size)
    return vocabulary, by_column
