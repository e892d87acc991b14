"""The first pass by the instructions of `nirank_dense.exact.vnni`: nothing is written but what reaches its query's floor."""

from __future__ import annotations

import math
from collections.abc import Callable

from nirank.data import Floats
from nirank_dense.exact import floors, kernels, vnni
from nirank_dense.exact.kernels import Exact, Found, Weights
from nirank_dense.exact.pairs import Pairs
from nirank_dense.exact.quantised import Asked, Quantised
from nirank_dense.exact.threads import mapping, shared

#: Up to so many queries are taken one by one: more cost as much as a whole panel of `vnni.PANEL`.
_FEW = 6
#: Documents that are compared with all queries before the next: their codes stay in the processor's second cache.
_BLOCK = 20 * vnni.TILE
#: Room for so many pairs, at least.
_PAIRS = 2**18
#: Documents, at least, for each thread.
_DOCUMENTS = 2**14
#: After these shares of the documents floors are raised to what has been found. It costs some microseconds.
_RAISED, _RAISED_FOR_FEW = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1), (1 / 8, 1)

#: Compares documents from one number up to another with queries of these weights, as `vnni.many` does.
Compare = Callable[[Weights, int, int, Found], tuple[int, int]]


class ByTiles:
    """All documents as codes; `block` of them are compared with all queries before the next."""

    def __init__(self, documents: Quantised, block: int | None = None) -> None:
        self._whole, self._documents = vnni.whole(documents), len(documents)
        self._block = -(-(block or _BLOCK) // vnni.TILE) * vnni.TILE

    def pairs(self, asked: Asked, steps: Floats, exact: Exact, k: int) -> list[Pairs]:
        """Pairs that reach `steps`, among them the best `k` of those that do."""
        compare, room = self._comparing(asked)
        unit = self._block * vnni.GROUP  # so that every share begins with a tile, and with a group
        shares = shared(-(-self._documents // unit), -(-_DOCUMENTS // unit))
        raised = _RAISED_FOR_FEW if len(asked) <= _FEW else _RAISED

        def look(share: slice) -> list[Pairs]:
            best, own, parts, low = floors.begun(asked, steps, k), steps, [], share.start * unit
            found = kernels.space(max(_PAIRS, room))
            for part in raised:
                high = min((share.start + math.ceil((share.stop - share.start) * part)) * unit, self._documents)
                while low < high:
                    count, low = compare(floors.weights(asked, own), low, high, found)
                    parts.append(Pairs.judged(exact, best, count, found))
                    own = floors.raised(asked, own, best) if low < self._documents else own
            return parts

        with mapping(len(shares)) as run:
            return [part for parts in run(look, shares) for part in parts]

    def _comparing(self, asked: Asked) -> tuple[Compare, int]:
        """What compares documents with these queries, and how many pairs it needs room for."""
        whole, block = self._whole, self._block
        if len(asked) <= _FEW:
            chunks = vnni.chunks(asked.codes)

            def few(weights: Weights, low: int, high: int, found: Found) -> tuple[int, int]:
                return vnni.few(whole, chunks, vnni.rows(weights), low, high, found.rows, found.docs)

            return few, vnni.GROUP * len(asked)
        panels = vnni.panels(asked.codes)

        def many(weights: Weights, low: int, high: int, found: Found) -> tuple[int, int]:
            return vnni.many(whole, panels, vnni.panel_weights(weights), block, low, high, found.rows, found.docs)

        return many, block * len(panels) * vnni.PANEL
