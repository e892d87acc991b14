"""Many queries at once: the compiled search, spread over threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nirank_lexical import kernel
from nirank_lexical.queries import QueryTerms

if TYPE_CHECKING:
    from nirank_lexical.search import Keys, WeightedIndex

_QUERIES_AT_ONCE = 64
_KEYS_AT_ONCE = 1 << 18


class BatchSearch:
    """The compiled search over one weighted index, whose impacts it works out once and keeps."""

    def __init__(self, searched: WeightedIndex) -> None:
        self.documents = searched.documents
        columns = (searched.index.starts, searched.index.docs, searched.all_impacts, searched.prior)
        self._searched = kernel.Searched(*(_read_only(column) for column in columns))
        self._spare: list[kernel.Workspace] = []

    def search(self, queries: QueryTerms, k: int, threads: int) -> tuple[NDArray[np.int64], Keys]:
        """How many documents are found for each query, and the sorted keys of all. `k` is 1 or more."""
        threads = max(1, min(threads, len(queries) // _QUERIES_AT_ONCE))
        if threads == 1:
            return self._share(queries, k)
        bounds = np.linspace(0, len(queries), threads + 1).astype(int).tolist()
        shares = [queries.between(first, last) for first, last in pairwise(bounds)]
        with ThreadPoolExecutor(threads) as pool:
            lengths, keys = zip(*pool.map(self._share, shares, [k] * threads), strict=True)
        return np.concatenate(lengths), np.concatenate(keys)

    def _share(self, queries: QueryTerms, k: int) -> tuple[NDArray[np.int64], Keys]:
        """What one thread does: its queries, some at a time, in memory that an earlier search may have left."""
        kept = self._spare.pop() if self._spare else self._workspace()
        workspace = kept._replace(upcoming=np.empty(np.diff(queries.offsets).max(initial=0), np.int64))
        size = max(1, min(_QUERIES_AT_ONCE, _KEYS_AT_ONCE // k))
        lengths, keys = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        for first in range(0, len(queries), size):
            part = queries.between(first, min(first + size, len(queries)))
            asked = kernel.Asked(part.offsets, part.terms, part.weights, part.tokens)
            best, found = np.full((len(part), k), _NOTHING), np.empty(len(part), np.int64)
            kernel.search(self._searched, asked, k, workspace, best, found)
            best.sort(axis=1)
            keys.append(best[best != _NOTHING])
            lengths.append(found)
        self._spare.append(kept)
        return np.concatenate(lengths), np.concatenate(keys)

    def _workspace(self) -> kernel.Workspace:
        length = -(-self.documents // kernel.TILE) * kernel.TILE
        scores = np.empty(length, np.float32)
        maxima = np.empty(length // kernel.GROUP_SIZE, np.int32)
        counters = np.empty(kernel.BINS + 2, np.int64)
        candidates = np.empty((2, length + 1), np.int32)  # one past the end is written before it is known to count
        upcoming = np.empty(0, np.int64)  # as long as a query has terms
        return kernel.Workspace(scores, scores.view(np.int32), maxima, upcoming, counters, *candidates)


_NOTHING = np.uint64(2**64 - 1)  # behind every key, and the key of no document


def _read_only(column: NDArray[Any]) -> NDArray[Any]:
    """Mapped columns are read-only, and code is compiled for one type: so let all be."""
    view = column.view()
    view.flags.writeable = False
    return view
