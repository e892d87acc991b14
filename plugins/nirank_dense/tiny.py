"""Encoders with random weights, made from a configuration in a second, for checks without a download."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from nirank.kit.transformers import Computing
from nirank.testing import letter_tokenizer, save_bert
from nirank_dense.encoders.adapter import Adapter
from nirank_dense.encoders.sentence import SentenceEncoder
from nirank_dense.encoders.towers import TwoTowers
from nirank_dense.encoders.words import WeightedWordVectors

_COMPUTING = Computing(device="cpu", batch_size=8)


def encoder(seed: int = 0) -> SentenceEncoder:
    """A two-layer BERT over letters, 16 dimensions, mean pooling; the same weights for the same seed."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), seed)
        return SentenceEncoder(folder, tokens=64, computing=_COMPUTING)


def two_towers() -> TwoTowers:
    """Two of them with different weights."""
    with tempfile.TemporaryDirectory() as folder:
        query, document = Path(folder) / "query", Path(folder) / "document"
        save(query, seed=0)
        save(document, seed=1)
        return TwoTowers(str(query), str(document), computing=_COMPUTING)


def adapter() -> Adapter:
    """Maps that are not 0 behind a small encoder."""
    made = Adapter(encoder())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for matrix in made.maps.values():
            matrix.copy_(torch.randn(matrix.shape, generator=generator) / 8)
    return made


def save(folder: Path, seed: int = 0) -> None:
    """Write the model as sentence-transformers does, so that it is loaded like a real one."""
    save_bert(folder / "bert", seed=seed)
    transformer = Transformer(str(folder / "bert"))
    pooling = Pooling(transformer.get_embedding_dimension())
    SentenceTransformer(modules=[transformer, pooling], device="cpu", similarity_fn_name="cosine").save(str(folder))


def words(seed: int = 0) -> WeightedWordVectors:
    """A vector and a weight for each letter, 16 dimensions; the same ones for the same seed."""
    with tempfile.TemporaryDirectory() as folder:
        save_words(Path(folder), seed)
        return WeightedWordVectors(folder, device="cpu")


def save_words(folder: Path, seed: int = 0) -> None:
    """Write word vectors as `WeightedWordVectors` reads them."""
    tokenizer = letter_tokenizer(folder)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(len(tokenizer), 16, generator=generator)
    weights = torch.rand(len(tokenizer), generator=generator) + 0.5
    save_file({"vectors": vectors, "weights": weights}, folder / "words.safetensors")
