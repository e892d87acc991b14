"""Two rankings one behind the other: all of the first, then what only the second has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.ties import from_sort_keys, sort_keys
from nirank.data.types import Floats
from nirank.errors import BadInput

#: How far below the least score of the first list the second begins, as in PyTerrier.
_APART = 1e-4
#: The place of 0.0 among all numbers of float32, falling: that of -0.0 is the next.
_ZERO = 2**31 - 1
_NO_ROOM = "a ^ b: scores of b do not fit below the least of a: they are infinite, or all but the least that there are."


def concatenated(first: Candidates, second: Candidates) -> Candidates:
    """The first lists as they are, and behind each the documents that only the second has, in its order.

    These keep their distances: their scores are moved so that the best is 0.0001 below the least of the first list.
    Where float32 cannot tell such numbers apart they fall by its smallest steps. Where the first list is empty the
    second stays as it is. Raises `BadInput` where scores are infinite or nothing is below them.
    """
    first, rest = first.ranked(), second.where(second.places(first) < 0).ranked()
    return first.union(rest.with_scores(_moved(first, rest))).ranked()


def _moved(first: Candidates, rest: Candidates) -> Floats:
    """The scores of `rest` below those of `first`, `[pairs]`; they fall wherever they fell."""
    rows, both = rest.rows, (first.lengths > 0) & (rest.lengths > 0)
    least, best = np.full((2, len(first)), np.float64(0))
    least[both] = first.scores[first.offsets[1:][both] - 1]
    best[both] = rest.scores[rest.offsets[:-1][both]]
    if not np.isfinite([least, best]).all():
        raise BadInput(_NO_ROOM)
    moved = rest.scores + (least - best - np.where(both, _APART, 0))[rows]
    with np.errstate(over="ignore"):  # to infinity, which is told
        fallen = _falling(moved.astype(np.float32), _steps(rest), np.where(both, _ranks(least), -1)[rows], rows)
    if not np.isfinite(fallen[both[rows]]).all():
        raise BadInput(_NO_ROOM)
    return fallen


def _falling(scores: Floats, steps: NDArray[np.int64], below: NDArray[np.int64], rows: NDArray[np.int64]) -> Floats:
    """Scores at least `steps` numbers of float32 below `below` and apart from each other, query by query."""
    apart = rows << 34  # ranks have 32 bits: those of one query are below those of the next
    ranks = np.maximum.accumulate(np.maximum(_ranks(scores) - steps, below) + apart) - apart + steps
    _, fallen = from_sort_keys((ranks + (ranks > _ZERO)).astype(np.uint64) << np.uint64(32))
    return fallen


def _steps(rest: Candidates) -> NDArray[np.int64]:
    """Count how often scores have fallen in their list up to each pair, its first among them."""
    falls = np.ones(rest.pairs, np.int64)
    falls[1:] = rest.scores[1:] < rest.scores[:-1]
    falls[rest.offsets[:-1][rest.lengths > 0]] = 1
    before = np.concatenate([[0], np.cumsum(falls)])
    return before[1:] - before[rest.offsets[:-1]][rest.rows]


def _ranks(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """The place of each score among all numbers of float32, falling; 0.0 and -0.0 are one."""
    keys = sort_keys(np.zeros(len(scores), np.int64), scores.astype(np.float32))
    ranks = (keys >> np.uint64(32)).astype(np.int64)
    return ranks - (ranks > _ZERO)
