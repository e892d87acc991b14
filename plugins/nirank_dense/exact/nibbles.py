"""Vectors in half a byte a dimension, which are compared with one query before any bytes are.

A document is d = m + s v + e as in `nirank_dense.exact.quantised`, v some of sixteen `LEVELS`. All that is said there
of codes c holds of v. Bounds are some fifteen times as wide, so that more documents seem to come near the best; but
those are looked up in bytes, and of all others half as much is read.

The levels are, in whole numbers, those that leave the least of what is normally distributed (Max 1960, table I): of 384
such numbers an error of .0985 of their length, where as many equally spaced ones leave .1066.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats

_POSITIVE = (2, 5, 8, 11, 15, 19, 24, 32)
#: The numbers that v can be: a code is the place of one. `RAISED` by the last none has a sign. Files and compiled code
#: hold them without a word: others need files of another name, and `nirank_dense.exact.nibble_bounds` touched.
LEVELS = np.array([*(-level for level in reversed(_POSITIVE)), *_POSITIVE], np.int8)
RAISED = _POSITIVE[-1]
#: A deviation of the numbers of a vector in steps of levels, and the bits of a code.
_DEVIATION, _BITS = 11.71, 4
#: The code of the nearest level for each half step from -`RAISED` on, up to it: borders lie between half steps.
_NEAREST = np.abs((np.arange(-2 * RAISED, 2 * RAISED) + 0.5)[:, None] / 2 - LEVELS).argmin(axis=1).astype(np.uint8)
#: The same for every byte, and the levels, as `bytes.translate` takes them, which is faster than to index by numpy.
_TO_CODES = bytes(_NEAREST) + bytes(256 - len(_NEAREST))
_TO_LEVELS = LEVELS.tobytes() + bytes(256 - len(LEVELS))


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


def quantise(vectors: NDArray[np.float64], memory: NDArray[np.float64]) -> tuple[NDArray[np.uint8], Floats]:
    """The codes `[vectors, dim]` and the scales `[vectors]` of vectors without the mean of all.

    `memory` is for as many numbers as there are.
    """
    deviations = np.sqrt(np.einsum("ij,ij->i", vectors, vectors) / max(1, vectors.shape[1]))
    scales = (deviations / _DEVIATION).astype(np.float32)
    halves = np.where(scales > 0, scales.astype(np.float64) / 2, 1)[:, None]
    places = np.floor(np.divide(vectors, halves, out=memory), out=memory)
    np.clip(places, -2 * RAISED, 2 * RAISED - 1, out=places)
    places += 2 * RAISED
    return _looked_up(places.astype(np.uint8), _TO_CODES, np.uint8), scales


def levels_of(codes: NDArray[np.uint8]) -> NDArray[np.int8]:
    """The numbers v of codes."""
    return _looked_up(codes, _TO_LEVELS, np.int8)


def _looked_up(places: NDArray[np.uint8], table: bytes, kind: type[np.generic]) -> NDArray[Any]:
    return np.frombuffer(places.tobytes().translate(table), kind).reshape(places.shape)


def packed(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes by two, `[vectors, bytes]`; what fills up an odd dimension is 0."""
    size = width(codes.shape[1])
    halves = np.zeros((2, len(codes), size), np.uint8)
    halves[0], halves[1, :, : codes.shape[1] - size] = codes[:, :size], codes[:, size:]
    return halves[0] | halves[1] << _BITS


def width(dim: int) -> int:
    """The bytes of a document of so many dimensions."""
    return -(-dim // 2)
