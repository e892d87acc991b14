"""DRMM-TKS: the strongest similarities of each query word in the place of DRMM's histogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from nirank.errors import BadInput
from nirank_interaction.drmm import Gate
from nirank_interaction.lists import Grid, WordLists
from nirank_interaction.pacrr import strongest
from nirank_interaction.ranker import BoundedReading, Embedding, Ranker, ready

_EMBEDDING, _READING = Embedding(), BoundedReading(max_query=32, max_document=500)


class DRMMTopK(Ranker):
    """Scores by the `k` largest cosines of each query word with words of the document, gated by query word:

        s(q, d) = sum over i of g_i z_i,   z_i = W_2 relu(W_1 t_i + b_1) + b_2,   g = softmax over i of w_g . x_i

    t_i are the k largest of cos(q_i, d_j), falling; of a document with fewer words the missing ones are 0. So DRMM (Guo
    et al., CIKM 2016) learns vectors as well, which a histogram would not let it. MatchZoo has it as DRMMTKS (Guo et
    al., MatchZoo: A Learning, Practicing, and Developing System for Neural Text Matching, SIGIR 2019), with a further
    linear layer over the sum, which changes no order. `gate` says what x_i is: the word's "vector", as there, or its
    "idf". `hidden` are the units of the layers before the last. A word that both have is as similar as words can be: 1.
    """

    name = "drmm_tks"

    def __init__(
        self,
        k: int = 10,
        hidden: Sequence[int] = (5,),
        gate: Gate = "vector",
        *,
        embedding: Embedding = _EMBEDDING,
        reading: BoundedReading = _READING,
    ) -> None:
        if min(k, *hidden, 1) < 1:
            raise BadInput(f"k = {k}, hidden = {list(hidden)}: whole numbers from 1 are expected.")
        self.k, self.hidden, self.gate = k, tuple(hidden), gate
        super().__init__(reading, **vars(embedding), k=k, hidden=list(hidden), gate=gate)

    def layers(self, dim: int) -> None:
        """The network of similarities, and the gate."""
        inner = pairwise([self.k, *self.hidden])
        last = nn.Linear([self.k, *self.hidden][-1], 1)
        self.network = nn.Sequential(*(layer for size in inner for layer in (nn.Linear(*size), nn.ReLU())), last)
        self.weight = nn.Linear(1 if self.gate == "idf" else dim, 1, bias=False)
        if self.gate == "idf":  # rare words count more before anything was learned
            nn.init.ones_(self.weight.weight)

    def forward(self, lists: WordLists) -> Tensor:
        """The scores, `[P]`."""
        inputs = lists.idf[:, :, None] if self.gate == "idf" else self.vectors_of(lists.known)[lists.query]
        gates = self.weight(inputs).squeeze(2).masked_fill(~lists.is_word, -torch.inf)  # [B, Q]
        gates = gates.softmax(1).where(lists.is_word, 0)  # also where a query has no words
        return replace(lists, idf=gates).over_grids(self.cosines(lists), self._score)  # which go where idf goes

    def _score(self, grid: Grid) -> Tensor:
        values = self.network(strongest(grid.values, grid.document_lengths, self.k)).squeeze(2)  # [p, Q]
        return (values * grid.idf).sum(1)


def tiny() -> Ranker:
    """The three largest over vectors of a few words."""
    reading = replace(_READING, device="cpu")
    return ready(DRMMTopK(k=3, hidden=(4,), embedding=Embedding(train_vectors=True), reading=reading))
