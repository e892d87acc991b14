"""Conv-KNRM: the kernels of KNRM over the similarities of n-grams, those of one length with those of another, too."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nirank.data import Explanation
from nirank.errors import BadInput
from nirank_interaction.knrm import Kernels, gated, weights_of
from nirank_interaction.lists import CELLS, WordLists
from nirank_interaction.ranker import Embedding, Ranker, Reading, ready

_EMBEDDING, _READING = Embedding(), Reading()


class ConvKNRM(Ranker):
    """Scores by soft counts of n-grams, which convolutions of 1 to `ngrams` words compose:

        g^h_i = relu(W^h (t_i, ..., t_(i+h-1)) + b^h),   M^(a,b)_ij = cos(g^a_i of the query, g^b_j of the document)
        f(q, d) = tanh(w . phi + b),   phi^(a,b)_k = sum over i of log sum over j of K_k(M^(a,b)_ij)

    Dai et al., Convolutional Neural Networks for Soft-Matching N-Grams in Ad-hoc Search, WSDM 2018, equations (1) to
    (8). An n-gram begins at each word; beyond the end of a text there are vectors of 0. N-grams of one length whose
    words have the same terms match exactly. Sums, logarithms and `idf` are those of KNRM.

    A convolution is a sum of one product for each of its places, which is computed once for each distinct word;
    documents are streamed over, some words at a time.
    """

    name = "conv_knrm"

    def __init__(
        self,
        kernels: int = 11,
        width: float = 0.1,
        ngrams: int = 3,
        filters: int = 128,
        idf: bool = False,
        *,
        embedding: Embedding = _EMBEDDING,
        reading: Reading = _READING,
    ) -> None:
        if min(ngrams, filters) < 1:
            raise BadInput(f"ngrams = {ngrams}, filters = {filters}: numbers from 1 are expected.")
        Kernels(kernels, width)  # refuses now what makes no sense
        self.count, self.width, self.ngrams, self.filters, self.idf = kernels, width, ngrams, filters, idf
        words = vars(embedding)
        super().__init__(reading, **words, kernels=kernels, width=width, ngrams=ngrams, filters=filters, idf=idf)

    def layers(self, dim: int) -> None:
        """The convolutions, the kernels and the linear layer."""
        self.convolutions = nn.ModuleList(nn.Linear(n * dim, self.filters) for n in range(1, self.ngrams + 1))
        self.kernels = Kernels(self.count, self.width)
        self.linear = nn.Linear(self.ngrams**2 * self.count, 1)

    def forward(self, lists: WordLists) -> Tensor:
        """The scores, `[P]`."""
        return torch.tanh(self.linear(self._features(lists)).squeeze(1))

    def parts_of(self, lists: WordLists, words: Sequence[str]) -> Sequence[Explanation]:  # noqa: ARG002 (of kernels)
        """A part for each kernel over each pair of lengths of n-grams, and the bias, as in KNRM."""
        lengths = range(1, self.ngrams + 1)
        centres = ["exact", *(f"{centre:.1f}" for centre in self.kernels.centres.tolist()[1:])]
        names = [f"{a} and {b} words, {name}" for a in lengths for b in lengths for name in centres]
        return gated(self.linear, self._features(lists)[0], names)

    def _features(self, lists: WordLists) -> Tensor:
        """The logarithms of soft counts, query n-grams and document n-grams by kernels, `[P, ngrams ngrams K]`."""
        weights = weights_of(lists) if self.idf else lists.is_word.float()
        counts = self._counts(lists)  # [P, ngrams, Q, ngrams, K]
        logs = counts.clamp_min(1e-10).log() * 0.01
        return torch.einsum("pbqak,pq->pabk", logs, weights[lists.owners]).flatten(1)

    def _counts(self, lists: WordLists) -> Tensor:
        """The soft counts of all documents, streamed over their words."""
        products, (query_words, document) = self._products(lists), _texts(lists)
        query = self._ngrams(query_words, 0, len(query_words), products).unflatten(0, lists.query.shape).flatten(1, 2)
        owners = torch.arange(len(lists.pairs), device=lists.owners.device).repeat_interleave(lists.lengths)
        counts = query.new_zeros(len(lists.pairs), self.ngrams, query.shape[1], self.count)
        step = max(1, 8 * CELLS // (self.ngrams * query.shape[1] * self.count))
        for start in range(0, len(document), step):
            here = slice(start, start + step)
            rows = lists.owners[owners[here]]
            ngrams = self._ngrams(document, start, min(start + step, len(document)), products)
            sizes = torch.bincount(rows, minlength=len(query)).tolist()
            found = [part @ one.T for part, one in zip(ngrams.split(sizes), query, strict=True) if len(part)]
            cosines = torch.cat(found).masked_fill(_exact(lists, document, here, rows, self.ngrams), 1)
            counts = counts.index_add(0, owners[here], self.kernels(cosines))
        return counts.unflatten(2, (-1, self.ngrams))

    def _products(self, lists: WordLists) -> list[list[Tensor]]:
        """The products of each convolution, and each of its places, with all known words, `[W + 1, filters]`.

        The last row is 0, for what is beyond a text.
        """
        vectors = self.vectors_of(lists.known)
        dim = vectors.shape[1]
        layers = cast("Iterable[nn.Linear]", self.convolutions)
        return [[vectors @ place.T for place in one.weight.split(dim, 1)] for one in layers]

    def _ngrams(self, text: _Words, start: int, stop: int, products: list[list[Tensor]]) -> Tensor:
        """The n-grams that begin at some words, of length 1, `[stop - start, ngrams, filters]`."""
        found, layers = [], cast("Iterable[nn.Linear]", self.convolutions)
        for one, places in zip(layers, products, strict=True):
            parts = (F.embedding(text.ahead(start, stop, place), rows) for place, rows in enumerate(places))
            added = functools.reduce(torch.add, parts)
            found.append(F.normalize((added + one.bias).relu(), dim=1))
        return torch.stack(found, 1)


@dataclass(frozen=True, eq=False)
class _Words:
    """The words of texts, one after the other, `[T]`, each with where its text ends, `[T]`; `beyond` is no word."""

    known: Tensor
    ends: Tensor
    beyond: int

    def __len__(self) -> int:
        return len(self.known)

    def ahead(self, start: int, stop: int, places: int) -> Tensor:
        """The words `places` places behind each of some words, in its text."""
        at = torch.arange(start + places, stop + places, device=self.ends.device)
        return self.known[at.clamp_max(len(self) - 1)].masked_fill(at >= self.ends[start:stop], self.beyond)


def _texts(lists: WordLists) -> tuple[_Words, _Words]:
    """The words of queries `[B Q]`, with their padding, and those of documents `[T]`."""
    lengths, width = lists.is_word.sum(1), lists.query.shape[1]
    firsts = torch.arange(len(lists.query), device=lengths.device) * width
    query_words = _Words(lists.query.flatten(), (firsts + lengths).repeat_interleave(width), len(lists.known))
    ends = lists.starts[1:].repeat_interleave(lists.lengths)
    return query_words, _Words(lists.words.flatten()[lists.tokens], ends, len(lists.known))


def _exact(lists: WordLists, document: _Words, here: slice, rows: Tensor, ngrams: int) -> Tensor:
    """True for n-grams beginning at some words that are n-grams of their query, `[words, ngrams, Q ngrams]`.

    `rows` are the queries of these words. Behind the ends of both texts all is the same.
    """
    width, exact = lists.query.shape[1], lists.exact.flatten(0, 1)
    lengths, ends = lists.is_word.sum(1)[rows, None], document.ends[here, None]
    first = torch.arange(here.start, here.start + len(rows), device=rows.device)[:, None]
    each, same = [], torch.ones(1, dtype=torch.bool, device=rows.device)
    for place in range(ngrams):
        column = torch.arange(place, width + place, device=rows.device)
        over, ended = first + place >= ends, column >= lengths  # [words, 1] and [words, Q]
        token = lists.tokens[(first[:, 0] + place).clamp_max(len(document) - 1)]
        matches = exact[token][:, column.clamp_max(width - 1)]
        same = same & matches.where(~(over | ended), over & ended)
        each.append(same)
    alike = torch.eye(ngrams, dtype=torch.bool, device=rows.device)  # of one length
    return (torch.stack(each, 1)[:, :, :, None] & alike[:, None]).flatten(2)


def tiny() -> Ranker:
    """Two lengths of n-grams, with four filters over vectors of a few words."""
    return ready(ConvKNRM(ngrams=2, filters=4, embedding=Embedding(train_vectors=True), reading=Reading(device="cpu")))
