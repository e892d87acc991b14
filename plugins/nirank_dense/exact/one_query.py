"""Exact search for one query: documents are compared in nibbles, some of them in bytes, and few exactly.

Of 100,000 random vectors of 384 dimensions this takes .6 of the time of bytes alone (k=10), of texts by MiniLM half;
two queries at once, for which bytes are read once, would take as long as with these, and four longer.

Bounds of all documents are written down, and the documents of the best coarse scores are scored at once: the k-th best
of these is a floor that all of the best `k` reach, and is nearly always the k-th best of all. What is not bounded
below it, some percent of all, is compared in bytes, and what then is not, is scored (`nirank_dense.exact.rounded`).
"""

from __future__ import annotations

import numpy as np

from nirank.data import Floats, Ints
from nirank_dense.exact import floors, gathered, kernels, nibble_bounds, tiles
from nirank_dense.exact.kernels import BestScores, Exact, PairColumns
from nirank_dense.exact.nibble_bounds import Likely
from nirank_dense.exact.nibbles import Nibbles
from nirank_dense.exact.pairs import ScoredPairs
from nirank_dense.exact.quantised import QuantisedQueries
from nirank_dense.exact.threads import mapping, shared

#: The most documents that are looked for in this way: of more, many come near the last.
LARGEST_K = 1000
#: Documents whose bounds are written down at once, and documents, at least, for each thread.
_BLOCK, _DOCUMENTS = 2**19, 2**15
#: Documents of the best coarse scores that are scored first: so many times those that are wanted, and some.
_MORE, _SOME = 1.5, 8
#: Nibbles spare nothing where they leave more than one in so many documents; so many queries then do without.
_LEFT, _WITHOUT = 6, 15
#: No scores are followed: the floor stays.
_NONE = np.empty((1, 0), np.float32)


class OneQuery:
    """All documents in nibbles, and in bytes as `nirank_dense.exact.tiles` reads them."""

    def __init__(self, nibbles: Nibbles, codes: tiles.Whole) -> None:
        self._nibbles, self._codes = nibble_bounds.whole(nibbles), codes
        self._documents = len(nibbles.codes)
        #: Queries that are yet to do without, and the least depth of those that do.
        self._without, self._depth = 0, 0

    def pairs(self, query: QuantisedQueries, exact: Exact, k: int) -> list[ScoredPairs] | None:
        """Pairs of one query, among them the best `k`, or None where too many documents come near these."""
        if self._without > 0 and k >= self._depth:
            self._without -= 1
            return None
        unit = tiles.GROUP
        shares = shared(-(-self._documents // unit), -(-_DOCUMENTS // unit))
        search = _Search(self._nibbles, self._codes, query, exact, k)

        def look(share: slice) -> list[ScoredPairs] | None:
            return search.pairs(share.start * unit, min(share.stop * unit, self._documents))

        with mapping(len(shares)) as run:
            found = list(run(look, shares))
        if None in found:
            self._without, self._depth = _WITHOUT, k
            return None
        return [part for parts in found for part in parts]


class _Search:
    """One query, as documents are compared with it in each of the ways."""

    def __init__(
        self, nibbles: nibble_bounds.WholeNibbles, codes: tiles.Whole, query: QuantisedQueries, exact: Exact, k: int
    ) -> None:
        self._nibbles, self._codes, self._query, self._exact, self._k = nibbles, codes, query, exact, k
        self._in_nibbles = nibble_bounds.query(query.codes[0], query.by_length[0], query.by_error[0])
        self._in_bytes = tiles.chunks(query.codes)[0]

    def pairs(self, low: int, high: int) -> list[ScoredPairs] | None:
        """Pairs of documents `low` up to `high`, among them the best `k` of these; None where so many are not found."""
        floor, parts = np.full(1, -np.inf), []
        for start in range(low, high, _BLOCK):
            stop = min(start + _BLOCK, high)
            bounds, likely = self._bounds(start, stop)
            floor = np.maximum(floor, self._kth_best(likely))
            if floor[0] == -np.inf:
                return None
            steps, docs = floors.steps_of(self._query, floor), np.empty(len(bounds), np.int32)
            count = nibble_bounds.reached(bounds, steps[0], start, docs)
            if count * _LEFT > stop - start:
                return None
            weights = tiles.rows(floors.weights(self._query, steps))[0]
            count = gathered.reaching(self._codes, self._in_bytes, weights, count, docs)
            found = PairColumns(np.zeros(count, np.int32), docs, np.empty(count, np.float32), np.empty(count, np.bool_))
            parts.append(ScoredPairs.judged(self._exact, BestScores(_NONE, floor), count, found))
        return parts

    def _bounds(self, start: int, stop: int) -> tuple[Floats, Ints]:
        """The bounds of documents by nibbles, and those documents that are likely to be among the best `k`, or more.

        These are -1 where there are none, as of files that cannot be trusted.
        """
        size = min(stop - start, int(_MORE * self._k) + _SOME)
        likely = Likely(np.full(size, -np.inf, np.float32), np.full(size, -1, np.int32))
        bounds = np.empty(-(-(stop - start) // tiles.GROUP) * tiles.GROUP, np.float32)
        nibble_bounds.bound(self._nibbles, self._in_nibbles, start, stop, bounds, likely)
        return bounds, likely.docs

    def _kth_best(self, docs: Ints) -> float:
        """The k-th best score of some documents, or a little less; -inf where there are fewer, or that are none."""
        if len(docs) < self._k or docs.min() < 0:
            return -np.inf
        scores = np.empty(len(docs), np.float32)
        kernels.score(self._exact, docs, scores)
        scores.sort()
        return float(scores[-self._k])
