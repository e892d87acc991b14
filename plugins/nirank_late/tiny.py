"""A late-interaction model with random weights, made in a second from a configuration, for checks offline."""

from __future__ import annotations

import string
import tempfile
from pathlib import Path

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from nirank.pretrained import quiet
from nirank_late.colbert import ColBERT
from nirank_late.exact import MaxSimIndex

_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase, *string.digits, *",.!-"]
_VOCABULARY = [*_WORDS, *(f"##{word}" for word in _WORDS[5:])]


def encoder(seed: int = 0) -> ColBERT:
    """A two-layer BERT over letters, 16 dimensions projected to 8; the same weights for the same seed."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), seed)
        return ColBERT(folder, dim=8, device="cpu", batch_size=8, query_length=12, document_length=40, seed=seed)


def save(folder: Path, seed: int = 0) -> None:
    """Write the transformer and its tokenizer, so that they are loaded by the door of real ones."""
    folder.mkdir(parents=True, exist_ok=True)
    config = BertConfig(
        vocab_size=len(_VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    words = folder / "vocab.txt"
    words.write_text("\n".join(_VOCABULARY), encoding="utf-8")
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
        BertTokenizerFast(str(words), model_max_length=64).save_pretrained(folder)


def exact() -> MaxSimIndex:
    """An exact index with small chunks and blocks, so that checks cross their borders."""
    return MaxSimIndex(chunk=4, block=64)
