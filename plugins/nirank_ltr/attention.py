"""Self-attention over the list: a document's score depends on the documents that are ranked with it.

Pobrotyn, Bartczak, Synowiec, Bialobrzeski and Bojar, Context-Aware Learning to Rank with Self-Attention, SIGIR eCom
2020, arXiv 2005.10084. With FC a fully connected layer and N blocks E, each an encoder of Vaswani et al. (2017),

    f(x) = FC(E(... E(FC(x))))        E(x) = LayerNorm(z + Dropout(FC(Dropout(relu(FC(z))))))
                                      z    = LayerNorm(x + Dropout(MultiHead(x, x, x)))

There are no encodings of positions: a list is a set here, whatever its order. What pads shorter lists is masked before
the softmax of the attention, so that nobody attends to it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.data import Candidates
from nirank.errors import BadInput
from nirank.training import Padding
from nirank_ltr.ranker import FeatureRanker, RankerSettings, drawn
from nirank_ltr.sample import taught

_SCORES = 1 << 24  # numbers of attention that are in memory at a time


class Attention(FeatureRanker):
    """Scores the documents of a list by their features, looking at all of them: see the head of this module.

    `dim` is that of the vectors of documents, `blocks` is N, each with `heads`, `hidden` units and `dropout`. The other
    settings are those of `RankerSettings`. Lists stay whole; the attention of a long one takes time that grows with the
    square of its length, and bounded memory where nothing is trained.

    Raises `BadInput` for numbers that make no sense.
    """

    name = "attention"
    batch_size = 16384
    listwise = True

    def __init__(
        self,
        dim: int = 64,
        blocks: int = 2,
        heads: int = 2,
        hidden: int = 128,
        dropout: float = 0.1,
        shared: RankerSettings = RankerSettings(),
    ) -> None:
        sizes = {"dim": dim, "blocks": blocks, "heads": heads, "hidden": hidden}
        if min(sizes.values()) < 1 or dim % heads or not 0 <= dropout < 1:
            chosen = ", ".join(f"{name} = {size}" for name, size in sizes.items())
            raise BadInput(
                f"{chosen}, dropout = {dropout}: numbers from 1, dim a multiple of heads, and a dropout from 0 to "
                "below 1 are expected."
            )
        super().__init__({**sizes, "dropout": dropout}, shared)

    def network(self, features: int, random: torch.Generator) -> nn.Module:
        """The layers, drawn one after the other."""
        shape = self.settings
        blocks = [
            EncoderBlock(shape["dim"], shape["heads"], shape["hidden"], shape["dropout"], random)
            for _ in range(shape["blocks"])
        ]
        first, last = drawn(features, shape["dim"], random), drawn(shape["dim"], shape["classes"], random)
        return _Lists(first, nn.ModuleList(blocks), last)


class _Lists(nn.Module):
    """f: see the head of this module. Lists of about one length are computed together."""

    def __init__(self, first: nn.Linear, blocks: nn.ModuleList, last: nn.Linear) -> None:
        super().__init__()
        self.first, self.blocks, self.last = first, blocks, last

    def forward(self, values: Tensor, candidates: Candidates) -> Tensor:
        vectors = self.first(values)  # (pairs, features) -> (pairs, dim)
        found = torch.zeros_like(vectors)
        for lists in _of_a_length(candidates.lengths):
            pairs = torch.from_numpy(_pairs(candidates, lists)).to(vectors.device)
            padding = Padding(candidates.take(lists), vectors.device)
            padded = padding.matrix(vectors[pairs])  # (lists, longest, dim)
            for block in self.blocks:
                padded = block(padded, padding.mask)
            found = found.index_put((pairs,), padded[padding.mask])
        return self.last(found)  # (pairs, classes)


class EncoderBlock(nn.Module):
    """E: see the head of this module."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float, random: torch.Generator) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.project, self.join = drawn(dim, 3 * dim, random), drawn(dim, dim, random)
        self.widen, self.narrow = drawn(dim, hidden, random), drawn(hidden, dim, random)
        self.attended, self.done = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """The vectors of documents, `[lists, longest, dim]`; `mask` `[lists, longest]` is True where there is one."""
        vectors = self.attended(vectors + self._drop(self.join(self._attend(vectors, mask))))
        return self.done(vectors + self._drop(self.narrow(self._drop(F.relu(self.widen(vectors))))))

    def _attend(self, vectors: Tensor, mask: Tensor) -> Tensor:
        lists, longest, dim = vectors.shape
        parts = self.project(vectors).view(lists, longest, 3, self.heads, dim // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (lists, heads, longest, dim of a head)
        size = max(1, _SCORES // (lists * self.heads * longest))
        share = self.dropout if self.training else 0.0
        found = [
            F.scaled_dot_product_attention(some, key, value, mask[:, None, None, :], share)
            for some in query.split(size, 2)
        ]
        return torch.cat(found, 2).transpose(1, 2).reshape(lists, longest, dim)

    def _drop(self, vectors: Tensor) -> Tensor:
        return F.dropout(vectors, self.dropout, self.training)


def _of_a_length(lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The lists that are not empty, in groups in which none is twice as long as another, so that little is padding."""
    levels = np.frexp(lengths)[1]
    for level in np.unique(levels[lengths > 0]):
        yield np.flatnonzero(levels == level)


def _pairs(candidates: Candidates, lists: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of the pairs of some lists among all."""
    lengths = candidates.lengths[lists]
    ends = np.cumsum(lengths)
    return np.repeat(candidates.offsets[lists] - (ends - lengths), lengths) + np.arange(ends[-1])


def tiny() -> Attention:
    """Three features, two blocks of 8 dimensions."""
    return taught(Attention(dim=8, heads=2, hidden=12, shared=RankerSettings(device="cpu")))
