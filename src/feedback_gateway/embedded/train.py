"""`python -m feedback_gateway.embedded.train`: learn the sentiment heads from the bundled data, byte for byte the same.

Writes `models/sentiment-<embedder>.npz` beside this file, for each embedder that is installed.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from feedback_gateway.embedded.embedders import Embedder, load_embedder
from feedback_gateway.embedded.heads import Array, SentimentHead, head_file
from feedback_gateway.embedded.lexicon import FEATURES, Lexicon
from feedback_gateway.embedded.softmax import balanced, fit_softmax, fit_temperature, inverse_curvature
from feedback_gateway.embedded.text import clean

SOURCE_WEIGHTS = {"reviews": 1.0, "editorials": 2.0, "posts": 2.0, "restaurants": 0.5}
"""Posts are the register of feedback; editorials hold most of the neutral rows; restaurants are one domain."""
STRENGTH = 0.3
PART = 500
"""Rows that one thread embeds at a time."""
DECIMALS = 2
"""Weights are rounded to these: far coarser than what thread counts change, far finer than what labels notice."""


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Rated texts as arrays: vectors (rows, dimensions), lexicon features (rows, 18), shares and sources.

    `shares` (rows, 3) are those of the raters for each label.
    """

    vectors: Array
    lexicon: Array
    shares: Array
    sources: Array


def read_rows() -> list[tuple[str, list[int], str]]:
    """The bundled rows: text, per cent of its raters for each of `LABELS`, source."""
    packed = files(__package__).joinpath("data", "sentiment.jsonl.gz").read_bytes()
    rows = (json.loads(line) for line in gzip.decompress(packed).decode("utf-8").splitlines())
    return [(row["text"], row["shares"], row["source"]) for row in rows]


def prepare(embedder: Embedder, rows: Sequence[tuple[str, list[int], str]]) -> TrainingRows:
    """Embed and featurise the rows, once."""
    lexicon = Lexicon.load()
    texts = [clean(text) for text, _, _ in rows]
    parts = [texts[start : start + PART] for start in range(0, len(texts), PART)]
    with ThreadPoolExecutor(2) as threads:
        vectors = np.vstack(list(threads.map(embedder.embed, parts)))
    return TrainingRows(
        vectors=vectors.astype(np.float64),
        lexicon=np.array([lexicon.features(text) for text in texts], dtype=np.float64).reshape(-1, FEATURES),
        shares=np.array([shares for _, shares, _ in rows]) / 100,
        sources=np.array([source for _, _, source in rows]),
    )


def train(rows: TrainingRows) -> SentimentHead:
    """Both heads and their temperatures; deterministic in `rows`."""
    with ThreadPoolExecutor(2) as threads:
        full = threads.submit(_learn, np.hstack([rows.vectors, rows.lexicon]), rows)
        plain = threads.submit(_learn, rows.vectors, rows)
    temperatures = np.array([full.result()[1], plain.result()[1]], dtype=np.float32)
    return SentimentHead(full.result()[0], plain.result()[0], temperatures)


def _learn(features: Array, rows: TrainingRows) -> tuple[Array, float]:
    """Weights from all rows; the temperature from sources that the measured weights had not seen."""
    logits = np.zeros(rows.shares.shape)
    for source in SOURCE_WEIGHTS:
        unseen = rows.sources == source
        weights = _fit(features[~unseen], rows.shares[~unseen], rows.sources[~unseen], tolerance=1e-4)
        logits[unseen] = features[unseen] @ weights[:-1] + weights[-1]
    temperature = fit_temperature(logits, rows.shares.argmax(axis=1))
    weights = _fit(features, rows.shares, rows.sources, tolerance=1e-12)
    return np.round(weights, DECIMALS).astype(np.float32) + np.float32(0.0), round(temperature, 2)


def _fit(features: Array, shares: Array, sources: Array, *, tolerance: float) -> Array:
    row_weights = np.array([SOURCE_WEIGHTS[source] for source in sources])
    masses = balanced(shares * row_weights[:, None])
    metric = inverse_curvature(features, masses, strength=STRENGTH)
    return fit_softmax(features, masses, strength=STRENGTH, tolerance=tolerance, iterations=2000, metric=metric)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the heads of the named embedders, all by default; 0 when each was written."""
    parser = argparse.ArgumentParser(description="Learn the embedded sentiment heads from the bundled data.")
    parser.add_argument("embedders", nargs="*", default=["wordllama", "use"])
    parser.add_argument("--into", type=Path, default=Path(__file__).parent / "models")
    options = parser.parse_args(arguments)
    rows = read_rows()
    for name in options.embedders:
        head = train(prepare(load_embedder(name), rows))
        path = options.into / head_file(name)
        path.write_bytes(head.to_bytes())
        sys.stdout.write(f"{path}: {len(rows)} rows, temperatures {head.temperatures.round(2).tolist()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
