"""Queries compared with all documents by `nirank_dense.exact.tiles`, in the steps that the instructions have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nirank.data import Floats
from nirank_dense.exact import floors, kernels, tiles
from nirank_dense.exact.instructions import HAS_VNNI
from nirank_dense.exact.kernels import PairColumns, Weights
from nirank_dense.exact.quantised import Quantised, QuantisedQueries

#: At most this many queries are taken one by one: more cost as much as a whole panel of `tiles.PANEL`.
FEW = 6 if HAS_VNNI else 10
#: Blocks after which pairs are confirmed, while their codes are in the processor's cache.
_NEAR = 8

_Compare = Callable[[Floats, int, int, PairColumns], tuple[int, int]]


class CodedDocuments:
    """Codes of documents as the instructions read them, and as pairs of them are confirmed."""

    def __init__(self, documents: Quantised) -> None:
        self.whole, self.codes = tiles.whole(documents), kernels.read_only(documents.codes)
        self.bounds = kernels.bounds(documents.scales, documents.lengths, documents.errors)


class Comparison:
    """Queries, whose codes are laid out as they are compared; `block` documents are read at once.

    Where the instructions want coarser codes than there are, the pairs that these let through are confirmed by all.
    """

    def __init__(self, documents: CodedDocuments, queries: QuantisedQueries, block: int) -> None:
        self._documents, self._queries, self._block = documents, queries, block
        self._few = len(queries) <= FEW
        self._coarser = 1 if self._few else tiles.COARSER
        self._compare = self._comparing(queries.coarser(self._coarser))

    @property
    def room(self) -> int:
        """The number of pairs that one step may write down."""
        queries = len(self._queries)
        return tiles.GROUP * queries if self._few else self._block * -(-queries // tiles.PANEL) * tiles.PANEL

    def pairs(self, steps: Floats, low: int, high: int, found: PairColumns) -> tuple[int, int]:
        """Write down pairs of documents `low` up to `high` that may reach `steps` (`[queries]`).

        Returns how many there are, and the document to go on with.
        """
        if self._coarser == 1:
            return self._compare(steps, low, high, found)
        high = min(high, low + _NEAR * self._block)
        count, low = self._compare(steps / np.float32(self._coarser), low, high, found)
        weights, documents = floors.weights(self._queries, steps), self._documents
        return kernels.confirm(self._queries.codes, documents.codes, documents.bounds, weights, count, found), low

    def _comparing(self, queries: QuantisedQueries) -> _Compare:
        whole, block = self._documents.whole, self._block

        def weights(steps: Floats) -> Weights:
            return floors.weights(queries, steps)

        if self._few:
            chunks = tiles.chunks(queries.codes)
            return lambda steps, low, high, found: tiles.few(
                whole, chunks, tiles.rows(weights(steps)), low, high, found.rows, found.docs
            )
        panels = tiles.panels(queries.codes)
        return lambda steps, low, high, found: tiles.many(
            whole, panels, tiles.panel_weights(weights(steps)), block, low, high, found.rows, found.docs
        )
