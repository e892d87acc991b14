"""Floors, the scores to reach for each query: at first a guess, and then the k-th best score that is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats
from nirank_dense.exact.kernels import BestScores, Weights
from nirank_dense.exact.quantised import QuantisedQueries

#: The largest k of which the k-th best score is followed: more would cost more than it saves.
_LARGEST_K = 64
#: Steps that every document reaches.
LOWEST = np.finfo(np.float32).min


def weights(queries: QuantisedQueries, steps: Floats) -> Weights:
    """The weights by which bounds are compared with `steps` (`[queries]`, in steps of each query)."""
    return Weights(queries.by_length, queries.by_error, steps)


def begun(queries: QuantisedQueries, steps: Floats, k: int) -> BestScores:
    """The best `k` before any is known, and the floor below which lies all that is bounded by less than `steps`."""
    scores = np.full((len(queries), k if k <= _LARGEST_K else 0), -np.inf, np.float32)
    return BestScores(scores, queries.scores_of(steps))


def raised(queries: QuantisedQueries, steps: Floats, best: BestScores) -> Floats:
    """Higher steps, where there are any that all scores from the floor on are sure to reach."""
    return np.maximum(steps, steps_of(queries, best.floor)) if best.scores.shape[1] else steps


def steps_of(queries: QuantisedQueries, floor: NDArray[np.float64]) -> Floats:
    """Steps that all scores from a floor on are sure to reach, `[queries]`; the lowest there are in case of doubt."""
    wanted = (floor - queries.margins - queries.offsets) / queries.steps
    steps = np.nextafter((wanted - 2.0**-40 * np.abs(wanted)).astype(np.float32), np.float32(-np.inf))
    return np.where(queries.scores_of(steps) <= floor, steps, LOWEST)
