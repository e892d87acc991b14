"""DRMM: a histogram of how similar the words of a document are to each word of the query, through a small network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nirank.data import Explanation, to_numpy
from nirank.errors import BadInput
from nirank_interaction.lists import CELLS, WordLists
from nirank_interaction.ranker import CORPUS, Ranker, Reading, ready

Histogram = Literal["CH", "NH", "LCH"]
Gate = Literal["idf", "vector"]
_READING = Reading()


class DRMM(Ranker):
    """Scores by histograms h of the cosines of a query word with all words of the document, gated by query word:

        s(q, d) = sum over i of g_i z_i,   z_i = tanh layers of h(q_i, d),   g = softmax over i of w_g . x_i

    Guo et al., A Deep Relevance Matching Model for Ad-hoc Retrieval, CIKM 2016, equations (1) to (3). `bins` divide
    [-1, 1) evenly, but for the last, which counts exact matches. `histogram` is "CH" (counts), "NH" (counts by the
    length of the document) or "LCH" (ln(1 + count)). `gate` says what x_i is: the word's idf, or its vector. `hidden`
    are the units of the layers before the last, which has one.

    Cosines are computed in float64, so that none near the border of two bins falls into the one or the other by what
    else is in the batch. Histograms have no gradients: vectors are not trained.
    """

    name = "drmm"

    def __init__(
        self,
        histogram: Histogram = "LCH",
        bins: int = 30,
        hidden: Sequence[int] = (5,),
        gate: Gate = "idf",
        vectors: str = CORPUS,
        *,
        reading: Reading = _READING,
    ) -> None:
        if bins < 2 or min(hidden, default=1) < 1:
            raise BadInput(
                f"bins = {bins}, hidden = {list(hidden)}: at least 2 bins and layers of 1 unit are expected."
            )
        self.histogram, self.bins, self.hidden, self.gate = histogram, bins, tuple(hidden), gate
        super().__init__(reading, vectors, histogram=histogram, bins=bins, hidden=list(hidden), gate=gate)

    def layers(self, dim: int) -> None:
        """The network of histograms, and the gate."""
        sizes = pairwise([self.bins, *self.hidden, 1])
        self.network = nn.Sequential(*(layer for size in sizes for layer in (nn.Linear(*size), nn.Tanh())))
        self.weight = nn.Linear(1 if self.gate == "idf" else dim, 1, bias=False)
        if self.gate == "idf":  # rare words count more before anything was learned
            nn.init.ones_(self.weight.weight)

    def forward(self, lists: WordLists) -> Tensor:
        """The scores, `[P]`."""
        return self._of_words(lists).sum(1)

    def parts_of(self, lists: WordLists, words: Sequence[str]) -> Sequence[Explanation]:
        """A part for each word of the query: its value times its gate."""
        worth = to_numpy(self._of_words(lists))[0].tolist()
        return [Explanation(word, each) for word, each in zip(words, worth, strict=False)]

    def _of_words(self, lists: WordLists) -> Tensor:
        """The value of each query word times its gate, `[P, Q]`."""
        values = self.network(self._histograms(lists)).squeeze(2)  # [P, Q]
        inputs = lists.idf[:, :, None] if self.gate == "idf" else self.vectors_of(lists.known)[lists.query]
        gates = self.weight(inputs).squeeze(2).masked_fill(~lists.is_word, -torch.inf)  # [B, Q]
        gates = gates.softmax(1).where(lists.is_word, 0)  # also where a query has no words
        return values * gates[lists.owners]

    def _histograms(self, lists: WordLists) -> Tensor:
        """`[P, Q, bins]`."""
        with torch.no_grad():
            counts: Any = sum(self._counts(part) for part in lists.parts(1))
            if self.histogram == "NH":
                return counts / lists.lengths.clamp_min(1)[:, None, None]
            return counts.log1p() if self.histogram == "LCH" else counts

    def _counts(self, lists: WordLists) -> Tensor:
        """The number of words of each document in each bin, `[P, Q, bins]`."""
        cosines = lists.cosines(self.vectors_of(lists.known).double())  # [B, U, Q]
        inner = self.bins - 1
        bins = ((cosines + 1) * (inner / 2)).long().clamp(0, inner - 1).masked_fill(lists.exact, inner).flatten(0, 1)
        documents, queries = len(lists.pairs), bins.shape[1]
        firsts = torch.arange(documents, device=bins.device).repeat_interleave(lists.lengths) * (queries * self.bins)
        columns = torch.arange(queries, device=bins.device) * self.bins
        counts = torch.zeros(documents * queries * self.bins, device=bins.device, dtype=torch.int64)
        for tokens, first in zip(lists.tokens.split(CELLS), firsts.split(CELLS), strict=True):
            counts += (bins[tokens] + first[:, None] + columns).flatten().bincount(minlength=len(counts))
        return counts.view(documents, queries, self.bins).float()


def tiny() -> Ranker:
    """Ten bins over vectors of a few words."""
    return ready(DRMM(bins=10, gate="vector", reading=Reading(device="cpu")))
