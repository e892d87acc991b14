"""Dot products of codes: whole numbers of a byte, added up in 32 bits without rounding.

Here codes are multiplied where `nirank_dense.exact.tiles` does not know the processor.

One query at a time only waits for memory, and the compiled loop reads as fast as memory gives. Many queries are a
matrix product, which torch computes by oneDNN: four times as many a second as in float32 where the processor has
instructions for it (AVX512-VNNI and the like). Where it has none, that product may be slow, or even saturate in
between, and of vectors with one dimension torch 2.13 returns wrong numbers. So it is tried before it is used: a
`Processor` holds the outcome, or what is set in its place.
"""

from __future__ import annotations

import functools
import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nirank_dense.exact import instructions, kernels

log = logging.getLogger("nirank")

#: Products that are worth keeping at once: 8 MB, so that they stay in the processor's cache.
TILE = 2**21
#: Queries, and dimensions, from which on the matrix product is faster: 4 queries of 384 dimensions and 100,000
#: documents took 5.0 ms in the loop and 6.7 as a product, 8 took 9.9 and 7.9 (one core of an AMD EPYC).
_MANY_QUERIES, _MANY_DIMENSIONS = 6, 32
#: A product that takes this many times as long as one in float32 is not meant for this processor.
_SLOW = 2


@functools.cache
def matrix_is_exact(dim: int) -> bool:
    """Try the matrix product on several shapes, so large that whatever adds up in fewer than 32 bits would overflow."""
    if not hasattr(torch, "_int_mm"):
        return False
    random = np.random.default_rng(0)
    queries, codes = (random.choice(np.array([-127, 127, 126, -1], np.int8), (rows, dim)) for rows in (70, 300))
    queries[0], codes[0], codes[1] = 127, 127, -127
    expected = queries.astype(np.float64) @ codes.T.astype(np.float64)  # whole numbers far below 2**53
    left, right = torch.from_numpy(queries), torch.from_numpy(codes)
    return all(
        np.array_equal(torch._int_mm(left[:some], right[slice(*part)].T).numpy(), expected[:some, slice(*part)])
        for some, part in itertools.product((_MANY_QUERIES, 33, 70), ((0, 300), (0, 1), (7, 135)))
    )


@functools.cache
def matrix_is_fast() -> bool:
    """Time the matrix product against one in float32, once in a process."""
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


@dataclass(frozen=True)
class Processor:
    """The ways to multiply codes that a processor is good at; unless given otherwise, found out when first needed.

    instructions      whether it has those of `nirank_dense.exact.tiles`
    matrix_is_exact   whether torch's product of bytes is right, by the number of dimensions
    matrix_is_fast    whether that product is worth while
    """

    instructions: Callable[[], bool] = instructions.available
    matrix_is_exact: Callable[[int], bool] = matrix_is_exact
    matrix_is_fast: Callable[[], bool] = matrix_is_fast

    def by_matrix(self, queries: int, dim: int) -> bool:
        """True if the codes of `queries` are multiplied as a matrix."""
        return _is_many(queries, dim) and self.matrix_is_exact(dim) and self.matrix_is_fast()

    def pays(self, queries: int, dim: int) -> bool:
        """True if a first pass over codes is worth while for `queries` of `dim` dimensions."""
        return self.instructions() or not _is_many(queries, dim) or self.by_matrix(queries, dim)


#: The one at hand.
THIS_PROCESSOR = Processor()


class Codes:
    """The codes of the documents, int8 `[documents, dim]`."""

    def __init__(self, codes: NDArray[np.int8], processor: Processor = THIS_PROCESSOR) -> None:
        self._codes, self._tensor, self._processor = codes, torch.from_numpy(codes), processor

    def products(
        self, queries: NDArray[np.int8], start: int, stop: int, memory: NDArray[np.int32]
    ) -> NDArray[np.int32]:
        """Products of the codes of queries with documents `start` up to `stop`, `[queries, stop - start]`.

        They are written into `memory` (flat, at least as long), so that its pages are used again.
        """
        shape = len(queries), stop - start
        out = memory[: shape[0] * shape[1]].reshape(shape)
        if not self._processor.by_matrix(*queries.shape):
            kernels.multiply(queries, self._codes[start:stop], out)
        else:
            torch._int_mm(torch.from_numpy(queries), self._tensor[start:stop].T, out=torch.from_numpy(out))
        return out


def _is_many(queries: int, dim: int) -> bool:
    return queries >= _MANY_QUERIES and dim >= _MANY_DIMENSIONS
