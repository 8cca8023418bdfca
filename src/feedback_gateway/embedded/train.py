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
from feedback_gateway.embedded.heads import LABELS, Array, SentimentHead, head_file
from feedback_gateway.embedded.lexicon import FEATURES, Lexicon
from feedback_gateway.embedded.softmax import balanced_weights, fit_softmax, fit_temperature
from feedback_gateway.embedded.text import clean

SOURCE_WEIGHTS = {"reviews": 1.0, "editorials": 2.0, "posts": 1.0, "restaurants": 0.5}
STRENGTH = 0.3
PART = 500
"""Rows that one thread embeds at a time."""
DECIMALS = 2
"""Weights are rounded to these: far coarser than what thread counts change, far finer than what labels notice."""


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Labelled texts as arrays: vectors (rows, dimensions), lexicon features (rows, 18), labels and sources (rows,)."""

    vectors: Array
    lexicon: Array
    labels: Array
    sources: Array


def read_rows() -> list[tuple[str, int, str]]:
    """The bundled rows: text, index of its label in `LABELS`, source."""
    packed = files(__package__).joinpath("data", "sentiment.jsonl.gz").read_bytes()
    rows = (json.loads(line) for line in gzip.decompress(packed).decode("utf-8").splitlines())
    return [(row["text"], LABELS.index(row["label"]), row["source"]) for row in rows]


def prepare(embedder: Embedder, rows: Sequence[tuple[str, int, str]]) -> TrainingRows:
    """Embed and featurise the rows, once."""
    lexicon = Lexicon.load()
    texts = [clean(text) for text, _, _ in rows]
    parts = [texts[start : start + PART] for start in range(0, len(texts), PART)]
    with ThreadPoolExecutor(2) as threads:
        vectors = np.vstack(list(threads.map(embedder.embed, parts)))
    return TrainingRows(
        vectors=vectors.astype(np.float64),
        lexicon=np.array([lexicon.features(text) for text in texts], dtype=np.float64).reshape(-1, FEATURES),
        labels=np.array([label for _, label, _ in rows]),
        sources=np.array([source for _, _, source in rows]),
    )


def train(rows: TrainingRows) -> SentimentHead:
    """Both heads and their temperatures; deterministic in `rows`."""
    full, full_temperature = _learn(np.hstack([rows.vectors, rows.lexicon]), rows)
    plain, plain_temperature = _learn(rows.vectors, rows)
    return SentimentHead(full, plain, np.array([full_temperature, plain_temperature], dtype=np.float32))


def _learn(features: Array, rows: TrainingRows) -> tuple[Array, float]:
    """Weights from all rows; the temperature from sources that the measured weights had not seen."""
    logits = np.zeros((len(rows.labels), len(LABELS)))
    for source in SOURCE_WEIGHTS:
        unseen = rows.sources == source
        weights = _fit(features[~unseen], rows.labels[~unseen], rows.sources[~unseen], tolerance=1e-4)
        logits[unseen] = features[unseen] @ weights[:-1] + weights[-1]
    temperature = fit_temperature(logits, rows.labels)
    weights = _fit(features, rows.labels, rows.sources, tolerance=1e-12)
    return np.round(weights, DECIMALS).astype(np.float32) + np.float32(0.0), round(temperature, 2)


def _fit(features: Array, labels: Array, sources: Array, *, tolerance: float) -> Array:
    row_weights = balanced_weights(labels, len(LABELS)) * np.array([SOURCE_WEIGHTS[source] for source in sources])
    return fit_softmax(
        features, labels, row_weights=row_weights, strength=STRENGTH, tolerance=tolerance, iterations=2000
    )


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
