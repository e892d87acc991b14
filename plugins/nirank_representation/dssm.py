"""DSSM: texts as letter trigrams through a few dense layers, compared by cosine."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.data import Candidates, Collection, Content, Documents, Queries, offsets_of
from nirank.errors import BadInput
from nirank.kit import weights_digest
from nirank_representation.trigrams import Numbers, trigrams, vocabulary

WEIGHTS = "dssm.safetensors"
_TRIGRAMS = "trigrams"
_READ = 4096  # documents read at a time for their trigrams


class Tower(nn.Module):
    """Dense layers over counts of trigrams: l1 = tanh(W1 x + b1), l2 = tanh(W2 l1 + b2), ...

    x has a place for every trigram and few that are not 0, so the first product is a sum of rows of `bags`. Weights
    are drawn evenly from +-sqrt(6 / (inputs + outputs)) of each layer, as in the paper.
    """

    def __init__(self, trigrams: int, dims: Sequence[int], random: torch.Generator) -> None:
        super().__init__()
        self.bags = nn.EmbeddingBag(trigrams, dims[0], mode="sum", include_last_offset=True)
        self.bias = nn.Parameter(torch.zeros(dims[0]))
        layers = [nn.Linear(before, after) for before, after in pairwise(dims)]
        self.layers = nn.ModuleList(layers)
        for matrix in (self.bags.weight, *(layer.weight for layer in layers)):
            bound = (6 / sum(matrix.shape)) ** 0.5
            nn.init.uniform_(matrix, -bound, bound, generator=random)
        for layer in layers:
            nn.init.zeros_(layer.bias)

    def forward(self, rows: Tensor, starts: Tensor) -> Tensor:
        """The last layer of texts, `[texts, dim]`; those of text i are `rows[starts[i]:starts[i + 1]]`."""
        vectors = torch.tanh(self.bags(rows, starts) + self.bias)
        for layer in self.layers:
            vectors = torch.tanh(layer(vectors))
        return vectors


class DSSM(nn.Module):
    """Encodes a text by counts of its letter trigrams, through tanh layers of `dims` units, into a unit vector.

    Huang et al., Learning Deep Structured Semantic Models for Web Search using Clickthrough Data, CIKM 2013. The dot
    product of two vectors is the paper's R(Q, D), a cosine; its loss over one clicked document and sampled others is
    `softmax_cross_entropy`, whose `gamma` smooths the cosines. Queries and documents have one tower, or one each where
    `towers` is 2.

    "Word hashing" is the paper's: trigrams that occur `min_count` times in the queries and documents of the collection
    the model is first trained on are its input, others are left out, and two words collide only where they have the
    same trigrams. A text without known trigrams has the vector 0. `model` is a file that `save` wrote; `seed` is that
    of the first weights.

    Raises `BadInput` for a file that holds something else, and where it is to encode before it was trained.
    """

    vectors = "dense"
    reads = "text"
    batch_size = 1024

    def __init__(
        self,
        dims: Sequence[int] = (300, 300, 128),
        towers: int = 1,
        min_count: int = 1,
        seed: int = 0,
        model: str | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        if not dims or min(dims) < 1 or towers not in (1, 2) or min_count < 1:
            raise BadInput(
                f"dims = {list(dims)}, towers = {towers}, min_count = {min_count}: layers of 1 unit or more, 1 or 2 "
                "towers, and a whole number from 1 are expected."
            )
        self.dims, self.min_count, self.seed = tuple(dims), min_count, seed
        self.towers = nn.ModuleList()
        self._count = towers
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.register_buffer(_TRIGRAMS, torch.empty(0, dtype=torch.int64))
        if model is not None:
            self._load(Path(model))
        self.eval()

    def __repr__(self) -> str:
        return f"DSSM({len(self.trigrams)} trigrams, dims={list(self.dims)}, towers={self._count})"

    def begin(self, collection: Collection) -> None:
        """Take the trigrams of a collection, with new weights; a model that has some keeps what it has."""
        if not self.towers:
            self._build(vocabulary(_texts(collection), self.min_count))

    def encode(self, queries: Queries) -> Tensor:
        """Unit vectors of queries, float32 `[queries, dims[-1]]`."""
        return self._vectors(queries.contents, 0)

    def encode_documents(self, contents: Sequence[Content]) -> Tensor:
        """Unit vectors of documents, float32 `[documents, dims[-1]]`."""
        return self._vectors(contents, -1)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write trigrams and weights into `folder`. Returns the table of a stage that builds this encoder again."""
        save_file({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, folder / WEIGHTS)
        return {"use": "encoder/dssm", "dims": list(self.dims), "towers": self._count, "model": Path(WEIGHTS)}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of trigrams and weights."""
        return hashlib.blake2b(f"{weights_digest(self.state_dict())}{self!r}".encode(), digest_size=16).hexdigest()

    def _vectors(self, texts: Sequence[Content], tower: int) -> Tensor:
        if not self.towers:
            raise BadInput(
                "this DSSM is not trained: train it with nirank.fit, or set `model` to the file of a trained one."
            )
        rows, starts = self._rows(texts)
        known = torch.from_numpy(np.diff(starts) > 0).to(self.trigrams.device)
        columns = (torch.from_numpy(part).to(self.trigrams.device) for part in (rows, starts))
        return F.normalize(self.towers[tower](*columns), dim=1).where(known[:, None], 0)

    def _rows(self, texts: Sequence[Content]) -> tuple[Numbers, Numbers]:
        """The known trigrams of all texts as rows of the first layer, and where each text begins."""
        found, starts = trigrams(texts)
        places = np.minimum(np.searchsorted(self._known, found), len(self._known) - 1)
        known = self._known[places] == found
        return places[known], offsets_of(known)[starts]

    def _build(self, known: Numbers) -> None:
        if not len(known):
            raise BadInput(f"no trigram occurs min_count = {self.min_count} times in the collection: lower min_count.")
        random = torch.Generator().manual_seed(self.seed)
        self.trigrams = torch.from_numpy(known)
        self.towers.extend(Tower(len(known), self.dims, random) for _ in range(self._count))
        self._known = known
        self.to(self._device)

    def _load(self, path: Path) -> None:
        try:
            state = load_file(path)
            self._build(state[_TRIGRAMS].numpy())
            self.load_state_dict(state)
        except (SafetensorError, OSError, KeyError, RuntimeError) as error:
            raise BadInput(
                f"cannot be loaded as a DSSM with dims {list(self.dims)} and {self._count} towers: {error}", path
            ) from error


def _texts(collection: Collection) -> Iterator[Sequence[Content]]:
    """The documents, batch by batch, and the queries."""
    for start in range(0, len(collection.corpus), _READ):
        yield collection.corpus[start : start + _READ]
    yield collection.queries.contents


def tiny() -> DSSM:
    """Layers of 16 and 8 units over the trigrams of a few words, with the first weights."""
    texts = ["a small cat sat on the warm mat", "the dog ran over a long bridge", "a fast red car", "zebra 東京"]
    encoder = DSSM(dims=(16, 8), device="cpu")
    encoder.begin(Collection("tiny", Documents(list("abcd"), texts), Queries.of([]), Candidates.empty(0)))
    return encoder
