"""What an embedder is, and which one this installation has; the embedders themselves are beside this file."""

import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]

USE_FILE = "use-multilingual-int8.onnx"


class Embedder(Protocol):
    """Turns texts into sentence vectors; safe to call from several threads."""

    @property
    def name(self) -> str:
        """What its heads are called by."""
        ...

    @property
    def dimensions(self) -> int:
        """Numbers a vector."""
        ...

    @property
    def languages(self) -> frozenset[str]:
        """ISO 639-1 codes that the vectors mean something in."""
        ...

    @property
    def alike(self) -> float:
        """Cosine from which two sentences say about the same."""
        ...

    def embed(self, texts: Sequence[str]) -> Matrix:
        """One unit row a text, shape (len(texts), dimensions); a text without any known token is a zero row."""
        ...


def use_path() -> Path:
    """Where set-up puts the optional model file, inside the Python environment."""
    return Path(sys.prefix) / "share" / "feedback-gateway" / USE_FILE


def default_embedder() -> str:
    """`use` where its file is, else `wordllama`."""
    return "use" if use_path().is_file() else "wordllama"


def load_embedder(name: str) -> Embedder:
    """The embedder called `name`, `use` or `wordllama`; imports only what that one needs.

    Raises `FileNotFoundError` where its files are missing.
    """
    if name == "use":
        from feedback_gateway.embedded.use import UseEmbedder  # noqa: PLC0415 its runtime costs 50 MiB

        return UseEmbedder.load(use_path())
    if name == "wordllama":
        from feedback_gateway.embedded.wordllama import WordllamaEmbedder  # noqa: PLC0415 likewise

        return WordllamaEmbedder.load()
    raise ValueError(f"no embedder is called {name!r}: use, wordllama")


def unit_rows(rows: Matrix) -> Matrix:
    """Rows divided by their Euclidean length; zero rows stay zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-9), dtype=np.float32)


def return_freed_memory() -> None:
    """Give the system back what parsing the models left free, 10 to 40 MiB, where the C library can."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
