"""A sample of the documents, from which it is guessed what score about the k-th best of all will have."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats
from nirank_dense.exact import kernels
from nirank_dense.exact.code_products import THIS_PROCESSOR, TILE, Codes, Processor
from nirank_dense.exact.quantised import Quantised, QuantisedQueries

#: Documents in the sample, or one in this many of all if that is more.
_DOCUMENTS, _ONE_IN = 4096, 64
#: Documents in each group of the sample, of which only the best counts.
_GROUP = 8


class DocumentSample:
    """Documents at equal distances among all."""

    def __init__(self, documents: Quantised, processor: Processor = THIS_PROCESSOR) -> None:
        self.documents = len(documents)
        self.size = min(self.documents, max(_DOCUMENTS, self.documents // _ONE_IN))
        chosen = documents.take(np.arange(self.size) * self.documents // max(1, self.size))
        self._codes = Codes(chosen.codes, processor)
        self._bounds = kernels.bounds(chosen.scales, chosen.lengths, chosen.errors)

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
        at_once = max(1, TILE // self.size)
        memory = np.empty(min(at_once, len(queries)) * self.size, np.int32)
        parts = [queries.take(slice(start, start + at_once)) for start in range(0, len(queries), at_once)]
        floors = [
            (np.empty(0, np.float32), np.empty(0, np.int64)),
            *(self._floors(part, rank, memory) for part in parts),
        ]
        steps, counts = map(np.concatenate, zip(*floors, strict=True))
        return steps, counts * (self.documents / self.size)

    def _floors(
        self, queries: QuantisedQueries, rank: int, memory: NDArray[np.int32]
    ) -> tuple[Floats, NDArray[np.int64]]:
        products = self._codes.products(queries.codes, 0, self.size, memory)
        best = np.empty((len(queries), -(-self.size // _GROUP)), np.float32)
        kernels.best_of_groups(products, self._bounds.scales, best)
        steps = np.full(len(queries), np.finfo(np.float32).min)
        if rank <= best.shape[1]:
            steps[:] = np.partition(best, -rank, axis=1)[:, -rank]
        counts = np.empty(len(queries), np.int64)
        kernels.count(products, self._bounds, kernels.Weights(queries.by_length, queries.by_error, steps), counts)
        return steps, counts
