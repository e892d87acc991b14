"""The score of a pair by its features: a part for each, and one for what belongs to none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Explanation, Floats


def by_features(
    ranker: Any, scores: Floats, values: Floats, worth: NDArray[np.float64], bias: float | NDArray[np.float64]
) -> list[Explanation]:
    """One explanation for each pair.

    `values` are the features called `ranker.names`, `[pairs, names]`, and `worth`, of the same shape, what each adds to
    the `scores`, `[pairs]`; `bias` is the rest.
    """
    rest = np.broadcast_to(bias, len(scores)).tolist()
    rows = zip(scores.tolist(), values.tolist(), worth.tolist(), rest, strict=True)
    return [
        Explanation(type(ranker).__name__, score, (*_parts(ranker.names, row, added), Explanation("bias", left)))
        for score, row, added, left in rows
    ]


def _parts(names: Any, values: list[float], worth: list[float]) -> list[Explanation]:
    pairs = zip(names, values, worth, strict=True)
    return [Explanation(name, added, note=f"value {value:.6g}") for name, value, added in pairs]
