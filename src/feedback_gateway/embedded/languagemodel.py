"""py3langid's model held small: 20 MiB instead of 70; which text is asked about is language.py's business.

A naive Bayes classifier over byte n-grams, which an automaton finds. Its transitions repeat in runs of 16 and are held
once each; its log probabilities are held in 256 steps a language, which changes a score by about a thousandth.
"""

import lzma
import shutil
import tempfile
import unicodedata
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MODEL_FILE = ("data", "model.npz.xz")
RUN = 16
STEPS = 255
PART = 10_000
"""Rows that are converted at a time, so that the copies stay small."""


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """Reads only, so any number of threads may ask."""

    runs: Sequence[int]
    """Next states, 16 at a time."""
    run_of: Sequence[int]
    """Which run holds the next states of a row for the bytes 16 k to 16 k + 15, at 16 * row + k."""
    row_of: Sequence[int]
    """The row of a state."""
    feature_of: Sequence[int]
    """The n-gram that ends in a state, or -1."""
    steps: Array
    """Log probabilities, shape (n-grams, languages), in steps above the lowest of the language; uint8."""
    step: Array
    lowest: Array
    prior: Array
    languages: tuple[str, ...]

    @classmethod
    def load(cls) -> "LanguageModel":
        """Read the model file of the installed py3langid and shrink it, 0.7 s, one table after the other.

        Through a temporary file, as py3langid itself does: unpacked it is 65 MiB, of which a third is needed at a time.
        """
        with tempfile.TemporaryFile() as unpacked:
            with files("py3langid").joinpath(*MODEL_FILE).open("rb") as file, lzma.open(file) as packed:
                shutil.copyfileobj(packed, unpacked, length=1 << 20)
            unpacked.seek(0)
            with np.load(unpacked, allow_pickle=False) as tables:
                runs, run_of = _distinct_runs(tables["nextmove"])
                steps, step, lowest = _in_steps(tables["ptc"])
                return cls(
                    runs=runs,
                    run_of=run_of,
                    row_of=array("I", tables["nextmove_row"].tolist()),
                    feature_of=array("i", tables["out_feat"].tolist()),
                    steps=steps,
                    step=step,
                    lowest=lowest,
                    prior=tables["pc"].astype(np.float32),
                    languages=tuple(tables["classes"].tolist()),
                )

    def classify(self, text: str) -> str:
        """Code of the most probable of 140 languages, mostly ISO 639-1; empty where no n-gram is known."""
        found = self._features(text.lower() if text.isupper() else text)
        if not found:
            return ""
        features = np.fromiter(found.keys(), dtype=np.intp, count=len(found))
        weights = np.log1p(np.fromiter(found.values(), dtype=np.float32, count=len(found)))
        scores = (weights @ self.steps[features].astype(np.float32)) * self.step + weights.sum() * self.lowest
        return self.languages[int(np.argmax(scores + self.prior))]

    def _features(self, text: str) -> Counter[int]:
        runs, run_of, row_of, feature_of = self.runs, self.run_of, self.row_of, self.feature_of
        state, found = 0, []
        for byte in unicodedata.normalize("NFC", text).encode("utf-8", "replace"):
            state = runs[run_of[row_of[state] << 4 | byte >> 4] << 4 | byte & 15]
            if feature_of[state] >= 0:
                found.append(feature_of[state])
        return Counter(found)


def _distinct_runs(transitions: Array) -> tuple[Sequence[int], Sequence[int]]:
    """The distinct runs of 16 next states, one after the other, and the number of each run in turn."""
    rows = transitions.reshape(-1, RUN)
    keys = np.zeros(len(rows), dtype=np.uint64)
    for place in range(RUN):
        keys = keys * np.uint64(0x9E3779B97F4A7C15) + rows[:, place] + np.uint64(1)
        keys ^= keys >> np.uint64(29)
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    runs = rows[first]
    parts = range(0, len(rows), PART)
    if not all(np.array_equal(runs[number[part : part + PART]], rows[part : part + PART]) for part in parts):
        raise ValueError("two runs of transitions share a key: this py3langid model needs another key")
    return _packed(runs), _packed(number)


def _in_steps(table: Array) -> tuple[Array, Array, Array]:
    """`table` (rows, columns) in `STEPS` steps above the lowest of each column; the steps' sizes; the lowest."""
    lowest = table.min(axis=0).astype(np.float32)
    step = np.maximum((table.max(axis=0).astype(np.float32) - lowest) / STEPS, np.float32(1e-9))
    steps = np.empty(table.shape, dtype=np.uint8)
    for start in range(0, len(table), PART):
        part = table[start : start + PART].astype(np.float32)
        steps[start : start + PART] = (part - lowest) / step + np.float32(0.5)
    return steps, step, lowest


def _packed(numbers: Array) -> Sequence[int]:
    packed = array("I")
    packed.frombytes(np.ascontiguousarray(numbers, dtype=np.uint32).tobytes())
    return packed
