"""Pairs of a query and a document that came through the first of two passes, with their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats
from nirank_dense.exact import kernels, rounded


@dataclass(frozen=True)
class ScoredPairs:
    """Query, document (int32) and score of each pair, `[pairs]`."""

    rows: NDArray[np.int32]
    docs: NDArray[np.int32]
    scores: Floats

    @classmethod
    def judged(
        cls, exact: kernels.Exact, best: kernels.BestScores, pairs: int, found: kernels.PairColumns
    ) -> ScoredPairs:
        """Score the first `pairs` that were found, and take those that reach their query's floor; floors may rise."""
        kept = kernels.judge(exact, best, pairs, found)
        rows, docs, scores, doubtful = (column[:kept] for column in found)
        rounded.settle(scores, doubtful, exact.queries, exact.documents, rows, docs)
        return cls(rows.copy(), docs.copy(), scores.copy())

    @classmethod
    def joined(cls, parts: list[ScoredPairs]) -> ScoredPairs:
        """The pairs of all parts."""
        if len(parts) == 1:
            return parts[0]
        number = np.empty(0, np.int32)
        columns: Any = zip(
            *(vars(part).values() for part in [cls(number, number, np.empty(0, np.float32)), *parts]), strict=True
        )
        return cls(*map(np.concatenate, columns))

    def where(self, keep: NDArray[np.bool_]) -> ScoredPairs:
        """Only the pairs marked in `keep`."""
        return ScoredPairs(self.rows[keep], self.docs[keep], self.scores[keep])
