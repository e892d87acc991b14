"""Vectors in half a byte a dimension, which are compared with one query before any bytes are.

A document is d = m + s v + e as in `nirank_dense.exact.quantised`, v odd numbers from -15 to 15. All that is said there
of codes c holds of v. Bounds are some sixteen times as wide, so that more documents seem to come near the best; but
those are looked up in bytes, and of all others half as much is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats

#: The largest v. Its documents' codes are (v + LARGEST) / 2, of so many bits.
LARGEST, _BITS = 15, 4
#: The range of v is this share of a vector's: to cut its few large numbers off makes the rest more exact. Of normally
#: distributed ones, 384 a vector, it leaves an error of .107 of the length, and 1 and .7 leave .115 and .126.
_RANGE = 0.85


@dataclass(frozen=True)
class Nibbles:
    """Documents: `codes` uint8 `[documents, bytes]`, and float32 `[documents]` each `scales` (s), `lengths`, `errors`.

    The lower bits of byte j are of dimension j, the upper ones of dimension j + bytes. `lengths` are at least |s v|,
    and `errors` at least |e|, rounding included.
    """

    codes: NDArray[np.uint8]
    scales: Floats
    lengths: Floats
    errors: Floats


class Quantisation(NamedTuple):
    """Numbers v, float64 `[vectors, dim]`, and scales (s), float32 `[vectors]`."""

    numbers: NDArray[np.float64]
    scales: Floats


def quantise(vectors: NDArray[np.float64]) -> Quantisation:
    """The v and s of vectors without the mean of all, `[vectors, dim]`."""
    largest = np.abs(vectors).max(axis=1, initial=0)
    scales = (largest * (_RANGE / (LARGEST + 1))).astype(np.float32)
    steps = np.where(scales > 0, 2 * scales.astype(np.float64), 1)[:, None]
    return Quantisation(np.clip(2 * np.floor(vectors / steps) + 1, -LARGEST, LARGEST), scales)


def packed(numbers: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The codes of v, `[vectors, bytes]`; what fills up an odd dimension is 0."""
    codes = ((numbers + LARGEST) / 2).astype(np.uint8)
    size = width(codes.shape[1])
    halves = np.zeros((2, len(codes), size), np.uint8)
    halves[0], halves[1, :, : codes.shape[1] - size] = codes[:, :size], codes[:, size:]
    return halves[0] | halves[1] << _BITS


def width(dim: int) -> int:
    """The bytes of a document of so many dimensions."""
    return -(-dim // 2)
