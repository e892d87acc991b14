"""Dot products of codes: whole numbers of a byte, added up in 32 bits without rounding.

Where `nirank_dense.exact.vnni` knows the processor only the sample is multiplied here, elsewhere all documents are.

One query at a time only waits for memory, and the compiled loop reads as fast as memory gives. Many queries are a
matrix product, which torch computes by oneDNN: four times as many a second as in float32 where the processor has
instructions for it (AVX512-VNNI and the like). Where it has none, that product may be slow, or even saturate in
between, and of vectors with one dimension torch 2.13 returns wrong numbers. So it is tried before it is used.
"""

from __future__ import annotations

import functools
import itertools
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nirank_dense.exact import kernels, vnni

log = logging.getLogger("nirank")

#: Products that are worth keeping at once: 8 MB, so that they stay in the processor's cache.
TILE = 2**21
#: From so many queries of so many dimensions on the matrix product is faster: 4 queries of 384 dimensions and 100,000
#: documents took 5.0 ms in the loop and 6.7 as a product, 8 took 9.9 and 7.9 (one core of an AMD EPYC).
_MANY, _WIDE = 6, 32
#: Where it takes so many times as long as a product in float32, it is not meant for this processor.
_SLOW = 2


class Codes:
    """The codes of the documents, int8 `[documents, dim]`."""

    def __init__(self, codes: NDArray[np.int8]) -> None:
        self._codes, self._tensor = codes, torch.from_numpy(codes)

    def products(self, asked: NDArray[np.int8], start: int, stop: int, memory: NDArray[np.int32]) -> NDArray[np.int32]:
        """Products of the codes of queries with documents `start` up to `stop`, `[queries, stop - start]`.

        They are written into `memory` (flat, at least as long), so that its pages are used again.
        """
        shape = len(asked), stop - start
        out = memory[: shape[0] * shape[1]].reshape(shape)
        if not _by_matrix(*asked.shape):
            kernels.multiply(asked, self._codes[start:stop], out)
        else:
            torch._int_mm(torch.from_numpy(asked), self._tensor[start:stop].T, out=torch.from_numpy(out))
        return out


def pays(queries: int, dim: int) -> bool:
    """Whether a first pass over codes is worth while for so many queries of `dim` dimensions."""
    return vnni.available() or not _is_many(queries, dim) or _by_matrix(queries, dim)


def _by_matrix(queries: int, dim: int) -> bool:
    return _is_many(queries, dim) and _is_exact(dim) and _is_fast()


def _is_many(queries: int, dim: int) -> bool:
    return queries >= _MANY and dim >= _WIDE


@functools.cache
def _is_exact(dim: int) -> bool:
    """Tried on products of several shapes, so large that whatever adds up in fewer than 32 bits would overflow."""
    if not hasattr(torch, "_int_mm"):
        return False
    random = np.random.default_rng(0)
    asked, codes = (random.choice(np.array([-127, 127, 126, -1], np.int8), (rows, dim)) for rows in (70, 300))
    asked[0], codes[0], codes[1] = 127, 127, -127
    expected = asked.astype(np.float64) @ codes.T.astype(np.float64)  # whole numbers far below 2**53
    left, right = torch.from_numpy(asked), torch.from_numpy(codes)
    return all(
        np.array_equal(torch._int_mm(left[:some], right[slice(*part)].T).numpy(), expected[:some, slice(*part)])
        for some, part in itertools.product((_MANY, 33, 70), ((0, 300), (0, 1), (7, 135)))
    )


@functools.cache
def _is_fast() -> bool:
    codes, floats = torch.ones((1024, 512), dtype=torch.int8), np.ones((1024, 512), np.float32)
    ours = _seconds(lambda: torch._int_mm(codes[:64], codes.T))
    theirs = _seconds(lambda: np.matmul(floats[:64], floats.T))
    fast = ours < _SLOW * theirs
    log.debug(
        "a product of bytes took %.2g s, of float32 %.2g s: many queries at once are %s",
        ours, theirs, "compared by bytes first" if fast else "scanned",
    )  # fmt: skip
    return fast


def _seconds(work: Callable[[], Any], laps: int = 5) -> float:
    """The time of the fastest of a few laps."""

    def lap() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return min(lap() for _ in range(laps))
