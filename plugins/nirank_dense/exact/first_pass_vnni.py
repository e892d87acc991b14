"""The first pass by the instructions of `nirank_dense.exact.vnni`, which write only what reaches its query's floor."""

from __future__ import annotations

import math
from collections.abc import Callable

from nirank.data import Floats
from nirank_dense.exact import floors, kernels, vnni
from nirank_dense.exact.kernels import Exact, PairColumns, Weights
from nirank_dense.exact.pairs import ScoredPairs
from nirank_dense.exact.quantised import Quantised, QuantisedQueries
from nirank_dense.exact.threads import mapping, shared

#: At most this many queries are taken one by one: more cost as much as a whole panel of `vnni.PANEL`.
_FEW = 6
#: Documents that are compared with all queries before the next: their codes stay in the processor's second cache.
_BLOCK = 20 * vnni.TILE
#: Pairs, at least, that there is room for.
_PAIRS = 2**18
#: Documents, at least, for each thread.
_DOCUMENTS = 2**14
#: After these shares of the documents floors are raised to what has been found. It costs some microseconds.
_RAISED, _RAISED_FOR_FEW = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1), (1 / 8, 1)

#: Compares documents from one number up to another with queries of these weights, as `vnni.many` does.
Compare = Callable[[Weights, int, int, PairColumns], tuple[int, int]]


class ByTiles:
    """All documents as codes; `block` of them are compared with all queries before the next."""

    def __init__(self, documents: Quantised, block: int | None = None) -> None:
        self._whole, self._documents = vnni.whole(documents), len(documents)
        self._block = -(-(block or _BLOCK) // vnni.TILE) * vnni.TILE

    def pairs(self, queries: QuantisedQueries, steps: Floats, exact: Exact, k: int) -> list[ScoredPairs]:
        """Pairs that reach `steps`, among them the best `k` of those that do."""
        compare, room = self._comparing(queries)
        unit = self._block * vnni.GROUP  # so that every share begins with a tile, and with a group
        shares = shared(-(-self._documents // unit), -(-_DOCUMENTS // unit))
        raised = _RAISED_FOR_FEW if len(queries) <= _FEW else _RAISED

        def look(share: slice) -> list[ScoredPairs]:
            best, own, parts, low = floors.begun(queries, steps, k), steps, [], share.start * unit
            found = kernels.space(max(_PAIRS, room))
            for part in raised:
                high = min((share.start + math.ceil((share.stop - share.start) * part)) * unit, self._documents)
                while low < high:
                    count, low = compare(floors.weights(queries, own), low, high, found)
                    parts.append(ScoredPairs.judged(exact, best, count, found))
                    own = floors.raised(queries, own, best) if low < self._documents else own
            return parts

        with mapping(len(shares)) as run:
            return [part for parts in run(look, shares) for part in parts]

    def _comparing(self, queries: QuantisedQueries) -> tuple[Compare, int]:
        """The function that compares documents with these queries, and the number of pairs that it needs room for."""
        whole, block = self._whole, self._block
        if len(queries) <= _FEW:
            chunks = vnni.chunks(queries.codes)

            def few(weights: Weights, low: int, high: int, found: PairColumns) -> tuple[int, int]:
                return vnni.few(whole, chunks, vnni.rows(weights), low, high, found.rows, found.docs)

            return few, vnni.GROUP * len(queries)
        panels = vnni.panels(queries.codes)

        def many(weights: Weights, low: int, high: int, found: PairColumns) -> tuple[int, int]:
            return vnni.many(whole, panels, vnni.panel_weights(weights), block, low, high, found.rows, found.docs)

        return many, block * len(panels) * vnni.PANEL
