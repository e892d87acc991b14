"""The best k of each query so far, while scores come in block by block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Floats, Ints


class RunningBest:
    """Collects scored pairs of `queries` queries and keeps the best `k` of each, with the exact tie rule.

    `floor` (`[queries]`) is a score that the final k-th best cannot be below: what scores less need not be
    added. Sorting is put off until as many pairs wait as are kept, so its cost stays small.
    """

    def __init__(self, queries: int, k: int) -> None:
        self.k = k
        self.floor: Floats = np.full(queries, -np.inf, np.float32)
        self._kept = Candidates.empty(queries)
        self._waiting: list[tuple[Ints, Ints, Floats]] = []
        self._count = 0

    def raise_floor(self, floor: Floats) -> None:
        """Take note that at least `k` documents of each query score `floor` or more."""
        self.floor = np.maximum(self.floor, floor)

    def add(self, rows: Ints, docs: Ints, scores: Floats) -> None:
        """Take in pairs: query number, document and score, each `[pairs]`; no pair may come twice."""
        self._waiting.append((rows, docs, scores))
        self._count += len(rows)
        if self._count > self.k * len(self.floor):
            self._sort()

    def candidates(self) -> Candidates:
        """The best `k` of each query, ranked."""
        self._sort()
        return self._kept

    def _sort(self) -> None:
        columns = [(self._kept.rows, self._kept.docs, self._kept.scores), *self._waiting]
        rows, docs, scores = (np.concatenate(column) for column in zip(*columns, strict=True))
        order = np.argsort(rows, kind="stable")
        offsets: NDArray[np.int64] = np.searchsorted(rows[order], np.arange(len(self.floor) + 1))
        self._kept = Candidates(offsets, docs[order], scores[order]).top(self.k)
        self._waiting, self._count = [], 0
        full = self._kept.lengths == self.k
        self.raise_floor(np.where(full, self._kept.scores[self._kept.offsets[1:] - 1], -np.inf).astype(np.float32))
