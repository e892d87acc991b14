"""Unpacking and weighing of postings in compiled code, for the terms that a search asks for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import offsets_of
from nirank_lexical import frame as f
from nirank_lexical.packed import Part
from nirank_lexical.segments import ranges
from nirank_lexical.weighted import WeightedPostings

#: Counts up to which impacts are looked up; few postings have more.
_HIGHEST = 16
_POSTINGS_AT_ONCE = 1 << 16  # whose columns stay in the processor's cache
_MOST_LENGTHS = 1 << 16  # different ones, that have a number of two bytes


class Weighing:
    """The compiled unpacking and weighing of one index, for one thread at a time; `run` is the kernel's."""

    def __init__(self, searched: WeightedPostings, run: Callable[[int], None]) -> None:
        self._searched, self._run, self._frame = searched, run, f.Frame(searched.documents)
        packed, places = searched.index.packed, searched.index.packed.places
        self._sizes = places.sizes
        self._frame.entries[f.FIELDS] = places.fields or 0
        begins = {f.STARTS: places.starts, f.HIGH: places.high, f.LOW: places.low, f.COUNTS: places.counts}
        streams = {f.HIGH_BITS: packed.tops, f.LOW_BITS: packed.lows, f.COUNT_BITS: packed.counts}
        kept = {f.DOCS: searched.docs, f.IMPACTS: searched.impacts, f.MOST: searched.most}
        self._frame.put({**begins, **streams, **kept, f.WIDTHS: places.widths})
        #: True where impacts are products of which one factor is looked up.
        self.is_able = self._look_up_factors()

    def _look_up_factors(self) -> bool:
        """Work out the factors of counts and lengths; False where the weighting has none, or not by these."""
        searched = self._searched
        lengths, weighting = searched.index.lengths, searched.weighting
        if not weighting.is_product or lengths.ndim > 1:
            return False
        known = np.flatnonzero(np.bincount(lengths))
        if len(known) > _MOST_LENGTHS:
            return False
        numbers = np.zeros(known[-1] + 1, np.uint16)
        numbers[known] = np.arange(len(known))
        length_of, of_length = numbers[lengths], np.empty(len(known))
        of_length[length_of] = searched.per_document
        if not np.array_equal(of_length[length_of], searched.per_document):
            return False
        counts = np.arange(1, _HIGHEST + 1, dtype=np.float64)[:, None]
        table = weighting.impacts(counts, 1.0, np.broadcast_to(of_length, (_HIGHEST, len(known))))
        self._frame.put({f.TERM_FACTORS: searched.per_term, f.FACTORS: table, f.LENGTH_OF: length_of})
        self._frame.entries[f.LENGTHS_KNOWN] = len(known)
        return True

    def unpack(self, terms: NDArray[np.int64]) -> Part:
        """The documents and counts of the postings of some terms, one term after the other."""
        packed = self._searched.index.packed
        postings, fields = int(self._sizes[terms].sum()), packed.places.fields
        docs, counts = np.empty(postings, np.int32), np.empty((postings, fields or 1), np.int32)
        self._work(f.UNPACK, {f.TERMS: terms, f.UNPACKED_DOCS: docs, f.UNPACKED_COUNTS: counts})
        if (done := self._frame.entries[f.FOUND]) < len(terms):
            packed.of(int(terms[done]), int(terms[done]) + 1)  # which tells what is wrong
        return docs, counts if fields else counts[:, 0]

    def weigh(self, terms: NDArray[np.int64]) -> None:
        """Put the postings of some terms in their place, with their impacts."""
        ends = np.cumsum(self._sizes[terms])
        cuts = np.searchsorted(ends, np.arange(0, ends[-1], _POSTINGS_AT_ONCE), "right").tolist()
        for first, last in pairwise(sorted({*cuts, len(terms)})):
            (self._look_up if self.is_able else self._work_out)(terms[first:last])

    def _look_up(self, terms: NDArray[np.int64]) -> None:
        """Weigh postings by factors that are known, but for the few with higher counts."""
        docs, counts = self.unpack(terms)
        self._work(f.WEIGH, {})
        high = np.flatnonzero(counts > _HIGHEST)
        if len(high):
            searched, starts = self._searched, self._searched.index.starts
            ends = np.cumsum(self._sizes[terms])
            slots = np.searchsorted(ends, high, "right")
            found = searched.worth(docs[high], counts[high], searched.per_term[terms[slots]])
            searched.impacts[(starts[terms + 1] - ends)[slots] + high] = found
            np.maximum.at(searched.most, terms[slots], found)

    def _work_out(self, terms: NDArray[np.int64]) -> None:
        """Weigh postings by the weighting's own formula."""
        searched, starts = self._searched, self._searched.index.starts
        (docs, counts), sizes = self.unpack(terms), self._sizes[terms]
        found = searched.worth(docs, counts, np.repeat(searched.per_term[terms], sizes))
        places = ranges(starts[terms], sizes)
        searched.docs[places], searched.impacts[places] = docs, found
        filled = sizes > 0
        searched.most[terms[filled]] = np.maximum.reduceat(found, offsets_of(sizes)[:-1][filled])

    def _work(self, what: int, columns: dict[int, NDArray[Any]]) -> None:
        self._frame.put(columns)
        self._frame.entries[f.WORK] = what
        self._run(self._frame.address)
