"""Dot products that are rounded once: the same numbers wherever, and in whatever order, they are added up.

The score of a pair is its exact dot product as float64, and this as float32. A product of two float32 is a float64
without rounding, and a sum of n of them in float64 is, in any order, within n u |q| |d| of the exact one, u = 2**-53
(Higham 2002, eq. 3.5). Where all that lies so near rounds to one float32, that is the score; the few other sums, about
one in a million of ordinary vectors, are made without any error (Shewchuk 1997, as `math.fsum` has it).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats, Ints, to_numpy

#: Pairs whose vectors are gathered at once, and multiplied at once: these stay in the processor's cache.
_PAIRS = 256


def products(left: Floats, right: Floats, rows: Ints, columns: Ints) -> Floats:
    """The dot product of `left[rows]` and `right[columns]` (float32 matrices) for each pair, float32 `[pairs]`."""
    scores, doubtful = np.empty(len(rows), np.float32), np.empty(len(rows), np.bool_)
    memory = np.empty((min(_PAIRS, len(rows)), left.shape[1]))
    for start in range(0, len(rows), _PAIRS):
        here = slice(start, start + _PAIRS)
        ours, theirs = left[rows[here]], right[columns[here]]
        exact = np.multiply(ours, theirs, out=memory[: len(ours)], dtype=np.float64)
        sums = exact.sum(axis=1)
        apart = rounding(left.shape[1]) * np.abs(exact, out=exact).sum(axis=1)
        scores[here], doubtful[here] = rounded(sums, apart)
    settle(scores, doubtful, left, right, rows, columns)
    return scores


def rounding(dim: int) -> float:
    """The distance of a sum of float64 from the exact dot product, in units of |q| |d|, at most, and a little more."""
    return (dim + 16) * 2.0**-53


def rounded(sums: NDArray[np.float64], apart: NDArray[np.float64]) -> tuple[Floats, NDArray[np.bool_]]:
    """The sums as float32, and a mask of those that, moved `apart`, might round to another number."""
    with np.errstate(over="ignore"):  # to infinity, as ever
        lower, upper = (sums - apart).astype(np.float32), (sums + apart).astype(np.float32)
    return lower, lower != upper


def settle(scores: Floats, doubtful: NDArray[np.bool_], left: Any, right: Any, rows: Ints, columns: Ints) -> None:
    """Set right the `scores` that are in doubt; the matrices are arrays or tensors, all else is `[pairs]`."""
    for pair in np.flatnonzero(doubtful).tolist():
        ours, theirs = (to_numpy(vectors).astype(np.float64) for vectors in (left[rows[pair]], right[columns[pair]]))
        with np.errstate(over="ignore"):
            scores[pair] = math.fsum((ours * theirs).tolist())
