"""A cross-encoder with random weights, made from a configuration in a second, for checks without a download."""

from __future__ import annotations

import string
import tempfile
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from nirank.pretrained import quiet
from nirank_crossencoder.crossencoder import CrossEncoder

_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase, *string.digits]
_VOCABULARY = [*_WORDS, *(f"##{word}" for word in _WORDS[5:])]


def crossencoder(seed: int = 0) -> CrossEncoder:
    """A two-layer BERT over letters with one logit, 16 dimensions; the same weights for the same seed."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), seed)
        return CrossEncoder(folder, device="cpu")


def save(folder: Path, seed: int = 0, outputs: int = 1) -> None:
    """Write the model as transformers does, so that it is loaded by the door of real ones."""
    folder.mkdir(parents=True, exist_ok=True)
    config = BertConfig(
        vocab_size=len(_VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=outputs,
        initializer_range=0.3,  # scores that differ enough to be told apart
    )
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        BertForSequenceClassification(config).save_pretrained(folder)
        words = folder / "vocab.txt"
        words.write_text("\n".join(_VOCABULARY), encoding="utf-8")
        BertTokenizerFast(str(words), model_max_length=64).save_pretrained(folder)
