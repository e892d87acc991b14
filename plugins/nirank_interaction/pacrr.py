"""PACRR: the strongest matches of a query word, of a pair of words, of three in a row, wherever they stand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nirank.errors import BadInput
from nirank_interaction.lists import Grid, WordLists
from nirank_interaction.ranker import BoundedReading, Embedding, Ranker, ready

Combine = Literal["lstm", "dense"]
_EMBEDDING, _READING = Embedding(), BoundedReading(max_query=16, max_document=800)


class PACRR(Ranker):
    """Scores by the `k` largest values of each row of the matrix of cosines, and of its convolutions with n x n
    windows:

        C^1 = cosines,   C^n = relu(max over filters of conv_n(C^1)),   P_i = (k largest of C^1_i, C^2_i, ...; idf_i)

    Hui et al., PACRR: A Position-Aware Neural IR Model for Relevance Matching, EMNLP 2017, sections 3.2 and 3.3, with
    the first `max_document` words of a document (its variant "firstk"); `ngrams` is the largest window, and idf_i the
    softmax of the idf of the query words. `combine` reads the rows: "lstm" one after the other (the paper's has
    one unit for `hidden`, and no linear layer behind), or "dense", two layers that see all, as in Hui et al., Co-PACRR,
    WSDM 2018.

    Windows begin at their cell, and see 0 beyond the texts. Of a document with fewer than k words the missing values
    are 0.
    """

    name = "pacrr"

    def __init__(
        self,
        k: int = 2,
        ngrams: int = 3,
        filters: int = 32,
        combine: Combine = "dense",
        hidden: int = 32,
        *,
        embedding: Embedding = _EMBEDDING,
        reading: BoundedReading = _READING,
    ) -> None:
        if min(k, ngrams, filters, hidden) < 1:
            raise BadInput(
                f"k = {k}, ngrams = {ngrams}, filters = {filters}, hidden = {hidden}: numbers from 1 are expected."
            )
        self.k, self.ngrams, self.filters, self.combine, self.hidden = k, ngrams, filters, combine, hidden
        self.max_query = reading.max_query
        words = vars(embedding)
        super().__init__(reading, **words, k=k, ngrams=ngrams, filters=filters, combine=combine, hidden=hidden)

    def layers(self, dim: int) -> None:  # noqa: ARG002 (it has no word vectors)
        """The convolutions, and what combines the rows."""
        self.convolutions = nn.ModuleList(nn.Conv2d(1, self.filters, n) for n in range(2, self.ngrams + 1))
        width, hidden = self.ngrams * self.k + 1, self.hidden
        if self.combine == "lstm":
            self.lstm = nn.LSTM(width, hidden, batch_first=True)
            self.last = nn.Linear(hidden, 1)
        else:
            first = nn.Linear(self.max_query * width, hidden)
            self.dense = nn.Sequential(first, nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, lists: WordLists) -> Tensor:
        """The scores, `[P]`."""
        return lists.over_grids(self.cosines(lists), self._score)

    def _score(self, grid: Grid) -> Tensor:
        places = torch.arange(grid.values.shape[1], device=grid.values.device)
        is_word = places < grid.query_lengths[:, None]  # [p, Q]
        images = [grid.values, *(self._matches(grid.values, one) for one in self.convolutions)]
        found = [strongest(image, grid.document_lengths, self.k) for image in images]
        idf = grid.idf.masked_fill(~is_word, -torch.inf).softmax(1)
        rows = torch.cat([*found, idf[:, :, None]], 2).masked_fill(~is_word[:, :, None], 0)  # [p, Q, ngrams k + 1]
        return self._in_turn(rows, grid.query_lengths) if self.combine == "lstm" else self._all_at_once(rows)

    def _matches(self, values: Tensor, convolution: Any) -> Tensor:
        """The best of all filters, `[p, Q, D]`."""
        beyond = convolution.kernel_size[0] - 1
        return convolution(F.pad(values[:, None], (0, beyond, 0, beyond))).max(1).values.relu()

    def _in_turn(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """The LSTM's output behind the last word of each query."""
        states, _ = self.lstm(rows)
        end = states[torch.arange(len(rows), device=rows.device), (lengths - 1).clamp_min(0)]
        return self.last(end).squeeze(1)

    def _all_at_once(self, rows: Tensor) -> Tensor:
        return self.dense(F.pad(rows, (0, 0, 0, self.max_query - rows.shape[1])).flatten(1)).squeeze(1)


def strongest(image: Tensor, lengths: Tensor, k: int) -> Tensor:
    """The k largest values of each row, falling, `[p, Q, k]`; 0 where the document has no more words."""
    image = F.pad(image, (0, max(0, k - image.shape[2])))
    outside = torch.arange(image.shape[2], device=lengths.device) >= lengths[:, None]
    largest = image.masked_fill(outside[:, None], -torch.inf).topk(k, 2).values
    return largest.masked_fill(largest == -torch.inf, 0)


def tiny() -> Ranker:
    """Four filters and an LSTM over vectors of a few words."""
    reading = replace(_READING, max_query=6, device="cpu")
    return ready(PACRR(filters=4, combine="lstm", hidden=5, embedding=Embedding(train_vectors=True), reading=reading))
