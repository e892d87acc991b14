"""Compression of token vectors: the nearest centroid, and what is left of each dimension in a few bits.

So ColBERTv2 keeps them (Santhanam et al., NAACL 2022, section 3.3). What is left is cut into 2^bits classes that are
equally frequent, and each class stands for its median.
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
_ARRAYS = ("centroids", "cuts", "levels")


@dataclass(frozen=True, eq=False)
class Codec:
    """`centroids` are unit vectors, `[centroids, dim]`; `cuts` `[2^bits - 1]` lie between `levels` `[2^bits]`.

    All are float32.
    """

    centroids: Floats
    cuts: Floats
    levels: Floats

    @classmethod
    def fit(cls, sample: Floats, centroids: int, bits: int, seed: int) -> Codec:
        """Fit a codec to a sample of the vectors, `[tokens, dim]`; `seed` decides the first centroids."""
        found = spherical_kmeans(sample, centroids, seed)
        left = sample - found[nearest(sample, found)]
        classes = 2**bits
        cuts = np.quantile(left, np.arange(1, classes) / classes)
        levels = np.quantile(left, (np.arange(classes) + 0.5) / classes)
        return cls(found, cuts.astype(np.float32), levels.astype(np.float32))

    @property
    def bits(self) -> int:
        """The number of bits of each dimension."""
        return int(np.log2(len(self.levels)))

    @property
    def width(self) -> int:
        """The number of bytes that keep what is left of a vector."""
        return -(-self.centroids.shape[1] // (8 // self.bits))

    @property
    def steps(self) -> Floats:
        """The numbers that each byte stands for, `[256, 8 / bits]`."""
        shifts = np.arange(0, 8, self.bits)
        return self.levels[np.arange(256)[:, None] >> shifts & (2**self.bits - 1)]

    def compress(self, values: Floats) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """The centroid of each vector, `[tokens]`, and what is left of it, `[tokens, width]`."""
        codes = nearest(values, self.centroids)
        classes = np.searchsorted(self.cuts, values - self.centroids[codes]).astype(np.uint8)
        each = 8 // self.bits
        padded = np.zeros((len(values), self.width * each), np.uint8)
        padded[:, : values.shape[1]] = classes
        shifted = padded.reshape(len(values), self.width, each) << np.arange(0, 8, self.bits, dtype=np.uint8)
        return codes, np.bitwise_or.reduce(shifted, axis=2)

    def save(self, folder: Path) -> None:
        """Write it as `.npy` columns."""
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Codec:
        """Read what `save` wrote. Raises `DamagedFile` where it does not fit together."""
        levels = np.array(bounded.column(folder / "levels.npy", np.float32, None))
        if len(levels) not in (2, 4, 16):
            raise bounded.fault(folder / "levels.npy", f"it has {len(levels)} numbers, and 2, 4 or 16 are expected")
        cuts = np.array(bounded.column(folder / "cuts.npy", np.float32, len(levels) - 1))
        return cls(np.array(bounded.column(folder / "centroids.npy", np.float32, None, None)), cuts, levels)


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
