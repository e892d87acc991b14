"""A sample of the documents, from which it is guessed what score about the k-th best of all will have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats
from nirank_dense.exact import floors, kernels, tiles
from nirank_dense.exact.code_products import THIS_PROCESSOR, TILE, Codes, Processor
from nirank_dense.exact.comparison import FEW, CodedDocuments, Comparison
from nirank_dense.exact.quantised import Quantised, QuantisedQueries

#: Documents in the sample, or one in this many of all if that is more.
_DOCUMENTS, _ONE_IN = 4096, 64
#: Documents in each group of the sample, of which only the best counts.
_GROUP = 8
#: Documents of the sample, about, of which it is counted how many reach a floor.
_COUNTED = 1024


class _Comparing(Protocol):
    """Comparisons of queries with the documents of the sample."""

    def best_of_groups(self, queries: QuantisedQueries) -> Floats:
        """The highest coarse score of each group, in steps of each query, `[queries, groups]`."""

    def counts(self, queries: QuantisedQueries, steps: Floats) -> NDArray[np.int64]:
        """How many of the documents that are counted may reach `steps`, `[queries]`."""


class DocumentSample:
    """Documents at equal distances among all."""

    def __init__(self, documents: Quantised, processor: Processor = THIS_PROCESSOR) -> None:
        self.documents = len(documents)
        self.size = min(self.documents, max(_DOCUMENTS, self.documents // _ONE_IN))
        chosen = documents.take(np.arange(self.size) * self.documents // max(1, self.size))
        counted = chosen.take(np.arange(0, self.size, -(-self.size // _COUNTED) or 1))
        self._counted = max(1, len(counted))
        by_tiles = processor.instructions()
        self._way: _Comparing = _ByTiles(chosen, counted) if by_tiles else _ByProducts(chosen, counted, processor)

    def rank(self, k: int) -> int:
        """The rank in the sample whose score fewer than `k` of all documents have in one case of some hundreds.

        How many of the best `k` are in the sample is about Poisson distributed: mean and variance are the same.
        """
        expected = k * self.size / self.documents
        return math.ceil(expected + 3 * math.sqrt(expected) + 2)

    def floors(self, queries: QuantisedQueries, rank: int) -> tuple[Floats, NDArray[np.float64]]:
        """The score of that rank, in steps of each query, and how many of all documents may reach it, `[queries]`.

        Where the rank lies beyond what the sample tells, the score is one that every document reaches.
        """
        best, steps = self._way.best_of_groups(queries), np.full(len(queries), np.finfo(np.float32).min)
        if rank <= best.shape[1]:
            steps[:] = np.partition(best, -rank, axis=1)[:, -rank]
        counts = self._way.counts(queries, steps).astype(np.float64)
        return steps, counts * (self.documents / self._counted)


class _ByTiles:
    """Comparing by the instructions of `nirank_dense.exact.tiles`."""

    def __init__(self, chosen: Quantised, counted: Quantised) -> None:
        self._chosen, self._counted, self._documents = tiles.whole(chosen), CodedDocuments(counted), len(counted)
        self._groups = -(-len(chosen) // _GROUP)

    def best_of_groups(self, queries: QuantisedQueries) -> Floats:
        if len(queries) <= FEW:
            best = np.empty((len(queries), self._groups), np.float32)
            tiles.best_of_groups_for_few(self._chosen, tiles.chunks(queries.codes), best)
            return best
        panels = tiles.panels(queries.coarser(tiles.COARSER).codes)
        best = np.empty((len(panels), self._groups, tiles.PANEL), np.float32)
        tiles.best_of_groups(self._chosen, panels, best)
        by_query = np.ascontiguousarray(best.transpose(0, 2, 1)).reshape(-1, self._groups)[: len(queries)]
        return by_query * np.float32(tiles.COARSER)

    def counts(self, queries: QuantisedQueries, steps: Floats) -> NDArray[np.int64]:
        comparison = Comparison(self._counted, queries, tiles.TILE)
        found, counts, low = kernels.space(max(2**18, comparison.room)), np.zeros(len(queries), np.int64), 0
        while low < self._documents:
            count, low = comparison.pairs(steps, low, self._documents, found)
            counts += np.bincount(found.rows[:count], minlength=len(queries))
        return counts


class _ByProducts:
    """Comparing by all products of codes, of few queries at once: also where there are no such instructions."""

    def __init__(self, chosen: Quantised, counted: Quantised, processor: Processor) -> None:
        self._chosen, self._counted = (Codes(some.codes, processor) for some in (chosen, counted))
        self._scales, self._documents = kernels.read_only(chosen.scales), len(chosen)
        self._bounds = kernels.bounds(counted.scales, counted.lengths, counted.errors)

    def best_of_groups(self, queries: QuantisedQueries) -> Floats:
        best = np.empty((len(queries), -(-self._documents // _GROUP)), np.float32)
        for some, products in self._products(self._chosen, queries, self._documents):
            kernels.best_of_groups(products, self._scales, best[some])
        return best

    def counts(self, queries: QuantisedQueries, steps: Floats) -> NDArray[np.int64]:
        counts, weights = np.empty(len(queries), np.int64), floors.weights(queries, steps)
        for some, products in self._products(self._counted, queries, len(self._bounds.scales)):
            kernels.count(products, self._bounds, weights.of(some), counts[some])
        return counts

    def _products(
        self, codes: Codes, queries: QuantisedQueries, documents: int
    ) -> Iterator[tuple[slice, NDArray[np.int32]]]:
        """So many queries at once that their products stay in the processor's cache."""
        at_once = max(1, TILE // max(1, documents))
        memory = np.empty(min(at_once, len(queries)) * documents, np.int32)
        for start in range(0, len(queries), at_once):
            some = slice(start, start + at_once)
            yield some, codes.products(queries.codes[some], 0, documents, memory)
