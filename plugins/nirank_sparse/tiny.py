"""A masked language model with random weights, made from a configuration in a second, for checks without a download."""

from __future__ import annotations

import string
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

from nirank.pretrained import quiet
from nirank_sparse.splade import SPLADE

_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase, *string.digits]
_VOCABULARY = [*_WORDS, *(f"##{word}" for word in _WORDS[5:])]


def encoder(seed: int = 0, **settings: Any) -> SPLADE:
    """A two-layer BERT over letters, 16 dimensions; the same weights for the same seed."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), seed)
        return SPLADE(folder, **{"device": "cpu", "batch_size": 8, "max_length": 40, **settings})


def save(folder: Path, seed: int = 0) -> None:
    """Write the model and its tokenizer, so that they are loaded by the door of real ones."""
    folder.mkdir(parents=True, exist_ok=True)
    config = BertConfig(
        vocab_size=len(_VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.2,  # so that texts differ in their weights
    )
    words = folder / "vocab.txt"
    words.write_text("\n".join(_VOCABULARY), encoding="utf-8")
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertForMaskedLM(config).save_pretrained(folder)
        BertTokenizerFast(str(words), model_max_length=64).save_pretrained(folder)
