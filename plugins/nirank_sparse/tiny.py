"""A masked language model with random weights, made from a configuration in a second, for checks without a download."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from nirank.kit.transformers import Computing
from nirank.testing import save_bert
from nirank_sparse.splade import SPLADE


def encoder(seed: int = 0, batch_size: int = 8, **settings: Any) -> SPLADE:
    """A two-layer BERT over letters, 16 dimensions; the same weights for the same seed."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), seed)
        return SPLADE(folder, **{"max_length": 40, **settings}, computing=Computing("cpu", batch_size=batch_size))


def save(folder: Path, seed: int = 0) -> None:
    """Write the model and its tokenizer."""
    save_bert(folder, "BertForMaskedLM", seed, initializer_range=0.2)  # so that texts differ in their weights
