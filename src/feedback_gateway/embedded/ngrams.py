"""TF-IDF over hashed words, word pairs and character n-grams in numpy arrays, and their Gram matrix; no labels."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

READ_CHARACTERS = 3_000
LONGEST_WORD = 40
DENSE_FROM = 16
"""A column in more rows than this is multiplied as part of a dense block, a rarer one pair by pair."""
BLOCK = 1024

_WORD = re.compile(r"\w\w+")


@dataclass(frozen=True, slots=True)
class Counts:
    """One text: its hashed features and how often each occurs, 1 + ln(count). Odd hashes are character n-grams."""

    hashes: Array
    weights: Array


@dataclass(frozen=True, slots=True)
class Rows:
    """A sparse matrix in coordinate form: `values[i]` stands at row `rows[i]`, column `columns[i]`."""

    rows: Array
    columns: Array
    values: Array
    count: int


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The hashes seen in training, sorted, and their inverse document frequencies ln((1+n)/(1+df)) + 1."""

    hashes: Array
    idf: Array

    @classmethod
    def learn(cls, texts: Sequence[Counts]) -> "Vocabulary":
        """From the features of the training texts."""
        hashes, frequencies = np.unique(np.concatenate([text.hashes for text in texts]), return_counts=True)
        return cls(hashes, (np.log((1 + len(texts)) / (1 + frequencies)) + 1).astype(np.float32))

    def weigh(self, text: Counts) -> tuple[Array, Array]:
        """Columns and values of one text: its words, unknown ones included, have length 1 together, and its n-grams."""
        places = np.minimum(np.searchsorted(self.hashes, text.hashes), len(self.hashes) - 1)
        known = self.hashes[places] == text.hashes
        values = text.weights * np.where(known, self.idf[places], self.idf.max(initial=1.0))
        for odd in (0, 1):
            part = (text.hashes & 1) == odd
            length = math.sqrt(float((values[part] ** 2).sum()))
            values[part] /= length or 1.0
        return places[known], values[known].astype(np.float32)

    def matrix(self, texts: Sequence[Counts]) -> Rows:
        """All texts as one sparse matrix."""
        weighed = [self.weigh(text) for text in texts]
        return Rows(
            rows=np.repeat(np.arange(len(weighed)), [len(columns) for columns, _ in weighed]),
            columns=np.concatenate([columns for columns, _ in weighed]),
            values=np.concatenate([values for _, values in weighed]),
            count=len(weighed),
        )


@lru_cache(maxsize=256)
def count(text: str) -> Counts:
    """Hashed words, word pairs, and 3- and 4-grams of the characters inside words, lower case; not to be changed."""
    words = [word[:LONGEST_WORD] for word in _WORD.findall(text[:READ_CHARACTERS].lower())]
    pairs = (crc32(f"{first} {second}".encode("utf-8", "replace")) & ~1 for first, second in pairwise(words))
    found = np.fromiter(chain(chain.from_iterable(map(hashes_of, words)), pairs), dtype=np.uint32)
    hashes, times_seen = np.unique(found, return_counts=True)
    return Counts(hashes, 1 + np.log(times_seen.astype(np.float32)))


@lru_cache(maxsize=10_000)
def hashes_of(word: str) -> tuple[int, ...]:
    """The hash of a word, and those of the n-grams in it."""
    padded = f" {word} ".encode("utf-8", "replace")
    inside = (padded[start : start + size] for size in (3, 4) for start in range(len(padded) - size + 1))
    return (crc32(word.encode("utf-8", "replace")) & ~1, *(crc32(piece) | 1 for piece in inside))


def gram(matrix: Rows) -> Array:
    """Inner products of all rows with each other, shape (rows, rows), float32."""
    order = np.argsort(matrix.columns, kind="stable")
    rows, columns, values = matrix.rows[order], matrix.columns[order], matrix.values[order]
    starts = np.flatnonzero(np.r_[True, columns[1:] != columns[:-1]]) if len(columns) else np.zeros(0, int)
    sizes = np.diff(np.r_[starts, len(columns)])
    size = matrix.count
    total = np.zeros((size, size), dtype=np.float32)
    for held in range(1, DENSE_FROM + 1):
        members = starts[sizes == held][:, None] + np.arange(held)
        flat = rows[members][:, :, None] * size + rows[members][:, None, :]
        products = values[members][:, :, None] * values[members][:, None, :]
        if flat.size:
            total += np.bincount(flat.ravel(), products.ravel(), minlength=size * size).reshape(size, size)
    common = np.flatnonzero(sizes > DENSE_FROM)
    for first in range(0, len(common), BLOCK):
        chosen = common[first : first + BLOCK]
        block = np.zeros((size, len(chosen)), dtype=np.float32)
        for place, column in enumerate(chosen):
            inside = slice(starts[column], starts[column] + sizes[column])
            block[rows[inside], place] = values[inside]
        total += block @ block.T
    return total
