"""Duet: where the words of the query stand in a document, and what both texts are about, learned together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nirank.errors import BadInput
from nirank_interaction.duet_local import DuetLocal
from nirank_interaction.lists import CELLS, WordLists
from nirank_interaction.ranker import BoundedReading, Embedding, Ranker, ready

_EMBEDDING, _READING = Embedding(), BoundedReading(max_query=10, max_document=1000)
#: Words that the convolution of a text sees at once.
_WINDOW = 3


class Duet(DuetLocal):
    """Scores by the sum of two networks that are trained as one, f(q, d) = tanh(f_local) + tanh(f_distributed).

    The local one is `duet_local`. The distributed one reads texts by the vectors of their words, of length 1:

        Q = tanh(A max over i of tanh(conv_q(q)_i) + a),   D_j = tanh(B max over window j of tanh(conv_d(d)) + b)
        f_distributed = w . dropout(tanh layers of (Q * D_1, ..., Q * D_m))

    Mitra, Diaz and Craswell, Learning to Match Using Local and Distributed Representations of Text for Web Search, WWW
    2017, section 3.2: convolutions see 3 words, with `filters` filters; the largest value of each over the query, and
    over each window of `pool` places of the document, is read by a layer of `hidden` units; products go through two
    more. The last tanh is that of the authors' program (bmitra-msft/NDRM): neither network can outvote the other.
    Words have vectors, as in Mitra and Craswell, An Updated Duet Model for Passage Re-ranking, 2019, and not counts of
    the n-graphs of letters as in 2017; `vectors` and `train_vectors` say which. Lengths of vectors are left out, since
    long ones drive every tanh to its ends. Words beyond a text are 0.

    Where few queries train it, let `pool` be `max_document - 2`, one window: each has weights of its own.
    """

    name = "duet"

    def __init__(
        self,
        filters: int = 300,
        hidden: int = 300,
        dropout: float = 0.2,
        idf: bool = False,
        pool: int = 100,
        *,
        embedding: Embedding = _EMBEDDING,
        reading: BoundedReading = _READING,
    ) -> None:
        places = reading.max_document - _WINDOW + 1
        if not 1 <= pool <= places or reading.max_query < _WINDOW:
            raise BadInput(
                f"pool = {pool}, max_query = {reading.max_query}, max_document = {reading.max_document}: a query of "
                f"{_WINDOW} words at least, and a pool from 1 to max_document - {_WINDOW - 1}, are expected."
            )
        self.pool, self.windows = pool, places - pool + 1
        self._take(filters, hidden, dropout, idf, reading)
        shape: dict[str, Any] = {"filters": filters, "hidden": hidden, "dropout": dropout, "idf": idf, "pool": pool}
        Ranker.__init__(self, reading, **vars(embedding), **shape)

    def layers(self, dim: int) -> None:
        """The layers of both networks."""
        super().layers(dim)
        self.query_words, self.document_words = (nn.Linear(_WINDOW * dim, self.filters) for _ in range(2))
        self.query_layer, self.document_layer = (nn.Linear(self.filters, self.hidden) for _ in range(2))
        self.joined = self.reader(self.windows * self.hidden)

    def forward(self, lists: WordLists) -> Tensor:
        """The scores, `[P]`."""
        return torch.tanh(super().forward(lists)) + torch.tanh(self._distributed(lists))

    def _distributed(self, lists: WordLists) -> Tensor:
        vectors = F.normalize(self.vectors_of(lists.known))  # [W + 1, dim]
        asked = _convolved(vectors, self.query_words, _widened(lists.query, self.max_query, len(vectors) - 1))
        asked = torch.tanh(self.query_layer(torch.tanh(asked).amax(1)))  # [B, hidden]
        each = self._document_words(lists, len(vectors) - 1)  # [P, max_document]
        step = max(1, 8 * CELLS // (self.max_document * self.filters))
        parts = zip(each.split(step), lists.owners.split(step), strict=True)
        return torch.cat([self._met(vectors, some, asked[owners]) for some, owners in parts])

    def _met(self, vectors: Tensor, documents: Tensor, asked: Tensor) -> Tensor:
        """The scores of some documents, `[p]`, from places of their words, and what the query of each is about."""
        found = torch.tanh(_convolved(vectors, self.document_words, documents))  # [p, places, filters]
        largest = F.max_pool1d(found.transpose(1, 2), self.pool, stride=1).transpose(1, 2)  # [p, windows, filters]
        told = torch.tanh(self.document_layer(largest)) * asked[:, None]
        return self.joined(told.flatten(1)).squeeze(1)

    def _document_words(self, lists: WordLists, padding: int) -> Tensor:
        """The words of each document, as places in `known`, `[P, max_document]`."""
        at = torch.arange(self.max_document, device=lists.starts.device)
        outside = at >= lists.lengths[:, None]
        words = torch.cat([lists.words.flatten()[lists.tokens], lists.words.new_tensor([padding])])
        return words[(lists.starts[:-1, None] + at).masked_fill(outside, len(words) - 1)]


def _convolved(vectors: Tensor, layer: nn.Linear, words: Tensor) -> Tensor:
    """The layer over each run of words, `[b, length - 2, filters]`: what it makes of each word is computed once."""
    weight, bias = layer.weight, layer.bias
    made = torch.einsum("wd,fnd->nwf", vectors, weight.unflatten(1, (_WINDOW, -1)))  # [3, W + 1, filters]
    runs = words.shape[1] - _WINDOW + 1
    added = [F.embedding(words[:, place : place + runs], made[place]) for place in range(_WINDOW)]
    return sum(added[1:], added[0]) + bias


def _widened(words: Tensor, width: int, padding: int) -> Tensor:
    return F.pad(words, (0, width - words.shape[1]), value=padding)


def tiny() -> Ranker:
    """Four words of a query and twenty of a document, with the first weights."""
    reading = replace(_READING, max_query=4, max_document=20, device="cpu")
    return ready(Duet(filters=4, hidden=3, pool=5, embedding=Embedding(train_vectors=True), reading=reading))
