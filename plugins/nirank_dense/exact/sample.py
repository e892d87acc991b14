"""A sample of the documents, from which it is guessed what score about the k-th best of all will have."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats
from nirank_dense.exact import kernels
from nirank_dense.exact.code_products import THIS_PROCESSOR, TILE, Codes, Processor
from nirank_dense.exact.quantised import Asked, Quantised

#: Documents in the sample, or a share of all if that is more; and in each group of it, of which only the best counts.
_SIZE, _SHARE, _GROUP = 4096, 64, 8


class Sample:
    """Documents at equal distances among all."""

    def __init__(self, documents: Quantised, processor: Processor = THIS_PROCESSOR) -> None:
        self.documents = len(documents)
        self.size = min(self.documents, max(_SIZE, self.documents // _SHARE))
        chosen = documents.take(np.arange(self.size) * self.documents // max(1, self.size))
        self._codes = Codes(chosen.codes, processor)
        self._bounds = kernels.bounds(chosen.scales, chosen.lengths, chosen.errors)

    def rank(self, k: int) -> int:
        """The rank in the sample whose score fewer than `k` of all documents have in one case of some hundreds.

        How many of the best `k` are in the sample is about Poisson distributed: mean and variance are the same.
        """
        expected = k * self.size / self.documents
        return math.ceil(expected + 3 * math.sqrt(expected) + 2)

    def floors(self, asked: Asked, rank: int) -> tuple[Floats, NDArray[np.float64]]:
        """The score of that rank, in steps of each query, and how many of all documents may reach it, `[queries]`.

        Where the rank lies beyond what the sample tells, the score is one that every document reaches.
        """
        at_once = max(1, TILE // self.size)
        memory = np.empty(min(at_once, len(asked)) * self.size, np.int32)
        parts = [asked.take(slice(start, start + at_once)) for start in range(0, len(asked), at_once)]
        floors = [
            (np.empty(0, np.float32), np.empty(0, np.int64)),
            *(self._floors(part, rank, memory) for part in parts),
        ]
        steps, counts = map(np.concatenate, zip(*floors, strict=True))
        return steps, counts * (self.documents / self.size)

    def _floors(self, asked: Asked, rank: int, memory: NDArray[np.int32]) -> tuple[Floats, NDArray[np.int64]]:
        products = self._codes.products(asked.codes, 0, self.size, memory)
        best = np.empty((len(asked), -(-self.size // _GROUP)), np.float32)
        kernels.best_of_groups(products, self._bounds.scales, best)
        steps = np.full(len(asked), np.finfo(np.float32).min)
        if rank <= best.shape[1]:
            steps[:] = np.partition(best, -rank, axis=1)[:, -rank]
        counts = np.empty(len(asked), np.int64)
        kernels.count(products, self._bounds, kernels.Weights(asked.by_length, asked.by_error, steps), counts)
        return steps, counts
