"""MatchPyramid: the matrix of similarities as a picture, in which a convolution finds patterns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nirank.errors import BadInput
from nirank_interaction.knrm import weights_of
from nirank_interaction.lists import Grid, WordLists
from nirank_interaction.ranker import BoundedReading, Embedding, Ranker, ready

Similarity = Literal["cosine", "dot", "gaussian", "indicator"]
_EMBEDDING, _READING = Embedding(), BoundedReading(max_query=32, max_document=500)


class MatchPyramid(Ranker):
    """Scores by a convolution over the matrix of similarities, pooled to a fixed size, and two layers:

        M_ij = q_i x d_j,   Z = pool(relu(conv(M) + b)),   f(q, d) = W_2 relu(W_1 Z + b_1) + b_2

    Pang et al., Text Matching as Image Recognition, AAAI 2016, equations (1) to (8); for search, Pang et al., A Study
    of MatchPyramid Models on Ad-hoc Retrieval, 2016, which finds one convolution enough. `similarity` is "cosine" (1
    where words have the same term), "dot", "gaussian" (exp(-|q - d|^2), 1 for the same term) or "indicator" (1 for the
    same term, else 0). With `idf` the rows of M are weighted by the idf of their words (1 on average over a query),
    which the papers do not do.

    `kernel` are the query and document words that one of `filters` sees; beyond the texts it sees 0, whatever the other
    texts of a batch are. `pool` `[rows, columns]` divides the matrix of each pair, by its own lengths, into cells that
    overlap where they do not divide evenly: dynamic pooling takes the largest value of each. Of longer documents the
    first `max_document` words are read.
    """

    name = "matchpyramid"

    def __init__(
        self,
        similarity: Similarity = "cosine",
        filters: int = 8,
        kernel: Sequence[int] = (3, 3),
        pool: Sequence[int] = (3, 10),
        hidden: int = 32,
        idf: bool = False,
        *,
        embedding: Embedding = _EMBEDDING,
        reading: BoundedReading = _READING,
    ) -> None:
        if min(filters, hidden, *kernel, *pool) < 1 or len(kernel) != 2 or len(pool) != 2:
            described = f"filters = {filters}, hidden = {hidden}, kernel = {list(kernel)}, pool = {list(pool)}"
            raise BadInput(f"{described}: numbers from 1 are expected, and two each in kernel and pool.")
        self.similarity, self.filters, self.hidden, self.idf = similarity, filters, hidden, idf
        self.kernel, self.pool = (kernel[0], kernel[1]), (pool[0], pool[1])
        vectors = None if similarity == "indicator" else embedding.vectors
        trains = embedding.train_vectors and vectors is not None
        shape = {"filters": filters, "kernel": list(kernel), "pool": list(pool), "hidden": hidden}
        super().__init__(reading, vectors, trains, similarity=similarity, **shape, idf=idf)

    def layers(self, dim: int) -> None:  # noqa: ARG002 (it has no word vectors)
        """The convolution and the two layers."""
        self.convolution = nn.Conv2d(1, self.filters, self.kernel)
        rows, columns = self.pool
        self.network = nn.Sequential(
            nn.Linear(self.filters * rows * columns, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 1)
        )

    def forward(self, lists: WordLists) -> Tensor:
        """The scores, `[P]`."""
        rows = self._similarities(lists)
        if self.idf:
            rows = rows * weights_of(lists)[:, None]
        return lists.over_grids(rows, self._score)

    def similarities_of(self, lists: WordLists) -> Tensor:
        """The matrix that the convolution reads, without the weights of rows."""
        return self._similarities(lists)

    def _similarities(self, lists: WordLists) -> Tensor:
        """`[B, U, Q]`."""
        if self.similarity == "indicator":
            return lists.exact.float()
        if self.similarity == "cosine":
            return self.cosines(lists)
        vectors = self.vectors_of(lists.known)
        products = lists.products(vectors)
        if self.similarity == "dot":
            return products
        lengths = vectors.square().sum(1)
        squares = lengths[lists.words][:, :, None] + lengths[lists.query][:, None]
        return (2 * products - squares).clamp_max(0).exp().masked_fill(lists.exact, 1)

    def _score(self, grid: Grid) -> Tensor:
        high, wide = self.kernel
        around = ((wide - 1) // 2, wide // 2, (high - 1) // 2, high // 2)  # as many cells come out as go in
        found = self.convolution(F.pad(grid.values[:, None], around)).relu()  # [p, filters, Q, D]
        rows, columns = self.pool
        across = pool(found, grid.document_lengths, columns).transpose(2, 3)
        pooled = pool(across, grid.query_lengths, rows).transpose(2, 3)
        return self.network(pooled.flatten(1)).squeeze(1)


def pool(values: Tensor, lengths: Tensor, cells: int) -> Tensor:
    """The largest value in each of `cells` cells of the last axis, of which `lengths` `[p]` count: `[p, a, b, cells]`.

    Cell c of n values reaches from floor(c n / cells) to ceil((c + 1) n / cells); of no values it is 0.
    """
    cell, n = torch.arange(cells, device=lengths.device), lengths[:, None]
    first, last = cell * n // cells, -(-(cell + 1) * n // cells) - 1  # [p, cells]
    width = max(1, int((last - first).max()) + 1) if len(lengths) else 1
    at = torch.minimum(first[:, :, None] + torch.arange(width, device=n.device), last[:, :, None]).clamp_min(0)
    places = at.flatten(1)[:, None, None].expand(-1, *values.shape[1:3], -1)
    largest = values.gather(3, places).unflatten(3, (cells, width)).amax(4)
    return largest * (lengths > 0)[:, None, None, None]


def tiny() -> Ranker:
    """Four filters over vectors of a few words."""
    reading = replace(_READING, device="cpu")
    model = MatchPyramid(filters=4, pool=(2, 3), hidden=5, embedding=Embedding(train_vectors=True), reading=reading)
    return ready(model)
