"""A text as the sum of its words' vectors, each times a weight of that word, which is learned."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nirank.data import Content, Queries
from nirank.errors import BadInput
from nirank.kit import weights_digest
from nirank.kit.text import require_text
from nirank.kit.transformers import word_tokenizer

VECTORS, WEIGHTS, TOKENIZER = "vectors", "weights", "tokenizer.json"


class WeightedWordVectors(nn.Module):
    """Encodes queries and documents by the vectors v of their words and one learned weight a of each word:

        sum over the words w of the text, as often as they occur, of a(w) v(w),   made of length 1

    Every weight is 1 at first, or as the file says. Arora et al., A Simple but Tough-to-Beat Baseline for Sentence
    Embeddings, ICLR 2017, set a(w) = c / (c + p(w)) from the probability p(w) of a word; here training finds it, for
    some thousands of words at the cost of a table, and finds the vectors too where `train_vectors` says so.

    `model` is a folder with one file of safetensors and one JSON file of a tokenizer (of the library `tokenizers`).
    The vectors are the one matrix `[words, dim]` among the tensors, the weights the one vector `[words]`, if there is
    one. Words are what the tokenizer makes, often pieces of words; special tokens are left out. A text without words
    has the vector 0.

    Raises `BadInput` for a folder that holds something else.
    """

    known_as = "nirank_dense.words:WordVectors"  # where it was when indexes were first made with it

    vectors = "dense"
    reads = "text"
    batch_size = 1024

    def __init__(self, model: str, device: str | None = None, train_vectors: bool = False) -> None:
        super().__init__()
        matrix, weights = _tensors(_only(Path(model), "*.safetensors"))
        self._tokenizer = word_tokenizer(_only(Path(model), "*.json"), len(matrix))
        self.bags = nn.EmbeddingBag.from_pretrained(matrix, mode="sum", freeze=not train_vectors)
        self.weights = nn.Parameter(weights)
        self.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()

    @property
    def device(self) -> str:
        """The device of the vectors."""
        return str(self.weights.device)

    def encode(self, queries: Queries) -> Tensor:
        """Vectors of queries, float32 `[queries, dim]`."""
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents: Sequence[Content]) -> Tensor:
        """Vectors of documents, float32 `[documents, dim]`."""
        words, starts = (torch.from_numpy(part).to(self.weights.device) for part in self._words(contents))
        sums = self.bags(words, starts, per_sample_weights=self.weights[words])
        lengths = sums.norm(dim=1, keepdim=True)
        return sums / lengths.where(lengths > 0, 1)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write vectors, weights and tokenizer into `folder / "words"`.

        Returns the table of a stage that builds this encoder again; its path is relative to `folder`.
        """
        inside = folder / "words"
        inside.mkdir(parents=True, exist_ok=True)
        save_file({VECTORS: self.bags.weight.detach(), WEIGHTS: self.weights.detach()}, inside / "words.safetensors")
        self._tokenizer.save(str(inside / TOKENIZER))
        return {"use": "encoder/words", "model": Path("words"), "train_vectors": self.bags.weight.requires_grad}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of vectors, weights and tokenizer."""
        return hashlib.blake2b(
            (weights_digest(self.state_dict()) + self._tokenizer.to_str()).encode(), digest_size=16
        ).hexdigest()

    def _words(self, texts: Sequence[Content]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The words of all texts in one column, and where each text starts in it."""
        require_text(texts, "content")
        words = [cut.ids for cut in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
        ends = np.cumsum([0, *map(len, words)])
        return np.fromiter(itertools.chain.from_iterable(words), np.int64, ends[-1]), ends[:-1]


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise BadInput(f"has {len(found)} files {pattern}; exactly one, of word vectors, is expected.", folder)
    return found[0]


def _tensors(path: Path) -> tuple[Tensor, Tensor]:
    """Vectors and weights, float32."""
    try:
        tensors = [tensor.float() for tensor in load_file(path).values()]
    except SafetensorError as error:
        raise BadInput(f"is not a file of safetensors: {error}", path) from error
    matrices, weights = ([tensor for tensor in tensors if tensor.ndim == axes] for axes in (2, 1))
    if len(matrices) != 1 or len(tensors) > 2 or any(len(weight) != len(matrices[0]) for weight in weights):
        shapes = [tuple(tensor.shape) for tensor in tensors]
        raise BadInput(
            f"has tensors of the shapes {shapes}; one matrix of vectors, and at most one weight a row, are expected.",
            path,
        )
    return matrices[0], weights[0] if weights else torch.ones(len(matrices[0]))
