"""A bi-encoder with random weights, made from a configuration in a second, for checks without a download."""

from __future__ import annotations

import string
import tempfile
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import BertConfig, BertModel, BertTokenizerFast

from nirank_dense.sentence import SentenceEncoder

_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase, *string.digits]


def encoder(seed: int = 0) -> SentenceEncoder:
    """A two-layer BERT over letters, 16 dimensions, mean pooling; the same weights for the same seed."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), seed)
        return SentenceEncoder(folder, device="cpu", batch_size=8)


def save(folder: Path, seed: int = 0) -> None:
    """Write the model as sentence-transformers does, so that it is loaded by the door of real ones."""
    words = folder / "vocab.txt"
    words.write_text("\n".join([*_WORDS, *(f"##{word}" for word in _WORDS[5:])]), encoding="utf-8")
    config = BertConfig(
        vocab_size=2 * len(_WORDS) - 5,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder / "bert")
    BertTokenizerFast(str(words), model_max_length=64).save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"))
    pooling = Pooling(transformer.get_embedding_dimension())
    SentenceTransformer(modules=[transformer, pooling], device="cpu", similarity_fn_name="cosine").save(str(folder))
