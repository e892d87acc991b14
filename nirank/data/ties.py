"""The one tie rule of nirank: falling score, then rising ordinal, as one integer a pair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nirank.data.types import Floats, Ints
from nirank.errors import BadInput


def sort_keys(docs: Ints, scores: Floats) -> NDArray[np.uint64]:
    """One integer a pair that rises as the score falls, then as the ordinal rises.

    The bits of an IEEE 754 float order like integers once the sign is folded in, so that sorting, with the
    exact tie rule, is a sort of plain integers.
    """
    if np.isnan(scores).any():
        raise BadInput(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are not a number (NaN).")
    if docs.size and not 0 <= docs.min() <= docs.max() < 2**32:
        raise BadInput("documents must be ordinals from 0 to 2**32 - 1.")
    bits = (scores + np.float32(0)).view(np.uint32)  # adding 0 makes -0.0 equal to 0.0
    rising = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    return (~rising).astype(np.uint64) << np.uint64(32) | docs.astype(np.uint64)


def from_sort_keys(keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint32], Floats]:
    """The documents and the scores that `sort_keys` was given, each `[pairs]`."""
    ranks = (np.int64(2**31 - 1) - (keys >> np.uint64(32)).astype(np.int64)).astype(np.int32)
    bits = ranks ^ (ranks >> 31 & np.int32(2**31 - 1))  # negative floats order backwards as integers
    return keys.astype(np.uint32), bits.view(np.float32)
