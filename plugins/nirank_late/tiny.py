"""A late-interaction model with random weights, made in a second from a configuration, for checks offline."""

from __future__ import annotations

import tempfile
from pathlib import Path

from nirank.kit.transformers import Computing
from nirank.testing import save_bert
from nirank_late.colbert import ColBERT
from nirank_late.exact import MaxSimIndex
from nirank_late.template import TemplateSettings

_TEMPLATE, _COMPUTING = TemplateSettings(query_length=12, document_length=40), Computing("cpu", batch_size=8)


def encoder(seed: int = 0) -> ColBERT:
    """A two-layer BERT over letters, 16 dimensions projected to 8; the same weights for the same seed."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), seed)
        return ColBERT(folder, 8, seed, template=_TEMPLATE, computing=_COMPUTING)


def save(folder: Path, seed: int = 0) -> None:
    """Write the transformer and its tokenizer, which knows some punctuation."""
    save_bert(folder, seed=seed, marks=",.!-")


def exact() -> MaxSimIndex:
    """An exact index with small chunks and blocks, so that checks cross their borders."""
    return MaxSimIndex(chunk=4, block=64)
