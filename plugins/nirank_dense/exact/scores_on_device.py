"""Scores of queries and a block of documents, on the host by numpy or on a device by torch.

On the host it is numpy because its BLAS is chosen for the processor at hand, where torch's keeps to one that is
slow on some: 1,000 queries with 100,000 x 384 vectors took 1.1 s in numpy and 1.5 s in torch on one core of an
AMD EPYC, one query 8.6 ms (einsum) and 17 ms.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats, Ints, to_numpy
from nirank_dense.exact import rounded

#: How many pairs are gathered at once.
_PAIRS = 2**17
#: How exactly a device multiplies is a setting of the process; one thread at a time sets it and sets it back.
_SETTING = threading.Lock()


class OnHost:
    """Vectors in memory, or mapped."""

    #: Scores of a block: 16 MB, so that they stay in the processor's cache.
    budget = 2**22

    def __init__(self, vectors: Floats) -> None:
        self.vectors = vectors
        self._kept = threading.local()

    def queries(self, vectors: Floats) -> Floats:
        """Vectors of queries as `scores` wants them."""
        return vectors

    def scores(self, queries: Floats, start: int, stop: int) -> Floats:
        """Dot products with documents `start` up to `stop`, `[queries, stop - start]`; valid until the next call."""
        block = self.vectors[start:stop]
        if len(queries) == 1:  # a matrix product with one row is no matrix product: BLAS only waits for memory
            return np.einsum("nd,d->n", block, queries[0])[None]
        out = self._reused(len(queries) * len(block)).reshape(len(queries), len(block))
        return np.matmul(queries, block.T, out=out)

    def kth_best(self, scores: Floats, k: int) -> Floats:
        """The k-th best score of each query in a block that has at least `k`, `[queries]`."""
        return -np.partition(-scores, k - 1, axis=1)[:, k - 1]

    def reaching(self, scores: Floats, floor: Floats) -> tuple[Ints, Ints, Floats]:
        """Row, column and score of each entry that is not below its query's `floor`, row by row."""
        places = np.flatnonzero(scores >= floor[:, None])  # several times as fast as nonzero of a matrix
        rows, columns = np.divmod(places, scores.shape[1])
        return rows, columns, scores.ravel()[places]

    def each(self, queries: Floats, rows: Ints, docs: Ints) -> Floats:
        """The dot product of each pair, rounded once, `[pairs]`."""
        return rounded.products(queries, self.vectors, rows, docs)

    def _reused(self, size: int) -> NDArray[np.float32]:
        """The same memory for every block of one thread: the pages of a fresh one would be faulted in each time."""
        if len(getattr(self._kept, "memory", ())) < size:
            self._kept.memory = np.empty(size, np.float32)
        memory: NDArray[np.float32] = self._kept.memory
        return memory[:size]


class OnDevice:
    """Vectors that are copied to a device, all of them if they fit in half of its free memory, else block by block."""

    #: Scores of a block: 1 GB.
    budget = 2**28

    def __init__(self, vectors: Floats, device: str) -> None:
        import torch

        self.device = device
        self.vectors = torch.from_numpy(vectors)
        if self.vectors.nbytes < _free(device) // 2:
            self.vectors = self.vectors.to(device)

    def queries(self, vectors: Floats) -> Any:
        """Vectors of queries as `scores` wants them."""
        import torch

        return torch.from_numpy(vectors).to(self.device)

    def scores(self, queries: Any, start: int, stop: int) -> Any:
        """Dot products with documents `start` up to `stop`, `[queries, stop - start]`."""
        block = self.vectors[start:stop].to(self.device)
        with _in_full():
            return queries @ block.T

    def kth_best(self, scores: Any, k: int) -> Floats:
        """The k-th best score of each query in a block that has at least `k`, `[queries]`."""
        return to_numpy(scores.topk(k, sorted=False).values.amin(dim=1))

    def reaching(self, scores: Any, floor: Floats) -> tuple[Ints, Ints, Floats]:
        """Row, column and score of each entry that is not below its query's `floor`, row by row."""
        import torch

        rows, columns = (scores >= torch.from_numpy(floor).to(self.device)[:, None]).nonzero(as_tuple=True)
        return to_numpy(rows), to_numpy(columns), to_numpy(scores[rows, columns])

    def each(self, queries: Any, rows: Ints, docs: Ints) -> Floats:
        """The dot product of each pair, rounded once, `[pairs]`: the same numbers as on the host.

        It is added up where the vectors are, since not every device has float64.
        """
        import torch

        place = self.vectors.device
        there, rounding = queries.to(place), rounded.rounding(self.vectors.shape[1])
        scores, doubtful = np.empty(len(rows), np.float32), np.empty(len(rows), np.bool_)
        for start in range(0, len(rows), _PAIRS):
            here = slice(start, start + _PAIRS)
            left = there[torch.from_numpy(rows[here]).to(place)].double()
            products = left * self.vectors[torch.from_numpy(docs[here]).to(place)]
            sums, apart = products.sum(dim=1), rounding * products.abs().sum(dim=1)
            scores[here], doubtful[here] = rounded.rounded(to_numpy(sums.double()), to_numpy(apart.double()))
        rounded.settle(scores, doubtful, there, self.vectors, rows, docs)
        return scores


@contextmanager
def _in_full() -> Iterator[None]:
    """Inside, products on a device are of float32 in full, also where the user allows TF32 (10 bits) for other work."""
    from torch.backends.cuda import matmul

    # Since torch 2.9 there are two settings, and reading the old one fails where the new one was set.
    name, full = ("fp32_precision", "ieee") if hasattr(matmul, "fp32_precision") else ("allow_tf32", False)
    with _SETTING:
        before = getattr(matmul, name)
        setattr(matmul, name, full)
        try:
            yield
        finally:
            setattr(matmul, name, before)


def _free(device: str) -> int:
    import torch

    if not device.startswith("cuda"):
        return 0  # memory that is shared with the host: nothing is gained by a copy of everything
    free, _ = torch.cuda.mem_get_info(device)
    return int(free)
