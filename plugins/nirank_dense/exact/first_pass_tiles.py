"""The first pass by the instructions of `nirank_dense.exact.tiles`, which write only what reaches its query's floor."""

from __future__ import annotations

import math

from nirank.data import Floats
from nirank_dense.exact import floors, kernels, tiles
from nirank_dense.exact.comparison import FEW, CodedDocuments, Comparison
from nirank_dense.exact.kernels import Exact
from nirank_dense.exact.pairs import ScoredPairs
from nirank_dense.exact.quantised import QuantisedQueries
from nirank_dense.exact.threads import mapping, shared

#: Documents that are compared with all queries before the next: their codes stay in the processor's second cache.
_BLOCK = 240
#: Pairs, at least, that there is room for.
_PAIRS = 2**18
#: Documents, at least, for each thread.
_DOCUMENTS = 2**14
#: After these shares of the documents floors are raised to what has been found. It costs some microseconds.
_RAISED, _RAISED_FOR_FEW = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1), (1 / 8, 1)


class ByTiles:
    """All documents as codes; `block` of them are compared with all queries before the next."""

    def __init__(self, documents: CodedDocuments, block: int | None = None) -> None:
        self._codes, self._documents = documents, len(documents.codes)
        self._block = -(-(block or _BLOCK) // tiles.TILE) * tiles.TILE

    def pairs(self, queries: QuantisedQueries, steps: Floats, exact: Exact, k: int) -> list[ScoredPairs]:
        """Pairs that reach `steps`, among them the best `k` of those that do."""
        comparison = Comparison(self._codes, queries, self._block)
        unit = self._block * tiles.GROUP  # so that every share begins with a tile, and with a group
        shares = shared(-(-self._documents // unit), -(-_DOCUMENTS // unit))
        raised = _RAISED_FOR_FEW if len(queries) <= FEW else _RAISED

        def look(share: slice) -> list[ScoredPairs]:
            best, own, parts, low = floors.begun(queries, steps, k), steps, [], share.start * unit
            found = kernels.space(max(_PAIRS, comparison.room))
            for part in raised:
                high = min((share.start + math.ceil((share.stop - share.start) * part)) * unit, self._documents)
                while low < high:
                    count, low = comparison.pairs(own, low, high, found)
                    parts.append(ScoredPairs.judged(exact, best, count, found))
                    own = floors.raised(queries, own, best) if low < self._documents else own
            return parts

        with mapping(len(shares)) as run:
            return [part for parts in run(look, shares) for part in parts]
