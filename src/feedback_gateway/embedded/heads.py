"""The trained sentiment head: its weights, how they are stored and read; not how they are learned."""

import io
import zipfile
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from feedback_gateway.embedded.softmax import softmax

Array = npt.NDArray[Any]

LABELS = ("negative", "neutral", "positive")
FULL_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class SentimentHead:
    """Two linear heads over a sentence vector: with the English lexicon's features, and without for other languages."""

    full: Array
    """Shape (dimensions + lexicon features + 1, 3)."""
    plain: Array
    """Shape (dimensions + 1, 3)."""
    temperatures: Array
    """Divisors of the logits of `full` and `plain`, shape (2,)."""

    def probabilities(self, vector: Array, lexicon: Array | None) -> Array:
        """Calibrated p(negative), p(neutral), p(positive), shape (3,); `lexicon` is None where it does not apply.

        Where it does, the two heads are averaged: the plain one is steadier in domains that were never seen.
        """
        plain = softmax((vector @ self.plain[:-1] + self.plain[-1]) / self.temperatures[1])
        if lexicon is None:
            return plain
        features = np.concatenate([vector, lexicon])
        full = softmax((features @ self.full[:-1] + self.full[-1]) / self.temperatures[0])
        return np.asarray(FULL_SHARE * full + (1 - FULL_SHARE) * plain)

    def to_bytes(self) -> bytes:
        """A .npz archive that depends on the weights alone: no time, no compression."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name in ("full", "plain", "temperatures"):
                member = io.BytesIO()
                np.lib.format.write_array(member, np.asarray(getattr(self, name), np.float32), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0)), member.getvalue())
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "SentimentHead":
        """Read what `to_bytes` wrote; raises `ValueError` for anything else, pickles included."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return cls(full=arrays["full"], plain=arrays["plain"], temperatures=arrays["temperatures"])

    @classmethod
    def load(cls, embedder: str) -> "SentimentHead":
        """The bundled head of the embedder called `embedder`."""
        return cls.from_bytes(files(__package__).joinpath("models", head_file(embedder)).read_bytes())


def head_file(embedder: str) -> str:
    """File name of an embedder's head inside `models/`."""
    return f"sentiment-{embedder}.npz"
