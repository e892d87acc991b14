"""The compiled search: of many queries at once, spread over threads, and of one."""

from __future__ import annotations

import copy
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats, TermWeights
from nirank.kit import Native
from nirank.kit.text import QueryTerms
from nirank_lexical import frame as f

if TYPE_CHECKING:
    from nirank_lexical.weighted import Found, Parse, Wanted, WeightedPostings

#: The compiled code, for every index.
KERNEL = Native("nirank_lexical.kernel", "run", "nirank_lexical.frame", "nirank_lexical.unpacking")
#: Words of a query up to which they are counted in compiled code, which compares each with those before.
MOST_WORDS = 64
_QUERIES_AT_ONCE = 64
_PARTS_PER_THREAD = 2  # so that one that has the dearer queries ends not much later than the rest
_SCORES_WORTH_A_PART = 1 << 22  # fewer take less than a millisecond, which handing them to a thread can cost
_KEYS_AT_ONCE = 1 << 18
_SCORES_AT_ONCE = 1 << 24
_EVERYTHING = np.empty(0, bool)


class BatchSearch:
    """The compiled search over one weighted index."""

    def __init__(self, searched: WeightedPostings) -> None:
        self.documents, self._searched = searched.documents, searched
        self._index: dict[int, NDArray[Any]] = {f.STARTS: searched.index.starts, f.DOCS: searched.docs}
        self._index |= {f.IMPACTS: searched.impacts, f.MOST: searched.most, f.PRIOR: searched.prior}
        self._allowed, self._allowed_at = _EVERYTHING, f.place_of(_EVERYTHING)
        self._run = KERNEL.call
        self._spare: list[_Room] = []

    def among(self, allowed: NDArray[np.bool_]) -> BatchSearch:
        """The same search, among the documents of a mask `[documents]`. They share their memory."""
        copied = copy.copy(self)
        copied._allowed = np.ascontiguousarray(allowed)
        copied._allowed_at = f.place_of(copied._allowed)
        return copied

    def search(self, wanted: Wanted, parse: Parse, k: int, threads: int) -> Found:
        """The `k` best documents of each query; `k` is 1 or more.

        Each thread takes the next few queries when it is done with its last, while this one goes on parsing. The words
        of a single text are counted in compiled code, unless there are many.
        """
        if len(wanted) == 1 and not isinstance(wanted, (TermWeights, QueryTerms)):
            numbers = parse.numbers(wanted[0])
            if len(numbers) <= MOST_WORDS:
                self._searched.require_each(numbers)
                found = self.one(numbers, k)
                return [len(found[0])], *found
        size = self._size(len(wanted), k, threads) if len(wanted) > 1 else 1
        if len(wanted) <= size:
            return self._part(self._known(parse(wanted)), k)
        parts = (self._known(parse(wanted[first : first + size], first)) for first in range(0, len(wanted), size))
        lengths, docs, scores = zip(*self._parts(parts, k, threads), strict=True)
        return [*chain.from_iterable(lengths)], np.concatenate(docs), np.concatenate(scores)

    def one(self, numbers: Sequence[int], k: int) -> tuple[NDArray[np.int32], Floats]:
        """The documents and scores of one query, which are those that `search` finds.

        `numbers` are the terms of its words, in any order, at most `MOST_WORDS`; -1 for a word without.
        """
        room, asked = self._room(k, MOST_WORDS), array("q", numbers)
        frame = room.one
        entries = frame.entries
        entries[f.WORK], entries[f.K] = f.ONE, k
        entries[f.NUMBERS], entries[f.NUMBERS + 1] = asked.buffer_info()
        entries[f.ALLOWED], entries[f.ALLOWED + 1] = self._allowed_at
        self._run(frame.address)
        count = entries[f.FOUND]
        if k > f.FEW:  # numpy sorts many faster
            frame.columns[f.BEST][:count].sort()
            entries[f.WORK] = f.READ
            self._run(frame.address)
        docs, scores = room.found
        if count < room.k:
            docs, scores = docs[:count], scores[:count]
        found = docs.copy(), scores.copy()
        self._spare.append(room)
        return found

    def _known(self, queries: QueryTerms) -> QueryTerms:
        """The queries, whose terms are unpacked."""
        self._searched.require(queries.terms)
        return queries

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
        room = self._room(k, int(np.diff(queries.offsets).max(initial=0)))
        best, found = np.empty((len(queries), k), np.uint64), np.empty(len(queries), np.int64)
        asked: dict[int, NDArray[Any]] = {
            f.OFFSETS: queries.offsets,
            f.TERMS: queries.terms,
            f.WEIGHTS: queries.weights,
            f.TOKENS: queries.tokens,
        }
        self._work(room.many, f.SEARCH, k, asked | {f.ALLOWED: self._allowed, f.BEST: best, f.LENGTHS: found})
        best.sort(axis=1)
        docs, scores = np.empty(pairs := int(found.sum()), np.int32), np.empty(pairs, np.float32)
        self._work(room.many, f.READ, k, {f.FOUND_DOCS: docs, f.FOUND_SCORES: scores})
        self._spare.append(room)
        return found.tolist(), docs, scores

    def _work(self, frame: f.Frame, what: int, k: int, columns: dict[int, NDArray[Any]]) -> None:
        """Tell of some columns, and have the compiled code do what is asked."""
        frame.put(columns)
        frame.entries[f.WORK], frame.entries[f.K] = what, k
        self._run(frame.address)

    def _room(self, k: int, terms: int) -> _Room:
        """A spare one for `k` documents of queries of up to `terms` terms, or a new one."""
        try:
            room = self._spare.pop()  # another thread may take the last one, so it is of no use to look
        except IndexError:
            return _Room(self._index, self.documents, k, max(MOST_WORDS, terms))
        if room.k < k or room.terms < terms:
            return _Room(self._index, self.documents, max(room.k, k), max(room.terms, terms))
        return room


class _Room:
    """Memory for the search of `k` documents of queries of up to `terms` terms, and what tells of it.

    `one` is the frame for one query, with columns of its own, of which `found` are filled with documents and scores;
    `many` is that for a batch, which brings its own.
    """

    def __init__(self, index: dict[int, NDArray[Any]], documents: int, k: int, terms: int) -> None:
        self.k, self.terms = k, terms
        memory: dict[int, NDArray[Any]] = {**f.workspace(documents, k), **f.for_terms(terms)}
        self.one, self.many = f.Frame(documents), f.Frame(documents)
        self.one.put({**index, **memory, **f.for_one(k, MOST_WORDS)})
        self.many.put({**index, **memory})
        self.found = self.one.columns[f.FOUND_DOCS], self.one.columns[f.FOUND_SCORES]
