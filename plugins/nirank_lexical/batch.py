"""Many queries at once: the compiled search, spread over threads."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.data import Content, TermWeights
from nirank.kit.text import QueryParser, QueryTerms
from nirank_lexical import kernel

if TYPE_CHECKING:
    from nirank_lexical.impacts import Impacts
    from nirank_lexical.weighted import Found, WeightedPostings

_QUERIES_AT_ONCE = 64
_PARTS_PER_THREAD = 2  # so that one that has the dearer queries ends not much later than the rest
_SCORES_WORTH_A_PART = 1 << 22  # fewer take less than a millisecond, which handing them to a thread can cost
_KEYS_AT_ONCE = 1 << 18
_SCORES_AT_ONCE = 1 << 24
_TERMS = 64  # of one query, at least, that memory is taken for

_Room: TypeAlias = tuple[kernel.Workspace, kernel.Terms]


class BatchSearch:
    """The compiled search over one weighted index."""

    def __init__(self, searched: WeightedPostings, impacts: Impacts) -> None:
        self.documents = searched.documents
        index = searched.index
        columns = (index.starts, index.docs, *impacts, searched.prior)
        everything = np.empty(0, bool)
        self._searched = kernel.Searched(self.documents, *(_read_only(column) for column in (*columns, everything)))
        self._spare: list[_Room] = []

    def among(self, allowed: NDArray[np.bool_] | None) -> BatchSearch:
        """The same search, among the documents of a mask `[documents]`; itself for None. They share their memory."""
        if allowed is None:
            return self
        copied = copy.copy(self)
        copied._searched = self._searched._replace(allowed=_read_only(allowed))
        return copied

    def search(self, wanted: Sequence[Content] | TermWeights, parse: QueryParser, k: int, threads: int) -> Found:
        """The `k` best documents of each query; `k` is 1 or more.

        Each thread takes the next few queries when it is done with its last, while this one goes on parsing.
        """
        size = self._size(len(wanted), k, threads) if len(wanted) > 1 else 1
        if len(wanted) <= size:
            return self._part(parse(wanted), k)
        parts = (parse(wanted[first : first + size], first) for first in range(0, len(wanted), size))
        lengths, docs, scores = zip(*self._parts(parts, k, threads), strict=True)
        return np.concatenate(lengths), np.concatenate(docs), np.concatenate(scores)

    def _size(self, queries: int, k: int, threads: int) -> int:
        """Queries that a thread takes at a time: about as many in each part, and in no more parts than pay."""
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
        """Search some queries in one thread, in memory that an earlier search may have left."""
        one = len(queries) == 1  # then it is no use to ask numpy for a maximum or a sum
        room = self._room(k, len(queries.terms) if one else int(np.diff(queries.offsets).max(initial=0)))
        columns = kernel.Asked(queries.offsets, queries.terms, queries.weights, queries.tokens)
        best, found = np.empty((len(queries), k), np.uint64), np.empty(len(queries), np.int64)
        kernel.search(self._searched, columns, k, *room, best, found)
        self._spare.append(room)
        best.sort(axis=1)
        pairs = int(found[0]) if one else int(found.sum())
        docs, scores = np.empty(pairs, np.int32), np.empty(pairs, np.float32)
        kernel.read_keys(best, found, docs, scores.view(np.int32))
        return found, docs, scores

    def _room(self, k: int, terms: int) -> _Room:
        """A spare one for `k` documents of queries of up to `terms` terms, or a new one."""
        try:
            workspace, known = self._spare.pop()  # another thread may take the last one, so it is of no use to look
        except IndexError:
            return kernel.workspace(self.documents, k), kernel.terms(max(_TERMS, terms))
        if kernel.room(workspace) < k:
            workspace = kernel.workspace(self.documents, k)
        return workspace, known if len(known.places) >= terms else kernel.terms(terms)


def _read_only(column: NDArray[Any]) -> NDArray[Any]:
    """Mapped columns are read-only, and code is compiled for one type: so let all be."""
    view = column.view()
    view.flags.writeable = False
    return view
