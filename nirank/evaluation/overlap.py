"""Rank-biased overlap: how alike two rankings are, the top counting most, without any judgments.

Webber, Moffat and Zobel, A Similarity Measure for Indefinite Rankings, TOIS 2010. Extrapolated, as in their equation
32: the agreement that is seen is taken to go on below. Rankings may be of different lengths. Documents with equal
scores stand at one rank, that of the first of them, and the agreement at a depth is twice the overlap over the sum of
the numbers of documents that have been seen (their section on ties; RBO^w of Corsi and Urbano, SIGIR 2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.errors import BadInput
from nirank.evaluation.measures import Values, refuse_repeated

#: The persistence: the first ten ranks have 86 % of the weight.
PERSISTENCE = 0.9
_CELLS = 1 << 22  # of matrices [queries, depth] at a time


def rank_biased_overlap(one: Candidates, other: Candidates, p: float = PERSISTENCE) -> Values:
    """The extrapolated rank-biased overlap of two runs, row by row: 1 where they rank alike, 0 for nothing in common.

    Both have the same queries in the same order, and ordinals of the same documents. `p` is the persistence, between
    0 and 1: the reader goes on to the next rank with this probability. `[queries]`. Of two empty rankings it is 1, of
    one that is empty 0. Raises `BadInput` for another number of queries, scores that are NaN, a document that a query
    has twice, and a `p` outside.
    """
    if len(one) != len(other):
        raise BadInput(
            f"runs of {len(one)} and of {len(other)} queries cannot be compared; both need the same queries."
        )
    if not (isinstance(p, (int, float)) and 0 < p < 1):
        raise BadInput(f"p = {p!r}: a persistence between 0 and 1 is expected, such as 0.9.")
    if np.isnan(one.scores).any() or np.isnan(other.scores).any():
        raise BadInput("some scores are not a number (NaN), so there is no ranking.")
    for run in (one, other):
        refuse_repeated(run.rows, run.docs)
    deepest = max(1, one.longest, other.longest)
    step = max(1, _CELLS // deepest)
    parts = [slice(start, start + step) for start in range(0, len(one), step)]
    return np.concatenate([*(_overlap(one.take(rows), other.take(rows), p) for rows in parts), np.empty(0)])


def _overlap(one: Candidates, other: Candidates, p: float) -> Values:
    seen = _Seen.of(one.ranked(), other.ranked())
    shorter, longer = np.minimum(one.lengths, other.lengths), np.maximum(one.lengths, other.lengths)
    depths = np.arange(1, seen.shared.shape[1] + 1)
    agreement = seen.agreement(depths, shorter)
    weights = np.where(depths <= longer[:, None], (1 - p) / p * p**depths, 0)
    last = np.take_along_axis(agreement, np.maximum(longer - 1, 0)[:, None], axis=1)[:, 0]
    found = (agreement * weights).sum(axis=1) + last * p ** longer.astype(np.float64)
    return np.where(longer == 0, 1.0, np.where(shorter == 0, 0.0, found))


@dataclass(frozen=True)
class _Seen:
    """The numbers of documents seen down to each depth, `[queries, depth]`: in both rankings, in one and in the other.

    A group of equal scores is seen as a whole at its first rank.
    """

    shared: NDArray[np.float64]
    one: NDArray[np.float64]
    other: NDArray[np.float64]

    @classmethod
    def of(cls, one: Candidates, other: Candidates) -> _Seen:
        depth = max(1, one.longest, other.longest)
        first, second = tied_ranks(one), tied_ranks(other)
        places = one.places(other)
        both = np.flatnonzero(places >= 0)
        deeper = np.maximum(first[both], second[places[both]])
        rows = one.rows
        return cls(
            _counted(rows[both], deeper, len(one), depth),
            _counted(rows, first, len(one), depth),
            _counted(other.rows, second, len(one), depth),
        )

    def agreement(self, depths: NDArray[np.int64], shorter: NDArray[np.int64]) -> NDArray[np.float64]:
        """The agreement at each depth, that of the shorter ranking's end taken to go on below it. `[queries, depth]`"""
        plain = 2 * self.shared / (np.maximum(self.one, depths) + np.maximum(self.other, depths))
        ends = np.maximum(shorter - 1, 0)[:, None]
        at_end = np.take_along_axis(plain, ends, axis=1)
        unseen = np.maximum(depths - shorter[:, None], 0) * at_end
        extrapolated: NDArray[np.float64] = plain + 2 * unseen / (
            np.maximum(self.one, depths) + np.maximum(self.other, depths)
        )
        return extrapolated


def tied_ranks(ranked: Candidates) -> NDArray[np.int64]:
    """The rank of each document, from 1, that of the first one for a group of equal scores. `[pairs]`"""
    ranks = np.arange(ranked.pairs) - np.repeat(ranked.offsets[:-1], ranked.lengths) + 1
    begins = ranks == 1
    begins[1:] |= ranked.scores[1:] != ranked.scores[:-1]
    at = np.maximum.accumulate(np.where(begins, np.arange(ranked.pairs), 0))
    return np.asarray(ranks[at], np.int64)


def _counted(rows: NDArray[Any], ranks: NDArray[Any], queries: int, depth: int) -> NDArray[np.float64]:
    """The number of ranks that lie above or at each depth, `[queries, depth]`."""
    counts = np.bincount(rows * depth + ranks - 1, minlength=queries * depth).reshape(queries, depth)
    return np.asarray(counts.cumsum(axis=1), np.float64)
