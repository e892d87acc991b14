"""A cross-encoder with random weights, made from a configuration in a second, for checks without a download."""

from __future__ import annotations

import tempfile
from pathlib import Path

from nirank.kit.transformers import Computing
from nirank.testing import save_bert
from nirank_crossencoder.crossencoder import CrossEncoder


def crossencoder(seed: int = 0) -> CrossEncoder:
    """A two-layer BERT over letters with one logit, 16 dimensions; the same weights for the same seed."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), seed)
        return CrossEncoder(folder, computing=Computing("cpu"))


def save(folder: Path, seed: int = 0, outputs: int = 1) -> None:
    """Write the model and its tokenizer."""
    architecture = "BertForSequenceClassification"
    save_bert(folder, architecture, seed, num_labels=outputs, initializer_range=0.3)  # scores that can be told apart
