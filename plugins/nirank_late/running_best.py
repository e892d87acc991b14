"""The best documents of each query so far, while scores come in: falling score, then rising ordinal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Floats, from_sort_keys, sort_keys

_NONE = np.uint64(2**64 - 1)


class BestDocuments:
    """Keeps the best `k` documents of each of some queries."""

    def __init__(self, queries: int, k: int) -> None:
        self.k = k
        self._keys = np.full((queries, 0), _NONE)

    def add(self, docs: NDArray[np.int64], scores: Floats) -> None:
        """Take in documents, `[documents]`, with their scores for every query, `[queries, documents]`; none twice."""
        every = np.broadcast_to(docs, scores.shape).ravel()
        keys = np.concatenate([self._keys, sort_keys(every, scores.ravel()).reshape(scores.shape)], axis=1)
        if self.k < keys.shape[1]:
            keys = np.partition(keys, self.k - 1, axis=1)[:, : self.k] if self.k else keys[:, :0]
        self._keys = keys

    def candidates(self) -> Candidates:
        """The documents that are kept, ranked."""
        keys = np.sort(self._keys, axis=1)
        docs, scores = from_sort_keys(keys.ravel())
        offsets = np.arange(len(keys) + 1) * keys.shape[1]
        return Candidates(offsets, docs.astype(np.int64), scores)
