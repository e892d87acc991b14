"""Compression of token vectors: the nearest centroid, and what is left of each dimension in a few bits.

So ColBERTv2 keeps them (Santhanam et al., NAACL 2022, section 3.3), but for the classes that what is left is cut into.
There they are equally frequent, and the same for all dimensions, which leaves the few large numbers to two wide classes
at the ends. Here each dimension has a scale, each token has a gain in a byte of its own, and classes are those of least
squared error (Max, Quantizing for Minimum Distortion, IRE Transactions on Information Theory, 1960).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nirank.data import Floats
from nirank.kit import bounded

#: Similarities with centroids that are in memory at once.
_SIMILARITIES = 1 << 23
#: Rounds of Lloyd's algorithm; ColBERTv2 has as many.
_ROUNDS = 4
#: Numbers that classes are found in, and rounds in which they are moved.
_NUMBERS, _MOVES = 1 << 18, 50
#: Of a dimension in which nothing is left.
_LEAST_SCALE = 1e-9
#: Powers of two between which gains lie; each of the 256 is 2.5 % above the one before.
_LOWEST, _HIGHEST = -6.0, 3.0
#: What the last byte of a compressed vector stands for, float32 `[256]`.
GAINS = np.exp2(np.linspace(_LOWEST, _HIGHEST, 256)).astype(np.float32)
_ARRAYS = ("centroids", "scales", "cuts", "levels")


@dataclass(frozen=True, eq=False)
class Codec:
    """`centroids` are unit vectors, `[centroids, dim]`; `cuts` `[2^bits - 1]` lie between `levels` `[2^bits]`.

    What is left of dimension `d` is a level times `scales[d]`, `[dim]`, times the gain of the token. All are float32.
    """

    centroids: Floats
    scales: Floats
    cuts: Floats
    levels: Floats

    @classmethod
    def fit(cls, sample: Floats, centroids: int, bits: int, seed: int) -> Codec:
        """Fit a codec to a sample of the vectors, `[tokens, dim]`; `seed` decides the first centroids."""
        found = spherical_kmeans(sample, centroids, seed)
        left = sample - found[nearest(sample, found)]
        scales = np.maximum(np.sqrt(np.square(left).mean(0)), _LEAST_SCALE).astype(np.float32)
        scaled = left / scales
        levels = least_squares((scaled / GAINS[_gain_codes(scaled), None]).ravel(), 2**bits)
        return cls(found, scales, (levels[1:] + levels[:-1]) * np.float32(0.5), levels)

    @property
    def bits(self) -> int:
        """The number of bits of each dimension."""
        return int(np.log2(len(self.levels)))

    @property
    def width(self) -> int:
        """The number of bytes that keep what is left of a vector; the last is its gain."""
        return 1 - (-self.centroids.shape[1] // (8 // self.bits))

    @property
    def steps(self) -> Floats:
        """The levels that each byte stands for, `[256, 8 / bits]`."""
        shifts = np.arange(0, 8, self.bits)
        return self.levels[np.arange(256)[:, None] >> shifts & (2**self.bits - 1)]

    def compress(self, values: Floats) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """The centroid of each vector, `[tokens]`, and what is left of it, `[tokens, width]`."""
        codes = nearest(values, self.centroids)
        scaled = (values - self.centroids[codes]) / self.scales
        gains = _gain_codes(scaled)
        classes = np.searchsorted(self.cuts, scaled / GAINS[gains, None]).astype(np.uint8)
        each = 8 // self.bits
        padded = np.zeros((len(values), (self.width - 1) * each), np.uint8)
        padded[:, : values.shape[1]] = classes
        shifted = padded.reshape(len(values), self.width - 1, each) << np.arange(0, 8, self.bits, dtype=np.uint8)
        return codes, np.column_stack([np.bitwise_or.reduce(shifted, axis=2), gains])

    def save(self, folder: Path) -> None:
        """Write it as `.npy` columns."""
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Codec:
        """Read what `save` wrote. Raises `DamagedFile` where it does not fit together."""
        levels = np.array(bounded.column(folder / "levels.npy", np.float32, None))
        if len(levels) not in (2, 4, 16, 256):
            raise bounded.fault(folder / "levels.npy", f"it has {len(levels)} numbers; 2, 4, 16 or 256 are expected")
        cuts = np.array(bounded.column(folder / "cuts.npy", np.float32, len(levels) - 1))
        centroids = np.array(bounded.column(folder / "centroids.npy", np.float32, None, None))
        scales = np.array(bounded.column(folder / "scales.npy", np.float32, centroids.shape[1]))
        return cls(centroids, scales, cuts, levels)


def _gain_codes(scaled: Floats) -> NDArray[np.uint8]:
    """The gain that is nearest to the root of the mean square of each vector, `[tokens]`, as a place in `GAINS`."""
    power = np.log2(np.maximum(np.square(scaled).mean(1), np.float32(1e-30))) / 2
    places = (power - _LOWEST) * ((len(GAINS) - 1) / (_HIGHEST - _LOWEST))
    return np.clip(np.rint(places), 0, len(GAINS) - 1).astype(np.uint8)


def least_squares(numbers: Floats, count: int) -> Floats:
    """The `count` levels, rising, that stand for numbers with the least squared error, as far as moving them finds it.

    A number is of the nearest level. Levels begin as quantiles, and each moves to the mean of its numbers; one that has
    none stays where it is. Of many numbers some are looked at, drawn by a seed of their own.
    """
    if len(numbers) > _NUMBERS:
        numbers = numbers[np.random.default_rng(0).integers(0, len(numbers), _NUMBERS)]
    values = np.sort(numbers.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    levels = np.quantile(values, (np.arange(count) + 0.5) / count)
    for _ in range(_MOVES):
        ends = np.concatenate([[0], np.searchsorted(values, (levels[1:] + levels[:-1]) / 2), [len(values)]])
        sizes = np.diff(ends)
        levels = np.where(sizes > 0, np.diff(sums[ends]) / np.maximum(sizes, 1), levels)
    return levels.astype(np.float32)


def spherical_kmeans(sample: Floats, count: int, seed: int) -> Floats:
    """Unit vectors in whose directions the sample lies, float32 `[count, dim]`.

    They begin as vectors of the sample; one that is nearest to none stays where it is.
    """
    chosen = np.random.default_rng(seed).choice(len(sample), count, replace=False)
    centroids = _unit(sample[np.sort(chosen)])
    for _ in range(_ROUNDS):
        codes = nearest(sample, centroids)
        sums = np.zeros_like(centroids)
        np.add.at(sums, codes, sample)
        found = np.bincount(codes, minlength=count) > 0
        centroids[found] = _unit(sums[found])
    return centroids


def nearest(values: Floats, centroids: Floats) -> NDArray[np.int32]:
    """The centroid of highest dot product with each vector, `[tokens]`."""
    codes, against = np.empty(len(values), np.int32), torch.from_numpy(centroids).T
    for some in _some(len(values), max(1, _SIMILARITIES // len(centroids))):
        codes[some] = (torch.from_numpy(np.ascontiguousarray(values[some])) @ against).argmax(1).numpy()
    return codes


def _some(length: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, length, size))


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12).astype(np.float32)
