"""The bundled heads: rebuilt from the bundled data, stored as plain arrays."""

import gzip
import io
import json
import pickle
import re
from importlib.resources import files

import numpy as np
import pytest

from feedback_gateway.embedded.embedders import load_embedder, use_path
from feedback_gateway.embedded.heads import LABELS, SentimentHead, head_file
from feedback_gateway.embedded.train import SOURCE_WEIGHTS, main, prepare, read_rows, train

PACKAGE = files("feedback_gateway.embedded")
CHANGED = "after a change of data or features, run `python -m feedback_gateway.embedded.train`"
ROUNDING = 0.05
"""Of weights between -2.4 and 3.2; between two types of processors 0.01 was seen."""


def rebuilt(name: str) -> tuple[SentimentHead, bytes]:
    """The head learned again from the bundled rows, and the shipped file."""
    return train(prepare(load_embedder(name), read_rows())), PACKAGE.joinpath("models", head_file(name)).read_bytes()


def test_the_head_is_rebuilt_byte_for_byte() -> None:
    """Who trains again from the bundled rows gets the shipped file."""
    head, shipped = rebuilt("wordllama")

    assert head.to_bytes() == shipped, CHANGED


@pytest.mark.skipif(not use_path().is_file(), reason="the embedder's file is fetched by `make setup`")
def test_the_head_of_the_integer_embedder_is_rebuilt_to_the_rounding_of_the_processor() -> None:
    """Types of processors round its int8 products otherwise; a change of data or features moves a weight further."""
    head, shipped = rebuilt("use")

    assert distance(head, SentimentHead.from_bytes(shipped)) < ROUNDING, CHANGED


def distance(one: SentimentHead, other: SentimentHead) -> float:
    """Largest difference of a weight."""
    return float(max(np.abs(one.full - other.full).max(), np.abs(one.plain - other.plain).max()))


def test_a_stored_head_is_read_back_whole() -> None:
    """Writing and reading lose nothing."""
    head = SentimentHead.load("wordllama")
    again = SentimentHead.from_bytes(head.to_bytes())
    assert np.array_equal(head.full, again.full)
    assert np.array_equal(head.plain, again.plain)


def test_a_pickle_is_no_head() -> None:
    """A file that would run code when read is refused."""
    buffer = io.BytesIO()
    np.savez(buffer, full=np.array([{"a": 1}], dtype=object), plain=np.zeros(1), temperatures=np.zeros(2))
    with pytest.raises(ValueError, match="pickle"):
        SentimentHead.from_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="pickle"):
        SentimentHead.from_bytes(pickle.dumps({"full": 1}))


def test_every_bundled_row_has_shares_and_a_known_source() -> None:
    """A source without a weight, or raters who do not add up to a hundred, would bend the training."""
    for text, shares, source in read_rows():
        assert text.strip()
        assert len(shares) == len(LABELS)
        assert sum(shares) == 100
        assert source in SOURCE_WEIGHTS


def test_no_bundled_row_names_anybody() -> None:
    """Handles and mail addresses are not in the data."""
    packed = PACKAGE.joinpath("data", "sentiment.jsonl.gz").read_bytes()
    for line in gzip.decompress(packed).decode("utf-8").splitlines():
        assert not re.search(r"(?<![\w.])@\w|\w@\w+\.\w", json.loads(line)["text"])


def test_every_source_is_named_with_its_licence() -> None:
    """The data's README lists what the data holds."""
    readme = PACKAGE.joinpath("data", "README.md").read_text(encoding="utf-8")
    for source in SOURCE_WEIGHTS:
        assert f"`{source}`" in readme


def test_training_an_unknown_embedder_is_refused() -> None:
    """The command names what there is."""
    with pytest.raises(ValueError, match="use, wordllama"):
        main(["nonsense"])
