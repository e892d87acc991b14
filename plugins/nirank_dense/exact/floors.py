"""What a score has to reach, for each query: at first a guess, and then the k-th best score that is known."""

from __future__ import annotations

import numpy as np

from nirank.data import Floats
from nirank_dense.exact.kernels import Best, Weights
from nirank_dense.exact.quantised import Asked

#: Of a larger k the k-th best score is not followed: it would cost more than it saves.
_MOST = 64


def weights(asked: Asked, steps: Floats) -> Weights:
    """What bounds are compared with `steps` by (`[queries]`, in steps of each query)."""
    return Weights(asked.by_length, asked.by_error, steps)


def begun(asked: Asked, steps: Floats, k: int) -> Best:
    """The best `k` before any is known, and the floor below which lies all that is bounded by less than `steps`."""
    scores = np.full((len(asked), k if k <= _MOST else 0), -np.inf, np.float32)
    return Best(scores, asked.scores_of(steps))


def raised(asked: Asked, steps: Floats, best: Best) -> Floats:
    """Higher steps, where there are any that all scores from the floor on are sure to reach."""
    if not best.scores.shape[1]:
        return steps
    wanted = (best.floor - asked.margins - asked.offsets) / asked.steps
    higher = np.nextafter((wanted - 2.0**-40 * np.abs(wanted)).astype(np.float32), np.float32(-np.inf))
    return np.where((higher > steps) & (asked.scores_of(higher) <= best.floor), higher, steps)
