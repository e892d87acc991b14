"""The best k of each query so far, while scores come in block by block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Floats, Ints


class RunningBest:
    """Collects scored pairs of queries and keeps the best `k` of each, and all that comes close to them.

    `slack` (`[queries]`) is how far two scores may lie apart while it is open which is the better one, since they
    are rounded; what scores that much below the k-th best is dropped. `floor` (`[queries]`) is the score that a
    pair has to reach to be worth adding. Sorting is put off until as many pairs wait as are kept.
    """

    def __init__(self, k: int, slack: Floats) -> None:
        self.k, self.slack = k, slack
        self.floor: Floats = np.full(len(slack), -np.inf, np.float32)
        self._kept = Candidates.empty(len(slack))
        self._waiting: list[tuple[Ints, Ints, Floats]] = []
        self._count = 0

    def reached(self, kth_best: Floats) -> None:
        """Take note that `k` documents of each query score `kth_best` (`[queries]`) or more."""
        self.floor = np.maximum(self.floor, kth_best - self.slack)

    def add(self, rows: Ints, docs: Ints, scores: Floats) -> None:
        """Take in pairs: query number, document and score, each `[pairs]`; no pair may come twice."""
        self._waiting.append((rows, docs, scores))
        self._count += len(rows)
        if self._count > self.k * len(self.floor):
            self._sort()

    def candidates(self) -> Candidates:
        """The documents kept for each query, ranked: the best `k` and all within `slack` of the last of them."""
        self._sort()
        return self._kept

    def _sort(self) -> None:
        columns = [(self._kept.rows, self._kept.docs, self._kept.scores), *self._waiting]
        rows, docs, scores = (np.concatenate(column) for column in zip(*columns, strict=True))
        order = np.argsort(rows, kind="stable")
        offsets: NDArray[np.int64] = np.searchsorted(rows[order], np.arange(len(self.floor) + 1))
        ranked = Candidates(offsets, docs[order], scores[order]).ranked()
        full = np.flatnonzero(ranked.lengths >= self.k)
        kth_best = np.full(len(self.floor), -np.inf, np.float32)
        kth_best[full] = ranked.scores[ranked.offsets[full] + self.k - 1]
        self.reached(kth_best)
        self._kept = ranked.where(ranked.scores >= self.floor[ranked.rows])
        self._waiting, self._count = [], 0
