"""Many queries at once: the compiled search, spread over threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nirank.text.queries import QueryParser, QueryTerms
from nirank.text.terms import TermWeights
from nirank_lexical import kernel

if TYPE_CHECKING:
    from nirank_lexical.search import Found, WeightedIndex

_QUERIES_AT_ONCE = 64
_PARTS_PER_THREAD = 2  # so that one that has the dearer queries ends not much later than the rest
_SCORES_WORTH_A_PART = 1 << 22  # fewer take less than a millisecond, which handing them to a thread can cost
_KEYS_AT_ONCE = 1 << 18
_SCORES_AT_ONCE = 1 << 24


class BatchSearch:
    """The compiled search over one weighted index, whose impacts it works out once and keeps."""

    def __init__(self, searched: WeightedIndex) -> None:
        self.documents = searched.documents
        index, impacts = searched.index, searched.all_impacts
        most = np.maximum.reduceat(impacts, index.starts[:-1]) if len(impacts) else impacts
        columns = (index.starts, index.docs, impacts, most, searched.prior)
        self._searched = kernel.Searched(self.documents, *(_read_only(column) for column in columns))
        self._spare: list[kernel.Workspace] = []

    def search(self, asked: Sequence[str] | TermWeights, parse: QueryParser, k: int, threads: int) -> Found:
        """The `k` best documents of each query; `k` is 1 or more.

        Each thread takes the next few queries when it is done with its last, while this one goes on parsing.
        """
        size = self._size(len(asked), k, threads)
        if len(asked) <= size:
            return self._part(parse(asked), k)
        parts = (parse(asked[first : first + size], first) for first in range(0, len(asked), size))
        lengths, docs, scores = zip(*self._parts(parts, k, threads), strict=True)
        return np.concatenate(lengths), np.concatenate(docs), np.concatenate(scores)

    def _size(self, queries: int, k: int, threads: int) -> int:
        """How many queries a thread takes at a time: about as many in each part, and in no more parts than pay."""
        most = min(_QUERIES_AT_ONCE, _KEYS_AT_ONCE // k, _SCORES_AT_ONCE // self.documents)
        parts = min(_PARTS_PER_THREAD * threads, queries * self.documents // _SCORES_WORTH_A_PART)
        return max(1, min(most, -(-queries // max(1, parts)) if threads > 1 else most))

    def _parts(self, parts: Iterator[QueryTerms], k: int, threads: int) -> Iterator[Found]:
        if threads == 1:
            yield from (self._part(part, k) for part in parts)
            return
        with ThreadPoolExecutor(threads) as pool:
            yield from pool.map(lambda part: self._part(part, k), parts)

    def _part(self, queries: QueryTerms, k: int) -> Found:
        """What one thread does at a time, in memory that an earlier search may have left."""
        workspace = self._workspace(k)
        asked = kernel.Asked(queries.offsets, queries.terms, queries.weights, queries.tokens)
        best, found = np.full((len(queries), k), _NOTHING), np.empty(len(queries), np.int64)
        terms = kernel.terms(int((queries.offsets[1:] - queries.offsets[:-1]).max(initial=0)))
        kernel.search(self._searched, asked, k, workspace, terms, best, found)
        self._spare.append(workspace)
        best.sort(axis=1)
        pairs = int(found.sum())
        docs, scores = np.empty(pairs, np.int32), np.empty(pairs, np.float32)
        kernel.read_keys(best, found, docs, scores.view(np.int32))
        return found, docs, scores

    def _workspace(self, k: int) -> kernel.Workspace:
        """A spare one with room for `k`, or a new one."""
        try:
            spare = self._spare.pop()  # another thread may take the last one, so it is of no use to look first
        except IndexError:
            return kernel.workspace(self.documents, k)
        return spare if kernel.room(spare) >= k else kernel.workspace(self.documents, k)


_NOTHING = np.uint64(2**64 - 1)  # behind every key, and the key of no document


def _read_only(column: NDArray[Any]) -> NDArray[Any]:
    """Mapped columns are read-only, and code is compiled for one type: so let all be."""
    view = column.view()
    view.flags.writeable = False
    return view
