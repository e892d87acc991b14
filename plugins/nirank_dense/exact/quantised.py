"""Vectors in a byte a dimension, and how far a dot product taken of them can lie from the true one.

A document is d = m + s c + e: m the mean of all documents, c whole numbers from -127 to 127, s its own scale, and e
what is left. A query is q = t a + f in the same way, without a mean. Then

    q.d = q.m + t s a.c + s f.c + q.e,   |s f.c| <= |f| |s c|,   |q.e| <= |q| |e|      (Cauchy-Schwarz)

The first two terms are the coarse score: q.m is the same for every document, a.c is added up in integers and has no
rounding. The lengths |s c| and |e| are kept for each document, |f| and |q| are known of each query, so that every
document has its own bound. Taking the mean away makes it narrow where all vectors point to one side.

Scores in float32 are rounded as well. Added up in whatever order, a dot product is within g |q| |d| of the true
one, g = n u / (1 - n u) with n dimensions and u = 2**-24 (Higham 2002, eq. 3.5); `rounding` is more than 2 g, how far
two such sums lie apart. Half of it is part of `errors`, so that the bounds hold of a float32 score too.

A bound is itself computed in float32, in units of the query's scale t, as p s + A |s c| + B |e| with p = a.c: four
roundings, each of at most u (|p s| + A |s c| + B |e|), and |p s| <= |a| |s c|. So A is |f| / t with 16 u more of
itself and 16 u |a| more, B is |q| / t with 16 u more: the computed bound is never below the true one. What a
computation loses where numbers are too small for float32 (less than 2**-126 each time) is added to the floor instead,
and vectors whose products may be too large or too small are not searched this way (`fits`, `askable`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats
from nirank.kit import bounded, write_header
from nirank_dense.exact import nibbles
from nirank_dense.exact.blocks import blocks
from nirank_dense.exact.nibbles import Nibbles

CODES, BOUNDS, CENTRE = "codes.npy", "bounds.npy", "centre.npy"
NIBBLES, NIBBLE_BOUNDS = "nibbles.npy", "nibble_bounds.npy"
#: Vectors that are read at once, and that are quantised at once: all that is made of these stays in the cache.
_ROWS, _QUANTISED = 4096, 512
_UNIT = 2.0**-24
#: More than what a bound, and what a dot product, loses where numbers are too small for float32.
_TINY_BOUND, TINY = 2.0**-120, 2.0**-100
#: Vectors of such lengths have products that float32 holds, with room on both sides.
_SHORTEST, _LONGEST, _DIMENSIONS = 1e-15, 1e15, 2**16


@dataclass(frozen=True)
class Quantised:
    """Documents: `codes` (c) int8 `[documents, dim]`, and float32 `[documents]` each `scales` (s), `lengths`, `errors`.

    `lengths` are at least |s c|, `errors` at least |e| and what half of `rounding` allows. `centre` (m) is float32
    `[dim]`. The same documents in `nibbles` are None where an index was made before there were any.
    """

    codes: NDArray[np.int8]
    scales: Floats
    lengths: Floats
    errors: Floats
    centre: Floats
    nibbles: Nibbles | None = None

    @classmethod
    def of(cls, vectors: Floats) -> Quantised:
        """Quantise vectors, float32 `[documents, dim]`, in memory."""
        centre, (documents, dim) = _mean(vectors), vectors.shape
        codes = np.empty((documents, dim), np.int8), np.empty((documents, nibbles.width(dim)), np.uint8)
        bounds = np.empty((2, 3, documents), np.float32)
        for here, part in _quantise(vectors, centre):
            codes[0][here], codes[1][here], bounds[..., here] = part
        scales, lengths, errors = bounds[0]
        return cls(codes[0], scales, lengths, errors, centre, Nibbles(codes[1], *bounds[1]))

    @classmethod
    def open(cls, folder: Path, documents: int, dim: int) -> Quantised:
        """Map what `write` wrote. Raises `DamagedFile` where it is not of so many documents and dimensions."""
        # Mapped copy-on-write, because torch wants memory it may write to; nothing is ever written.
        codes = bounded.column(folder / CODES, np.int8, documents, dim, mode="c")
        centre = np.array(bounded.column(folder / CENTRE, np.float32, dim))
        scales, lengths, errors = _bounds_in(folder, BOUNDS, documents)
        return cls(codes, scales, lengths, errors, centre, _nibbles_in(folder, documents, dim))

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, documents: NDArray[Any]) -> Quantised:
        """Some of the documents, in memory."""
        scales, lengths, errors = (column[documents] for column in (self.scales, self.lengths, self.errors))
        return Quantised(self.codes[documents], scales, lengths, errors, self.centre)

    @property
    def norms(self) -> Floats:
        """At least the lengths of the vectors themselves, `[documents]`."""
        around = float(np.linalg.norm(self.centre.astype(np.float64)))
        return _up((around + self.lengths.astype(np.float64) + self.errors) * (1 + 2.0**-30))


def fits(longest: float, dim: int) -> bool:
    """True if the bounds hold of vectors of `dim` dimensions, of which the longest has the length `longest`."""
    return _SHORTEST < longest < _LONGEST and 0 < dim < _DIMENSIONS


def write(vectors: Floats, folder: Path) -> None:
    """Write the quantised form of `vectors` into `folder`, holding some hundred of them in memory at a time."""
    centre, (documents, dim) = _mean(vectors), vectors.shape
    bounds = np.empty((2, 3, documents), np.float32)
    with (folder / CODES).open("wb") as codes, (folder / NIBBLES).open("wb") as halves:
        write_header(codes, (documents, dim), np.int8)
        write_header(halves, (documents, nibbles.width(dim)), np.uint8)
        for here, part in _quantise(vectors, centre):
            codes.write(part.codes.tobytes())
            halves.write(part.nibbles.tobytes())
            bounds[..., here] = part.bounds
    np.save(folder / BOUNDS, bounds[0])
    np.save(folder / NIBBLE_BOUNDS, bounds[1])
    np.save(folder / CENTRE, centre)


def _bounds_in(folder: Path, name: str, documents: int) -> Floats:
    """Scales, lengths and errors, `[3, documents]`. Raises `DamagedFile` where one of them is below 0 or no number."""
    bounds: Floats = bounded.column(folder / name, np.float32, 3, documents)

    def check() -> None:
        for numbers in bounds:
            least, most = numbers.min(initial=0), numbers.max(initial=0)
            if not 0 <= least <= most < np.inf:  # of which NaN is neither
                raise bounded.fault(folder / name, f"bounds lie between {least} and {most}")

    bounded.once(folder, [name], check)
    return bounds


def _nibbles_in(folder: Path, documents: int, dim: int) -> Nibbles | None:
    """The documents in nibbles; indexes that were made before there were any are searched without."""
    if not (folder / NIBBLES).exists() and not (folder / NIBBLE_BOUNDS).exists():
        return None
    codes = bounded.column(folder / NIBBLES, np.uint8, documents, nibbles.width(dim))
    return Nibbles(codes, *_bounds_in(folder, NIBBLE_BOUNDS, documents))


@dataclass(frozen=True)
class QuantisedQueries:
    """Queries: `vectors` float32 `[queries, dim]` and their `codes` (a); all else is `[queries]`.

    `steps` (t) are the scales, `offsets` the products with the mean of the documents, both float64; `by_length` and
    `by_error` are A and B above. `norms` are the lengths |q|, and `margins` what rounding adds to an offset. `rest` is
    f / t, float64 `[queries, dim]`.
    """

    vectors: Floats
    codes: NDArray[np.int8]
    steps: NDArray[np.float64]
    offsets: NDArray[np.float64]
    by_length: Floats
    by_error: Floats
    norms: NDArray[np.float64]
    margins: NDArray[np.float64]
    rest: NDArray[np.float64]

    @classmethod
    def of(cls, vectors: Floats, centre: Floats, norms: NDArray[np.float64]) -> QuantisedQueries:
        """Quantise queries, float32 `[queries, dim]`, of which none is zero; `norms` are their lengths."""
        exact, mean = vectors.astype(np.float64), centre.astype(np.float64)
        steps = np.abs(exact).max(axis=1) / 127
        codes = np.rint(exact / steps[:, None])
        rest = (exact - steps[:, None] * codes) / steps[:, None]
        by_error = _up(norms / steps * (1 + 16 * _UNIT))
        margins = len(centre) * 2.0**-50 * math.sqrt(mean @ mean) * norms + TINY
        bounds = _by_length(rest, codes), by_error
        return cls(vectors, codes.astype(np.int8), steps, exact @ mean, *bounds, norms, margins, rest)

    def coarser(self, times: int) -> QuantisedQueries:
        """The same queries with codes for steps that are so many times as long, a power of two."""
        if times == 1:
            return self
        codes = np.rint(self.codes / times)
        rest = (self.rest + self.codes - times * codes) / times
        bounds = _by_length(rest, codes), self.by_error / np.float32(times)
        others = self.norms, self.margins, rest
        return QuantisedQueries(self.vectors, codes.astype(np.int8), self.steps * times, self.offsets, *bounds, *others)

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, queries: NDArray[Any] | slice) -> QuantisedQueries:
        """Some of the queries, in their order."""
        codes = self.codes[queries]
        if len(codes) == len(self):
            return self
        return QuantisedQueries(*(getattr(self, name)[queries] for name in self.__dataclass_fields__))

    def scores_of(self, steps: Floats) -> NDArray[np.float64]:
        """Scores that nothing reaches which is bounded by less than `steps` (`[queries]`, in units of t)."""
        exact = steps.astype(np.float64)
        return self.offsets + self.steps * (exact + 2.0**-50 * np.abs(exact) + _TINY_BOUND) + self.margins


def _by_length(rest: NDArray[np.float64], codes: NDArray[np.float64]) -> Floats:
    """The weight A of queries, from what their codes leave, in steps."""
    return _up(lengths_of(rest) * (1 + 16 * _UNIT) + 16 * _UNIT * lengths_of(codes))


def askable(norms: NDArray[np.float64]) -> NDArray[np.bool_]:
    """A mask of the queries, by their lengths, that have bounds: all but zero ones and those of absurd length."""
    found: NDArray[np.bool_] = (norms > _SHORTEST) & (norms < _LONGEST)
    return found


def rounding(dim: int) -> float:
    """The distance that two sums of a dot product in float32 can lie apart, in units of |q| |d|, and a little more."""
    return 2.02 * (dim + 16) * _UNIT


class _Part(NamedTuple):
    """Some documents: `codes` int8 `[documents, dim]`, `nibbles` uint8, packed, and the `bounds` of both.

    These are scales, lengths and errors, float32 `[2, 3, documents]`.
    """

    codes: NDArray[np.int8]
    nibbles: NDArray[np.uint8]
    bounds: Floats


def _quantise(vectors: Floats, centre: Floats) -> Iterator[tuple[slice, _Part]]:
    """Vectors in bytes and in nibbles, some hundred at a time; in float64, and lengths rounded up.

    Memory is used again: taking it each time takes as long as all else.
    """
    memory, mean = np.empty((2, _QUANTISED, len(centre))), centre.astype(np.float64)
    around = math.sqrt(mean @ mean)
    for start in range(0, len(vectors), _QUANTISED):
        block = vectors[start : start + _QUANTISED]
        rest, other = memory[:, : len(block)]
        np.subtract(block, mean, out=rest)
        scales = (np.abs(rest, out=other).max(axis=1, initial=0) / 127).astype(np.float32)
        codes = _codes(rest, scales, other)
        bounds = _bounds(rest, scales, codes, around, other)
        few, few_scales = nibbles.quantise(rest, other)
        few_bounds = _bounds(rest, few_scales, nibbles.levels_of(few), around, other)
        yield slice(start, start + len(block)), _Part(codes, nibbles.packed(few), np.stack([bounds, few_bounds]))


def _codes(rest: NDArray[np.float64], scales: Floats, memory: NDArray[np.float64]) -> NDArray[np.int8]:
    steps = np.where(scales > 0, scales, 1).astype(np.float64)[:, None]
    codes = np.rint(np.divide(rest, steps, out=memory), out=memory)
    np.clip(codes, -127, 127, out=codes)  # a scale that was rounded down could make it 128
    codes[scales == 0] = 0
    return codes.astype(np.int8)


def _bounds(
    rest: NDArray[np.float64], scales: Floats, codes: NDArray[Any], around: float, memory: NDArray[np.float64]
) -> Floats:
    """Scales, lengths and errors of what is coded, `[3, vectors]`; `around` is the length of the mean of all."""
    coarse = np.multiply(codes, scales.astype(np.float64)[:, None], out=memory)
    lengths = lengths_of(coarse)
    errors = lengths_of(np.subtract(rest, coarse, out=memory))
    errors += rounding(rest.shape[1]) / 2 * (around * (1 + 2.0**-30) + lengths + errors)
    return np.stack([scales, _up(lengths), _up(errors)])


def lengths_of(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Lengths of vectors `[vectors, dim]`, a little too long rather than too short, `[vectors]`."""
    exact = vectors.astype(np.float64, copy=False)  # the square of what float32 holds may be too small for it
    return np.sqrt(np.einsum("ij,ij->i", exact, exact)) * (1 + 2.0**-30)


def longest(vectors: Floats) -> float:
    """The length of the longest vector, read in blocks."""
    return max((float(lengths_of(block).max()) for block in blocks(vectors, _ROWS)), default=0.0)


def _up(values: NDArray[np.float64]) -> Floats:
    """The values in float32, no one less than it was."""
    return np.nextafter(values.astype(np.float32), np.float32(np.inf))


def _mean(vectors: Floats) -> Floats:
    total = sum((block.sum(axis=0, dtype=np.float64) for block in blocks(vectors, _ROWS)), np.zeros(vectors.shape[1]))
    return (total / max(1, len(vectors))).astype(np.float32)
