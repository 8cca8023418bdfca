"""WordLlama token vectors, averaged: English, 256 numbers a text, 20 microseconds a sentence.

Reads the package's two data files itself: importing the package costs more and looks for them in the wrong folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from feedback_gateway.embedded.embedders import Matrix, unit_rows
from feedback_gateway.embedded.text import EMBED_CHARACTERS

WEIGHTS = Path("weights", "l2_supercat_256.safetensors")
TOKENIZER = Path("tokenizers", "l2_supercat_tokenizer_config.json")


@dataclass(frozen=True, slots=True)
class WordllamaEmbedder:
    """Mean of the token vectors; the table stays in float16, 16 MiB."""

    table: Any
    tokenizer: Any
    name: str = "wordllama"
    dimensions: int = 256
    languages: frozenset[str] = frozenset({"en"})
    alike: float = 0.75

    @classmethod
    def load(cls) -> "WordllamaEmbedder":
        """Read the files of the installed `wordllama` package; raises `FileNotFoundError` without it."""
        found = find_spec("wordllama")
        folders = list(found.submodule_search_locations or []) if found else []
        if not folders:
            raise FileNotFoundError("the package wordllama is not installed")
        folder = Path(folders[0])
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        tokenizer.no_padding()
        return cls(load_file(folder / WEIGHTS)["embedding.weight"], tokenizer)

    def embed(self, texts: Sequence[str]) -> Matrix:
        """One unit row a text, shape (len(texts), 256)."""
        rows = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for index, text in enumerate(texts):
            ids = self.tokenizer.encode(text[:EMBED_CHARACTERS], add_special_tokens=False).ids
            if ids:
                rows[index] = self.table[ids].astype(np.float64).mean(axis=0)
        return unit_rows(rows)
