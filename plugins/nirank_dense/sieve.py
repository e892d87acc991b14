"""The pass over all documents: what cannot reach a query's floor is dropped, the rest is scored in float32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats
from nirank_dense import kernels
from nirank_dense.coarse import TILE, Codes
from nirank_dense.quantised import Asked, Quantised, rounding
from nirank_dense.threads import mapping, shared

#: Queries, at least, for each thread.
_QUERIES = 8


@dataclass(frozen=True)
class Pairs:
    """Pairs of a query and a document, and between what their float32 scores lie, each `[pairs]`."""

    rows: NDArray[np.int64]
    docs: NDArray[np.int64]
    lower: Floats
    upper: Floats

    @classmethod
    def joined(cls, parts: list[Pairs]) -> Pairs:
        """The pairs of all parts."""
        number, score = np.empty(0, np.int64), np.empty(0, np.float32)
        columns: Any = zip(*(vars(part).values() for part in [cls(number, number, score, score), *parts]), strict=True)
        return cls(*map(np.concatenate, columns))

    def where(self, keep: NDArray[np.bool_]) -> Pairs:
        """Only the pairs marked in `keep`."""
        return Pairs(self.rows[keep], self.docs[keep], self.lower[keep], self.upper[keep])


class Sieve:
    """All documents: their `vectors`, float32 `[documents, dim]`, and what they are in bytes.

    `block` of them are looked at at once; unless it is given, as many as keep the processor's cache filled.
    """

    def __init__(self, vectors: Floats, documents: Quantised, block: int | None = None) -> None:
        self._vectors, self._norms = kernels.read_only(vectors), kernels.read_only(documents.norms)
        self._codes = Codes(documents.codes)
        self._bounds = kernels.bounds(documents.scales, documents.lengths, documents.errors)
        self._block = block

    def pairs(self, asked: Asked, steps: Floats) -> tuple[Pairs, NDArray[np.float64]]:
        """All pairs that may reach `steps` (`[queries]`, in steps of each query), and the score that no others reach.

        Pairs of one block of documents stand together, in the order of the blocks.
        """
        floor = asked.scores_of(steps)
        weights = kernels.Weights(asked.by_length, asked.by_error, steps)
        apart = (rounding(asked.vectors.shape[1]) * asked.norms).astype(np.float32)
        exact = kernels.Exact(kernels.read_only(asked.vectors), apart, floor, self._vectors, self._norms)
        return Pairs.joined(list(self._blocks(asked, weights, exact))), floor

    def _blocks(self, asked: Asked, weights: kernels.Weights, exact: kernels.Exact) -> Iterator[Pairs]:
        documents, shares = len(self._vectors), shared(len(asked), _QUERIES)
        size = min(documents, self._block or max(1024, TILE // max(1, len(asked)) // 1024 * 1024))
        memory = np.empty(len(asked) * size, np.int32)
        spaces = [kernels.space(share.stop - share.start, size) for share in shares]

        def look(share: slice, found: kernels.Found) -> Pairs:
            end = kernels.reaching(products[share], bounds, weights.of(share), exact.of(share, here), found)
            rows, docs, lower, upper = (column[:end] for column in found)
            return Pairs(rows + np.int64(share.start), docs + np.int64(here.start), lower.copy(), upper.copy())

        with mapping(len(shares)) as run:
            for start in range(0, documents, size):
                here = slice(start, min(start + size, documents))
                products = self._codes.products(asked.codes, here.start, here.stop, memory)
                bounds = self._bounds.of(here)
                yield from run(look, shares, spaces)
