"""The arithmetic of learning: logistic regression, temperature, n-grams, heads learned from a few examples."""

import numpy as np
import pytest

from feedback_gateway.embedded.embedders import Embedder
from feedback_gateway.embedded.fewshot import MOST_EXAMPLES, Example, FewShotHead
from feedback_gateway.embedded.ngrams import DENSE_FROM, Vocabulary, count, gram
from feedback_gateway.embedded.softmax import balanced, fit_softmax, fit_temperature, one_hot, softmax


def test_separable_classes_are_learned() -> None:
    """Points on either side of a line get their own side's label."""
    features = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    weights = fit_softmax(features, one_hot(np.array([0, 0, 1, 1]), 2), strength=10.0)
    assert (features @ weights[:-1] + weights[-1]).argmax(axis=1).tolist() == [0, 0, 1, 1]


def test_the_gradient_vanishes_at_the_answer() -> None:
    """With no feature at all, the probabilities are the weighted shares of the classes."""
    weights = fit_softmax(np.zeros((10, 1)), one_hot(np.array([0] * 7 + [1] * 3), 2), strength=1.0)
    assert softmax(weights[-1]) == pytest.approx([0.7, 0.3], abs=1e-5)


def test_rows_may_speak_for_several_classes() -> None:
    """What raters disagree about is learned as their shares."""
    weights = fit_softmax(np.zeros((4, 1)), np.tile([0.2, 0.5, 0.3], (4, 1)), strength=1.0)
    assert softmax(weights[-1]) == pytest.approx([0.2, 0.5, 0.3], abs=1e-5)


def test_balanced_masses_make_classes_equal() -> None:
    """A rare class weighs as much as a common one, a missing one nothing, and the sum stays."""
    masses = balanced(one_hot(np.array([0, 0, 0, 1]), 3))
    assert masses.sum(axis=0) == pytest.approx([2, 2, 0])


def test_overconfident_logits_get_a_temperature_above_one() -> None:
    """Three right of four at certainty is worth about three quarters."""
    logits = np.tile([8.0, 0.0], (400, 1))
    targets = np.array([0, 0, 0, 1] * 100)
    temperature = fit_temperature(logits, targets)
    assert softmax(logits[0] / temperature)[0] == pytest.approx(0.75, abs=0.02)


def test_the_gram_matrix_is_the_product_of_the_rows() -> None:
    """Rare and common columns, each multiplied in their own way, add up to the plain product."""
    texts = [f"common words everywhere and number {n % 5} plus rare{n}" for n in range(DENSE_FROM + 10)]
    counts = [count(text) for text in texts]
    vocabulary = Vocabulary.learn(counts)
    dense = np.zeros((len(texts), len(vocabulary.hashes)))
    matrix = vocabulary.matrix(counts)
    dense[matrix.rows, matrix.columns] = matrix.values
    assert gram(matrix) == pytest.approx(dense @ dense.T, abs=1e-4)


def test_a_text_without_words_has_no_features() -> None:
    """Nothing is counted, nothing fails."""
    assert len(count("!!! 😀").hashes) == 0


def test_examples_are_learned(embedder: Embedder) -> None:
    """Another sentence of the same kind gets the label of its kind."""
    shown = [
        ("The parcel never arrived", "shipping"),
        ("My package is late", "shipping"),
        ("Where is my delivery", "shipping"),
    ]
    asked = [
        ("I want my money back", "refund"),
        ("Refund me please", "refund"),
        ("The refund is not on my card", "refund"),
    ]
    head = FewShotHead.learn([Example(text, label) for text, label in [*shown, *asked]], embedder)
    shares = head.predict("the package has not arrived", embedder.embed(["the package has not arrived"])[0])
    assert head.labels[int(shares.argmax())] == "shipping"
    assert shares.sum() == pytest.approx(1)


def test_one_label_alone_is_certain(embedder: Embedder) -> None:
    """There is nothing else to choose."""
    head = FewShotHead.learn([Example("anything", "only")], embedder)
    assert head.predict("else", embedder.embed(["else"])[0]).tolist() == [1.0]


def test_the_same_example_twice_does_no_harm(embedder: Embedder) -> None:
    """Equal rows, and even contradicting ones, leave a solvable system."""
    twice = [Example("same words", "a")] * 5 + [Example("same words", "b")] * 5
    head = FewShotHead.learn(twice, embedder)
    assert head.predict("same words", embedder.embed(["same words"])[0]) == pytest.approx([0.5, 0.5], abs=0.05)


def test_of_too_many_examples_every_label_keeps_some(embedder: Embedder) -> None:
    """The cap is shared out in turns, so a label at the end of the list is learned too."""
    many = [Example(f"apple number {n % 50}", "apple") for n in range(MOST_EXAMPLES)]
    head = FewShotHead.learn([*many, Example("a pear in the tree", "pear")], embedder)
    shares = head.predict("a pear", embedder.embed(["a pear"])[0])
    assert head.labels[int(shares.argmax())] == "pear"
