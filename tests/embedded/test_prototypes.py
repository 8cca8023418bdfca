"""Labels with few examples, or with none beside others that have some."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from feedback_gateway.embedded.embedders import unit_rows
from feedback_gateway.embedded.prototypes import SHARPNESS, Prototypes
from feedback_gateway.embedded.student import Student

CATEGORIES = ("refund", "delivery", "login", "invoice", "praise")
TEXTS = {
    "refund": "I want my money back for the broken lamp.",
    "delivery": "The parcel has not arrived at my house yet.",
    "login": "My password is refused and I cannot log in.",
    "invoice": "The invoice shows the wrong amount of tax.",
    "praise": "I love it, what a great product, thank you!",
}


def test_one_example_does_not_win_every_text(student: Student) -> None:
    """It looks like any real text, which no description does, and still takes none from the labels that have none."""
    categories = [{"name": name} for name in CATEGORIES[1:]]
    taxonomy = {"categories": [{"name": "refund", "examples": ["I would like to have my money back."]}, *categories]}

    chosen = {
        name: student.answer("categorize", {"text": text}, taxonomy).value["category"] for name, text in TEXTS.items()
    }

    assert chosen == {name: name for name in CATEGORIES}


@given(labels=st.integers(2, 8), examples=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_shares_are_probabilities_whatever_the_examples(labels: int, examples: int, seed: int) -> None:
    """Zero vectors, a single label and labels without examples included."""
    draw = np.random.default_rng(seed)
    described = unit_rows(draw.normal(size=(labels, 16)).astype(np.float32))
    vectors = unit_rows(draw.normal(size=(examples, 16)).astype(np.float32)) * draw.integers(0, 2, size=(examples, 1))

    prototypes = Prototypes.of(described, vectors, draw.integers(0, labels, size=examples).tolist())

    for vector in (*described, np.zeros(16, dtype=np.float32)):
        shares = prototypes.predict(vector)
        assert shares.shape == (labels,)
        assert abs(shares.sum() - 1) < 1e-9
        assert (shares >= 0).all()


def test_how_sure_it_is_follows_from_the_examples() -> None:
    """Labels that lie apart are told apart with more certainty than those that lie on each other."""
    draw = np.random.default_rng(1)
    described = unit_rows(draw.normal(size=(4, 32)).astype(np.float32))
    targets = [place % 4 for place in range(80)]
    apart = unit_rows(described[targets] + 0.05 * draw.normal(size=(80, 32)).astype(np.float32))
    mixed = unit_rows(draw.normal(size=(80, 32)).astype(np.float32))

    assert Prototypes.of(described, apart, targets).sharpness > SHARPNESS
    assert Prototypes.of(described, mixed, targets).sharpness < SHARPNESS
