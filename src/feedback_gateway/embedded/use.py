"""Universal Sentence Encoder, multilingual, int8 ONNX: 16 languages, 512 numbers a text; no file is fetched here.

One text at a time: the int8 ranges are taken over a whole batch, so a text's vector would depend on its neighbours.
"""
# ruff: noqa: SIM905  a list of words reads best as words

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feedback_gateway.embedded.embedders import Matrix, unit_rows
from feedback_gateway.embedded.text import EMBED_CHARACTERS

LANGUAGES = frozenset("ar zh en fr de it ja ko nl pl pt es th tr ru".split())


@dataclass(frozen=True, slots=True)
class UseEmbedder:
    """Sentence vectors from the ONNX session; about 110 MiB and 2 ms for a tweet on one core."""

    session: Any
    name: str = "use"
    dimensions: int = 512
    languages: frozenset[str] = LANGUAGES
    alike: float = 0.62

    @classmethod
    def load(cls, path: Path) -> "UseEmbedder":
        """Open the model file; raises `FileNotFoundError` where there is none.

        onnxruntime would tell Microsoft about the machine and leave a file about it in the user's folder, from its
        import on; its own `disable_telemetry_events` comes too late for that.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; `python -m feedback_gateway.embedded.fetch` gets it")
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime  # noqa: PLC0415 see above
        from onnxruntime_extensions import get_library_path  # noqa: PLC0415 imports onnxruntime

        options = onnxruntime.SessionOptions()
        options.register_custom_ops_library(get_library_path())
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        return cls(onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))

    def embed(self, texts: Sequence[str]) -> Matrix:
        """One unit row a text, shape (len(texts), 512)."""
        rows = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for index, text in enumerate(texts):
            piece = text[:EMBED_CHARACTERS]
            if piece.strip():
                rows[index] = self.session.run(["outputs"], {"inputs": [piece]})[0][0]
        return unit_rows(rows)
