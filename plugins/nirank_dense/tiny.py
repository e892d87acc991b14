"""Encoders with random weights, made from a configuration in a second, for checks without a download."""

from __future__ import annotations

import string
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import BertConfig, BertModel, BertTokenizerFast

from nirank_dense import kinds
from nirank_dense.sentence import SentenceEncoder
from nirank_dense.towers import TwoTowers
from nirank_dense.words import WordVectors

_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase, *string.digits]
_VOCABULARY = [*_WORDS, *(f"##{word}" for word in _WORDS[5:])]


def encoder(seed: int = 0) -> SentenceEncoder:
    """A two-layer BERT over letters, 16 dimensions, mean pooling; the same weights for the same seed."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), seed)
        return SentenceEncoder(folder, device="cpu", batch_size=8, tokens=64)


def two_towers() -> TwoTowers:
    """Two of them with different weights."""
    with tempfile.TemporaryDirectory() as folder:
        query, document = Path(folder) / "query", Path(folder) / "document"
        save(query, seed=0)
        save(document, seed=1)
        return TwoTowers(str(query), str(document), device="cpu", batch_size=8)


def save(folder: Path, seed: int = 0) -> None:
    """Write the model as sentence-transformers does, so that it is loaded by the door of real ones."""
    folder.mkdir(parents=True, exist_ok=True)
    config = BertConfig(
        vocab_size=len(_VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder / "bert")
    _tokenizer(folder).save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"))
    pooling = Pooling(transformer.get_embedding_dimension())
    SentenceTransformer(modules=[transformer, pooling], device="cpu", similarity_fn_name="cosine").save(str(folder))


def words(seed: int = 0) -> WordVectors:
    """A vector and a weight for each letter, 16 dimensions; the same ones for the same seed."""
    with tempfile.TemporaryDirectory() as folder:
        save_words(Path(folder), seed)
        return WordVectors(folder, device="cpu")


def save_words(folder: Path, seed: int = 0) -> None:
    """Write word vectors as `WordVectors` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer(folder).backend_tokenizer.save(str(folder / "tokenizer.json"))
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(len(_VOCABULARY), 16, generator=generator)
    weights = torch.rand(len(_VOCABULARY), generator=generator) + 0.5
    save_file({"vectors": vectors, "weights": weights}, folder / "words.safetensors")


def _tokenizer(folder: Path) -> BertTokenizerFast:
    words = folder / "vocab.txt"
    words.write_text("\n".join(_VOCABULARY), encoding="utf-8")
    return BertTokenizerFast(str(words), model_max_length=64)


def flat() -> kinds.Flat:
    """An exact index of faiss."""
    return kinds.Flat(chunk=4)


def sq8() -> kinds.SQ8:
    """One that scores as many documents as the checks have."""
    return kinds.SQ8(depth=16, chunk=4)


def hnsw() -> kinds.HNSW:
    """A small graph."""
    return kinds.HNSW(m=4, construction=16, ef=16, chunk=4)


def ivf_flat() -> kinds.IVFFlat:
    """Three lists, all of which are read: the checks expect that a document which could be found is found."""
    return kinds.IVFFlat(lists=3, probes=3, chunk=4)


def ivf_pq() -> kinds.IVFPQ:
    """The same, with codes."""
    return kinds.IVFPQ(lists=3, probes=3, depth=16, chunk=4)
