"""The frame: an array of int64 in which the compiled search (`nirank_lexical.kernel`) is told what to do, and where.

First come numbers, then two entries for each column: the address of its first entry, and its length.
"""

from __future__ import annotations

from array import array
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

GROUPS = 16  # documents of one group lie this far apart, so that many maxima are taken side by side
GROUP_SIZE = 16
TILE = GROUPS * GROUP_SIZE
_LONGEST = 1024 * TILE  # of a range of documents
BINS = 1024  # of the search for a threshold, beside which there are two more
FEW = 32  # up to this k candidates are kept in order one by one, and keys of one query come sorted

#: What is done: a batch of queries is searched, keys of a batch are read, one query is searched by its words, postings
#: are unpacked, or they are weighed.
SEARCH, READ, ONE, UNPACK, WEIGH = range(5)

# The numbers: what is done, k, the documents, of one query how many it found or how many terms were unpacked, the
# fields (0 where counts are not of several), and how many lengths factors are for.
WORK, K, DOCUMENTS, FOUND, FIELDS, LENGTHS_KNOWN = range(6)

_columns = count(6, 2)
# The index.
STARTS, DOCS, IMPACTS, MOST, PRIOR, ALLOWED = (next(_columns) for _ in range(6))
# Queries: their terms and the weights of these, and the keys that are found.
OFFSETS, TERMS, WEIGHTS, TOKENS, BEST, LENGTHS = (next(_columns) for _ in range(6))
# What keys say.
FOUND_DOCS, FOUND_SCORES = (next(_columns) for _ in range(2))
# The numbers of the words of one query, as they come.
NUMBERS = next(_columns)
# Memory that every query uses again.
SCORES, MAXIMA, FOLDED, COUNTERS, KEPT_SCORES, KEPT_DOCS = (next(_columns) for _ in range(6))
BEGINS, ENDS, BOUNDS, BY_BOUND, PLACES = (next(_columns) for _ in range(5))
# Postings in bits, where those of each term begin there, and what they are.
WIDTHS, HIGH, LOW, COUNTS = (next(_columns) for _ in range(4))
HIGH_BITS, LOW_BITS, COUNT_BITS = (next(_columns) for _ in range(3))
UNPACKED_DOCS, UNPACKED_COUNTS = (next(_columns) for _ in range(2))
# What makes impacts of them: the factors of terms, and of counts and lengths, which documents have.
TERM_FACTORS, FACTORS, LENGTH_OF = (next(_columns) for _ in range(3))
_SIZE = next(_columns)

#: The types of the columns.
TYPES: dict[int, type[np.generic]] = {
    **dict.fromkeys((STARTS, OFFSETS, TERMS, LENGTHS, NUMBERS, COUNTERS, BEGINS, ENDS, BY_BOUND, PLACES), np.int64),
    **dict.fromkeys((WIDTHS, HIGH, LOW, COUNTS), np.int64),
    **dict.fromkeys((DOCS, FOUND_DOCS, MAXIMA, FOLDED, KEPT_DOCS, UNPACKED_DOCS, UNPACKED_COUNTS), np.int32),
    **dict.fromkeys((IMPACTS, MOST, PRIOR, WEIGHTS, TOKENS, FOUND_SCORES, SCORES, KEPT_SCORES), np.float32),
    ALLOWED: np.bool_,
    LENGTH_OF: np.uint16,
    **dict.fromkeys((BOUNDS, TERM_FACTORS, FACTORS), np.float64),
    **dict.fromkeys((BEST, HIGH_BITS, LOW_BITS, COUNT_BITS), np.uint64),
}


class Frame:
    """A frame for an index of some documents, and the columns that it tells of, which live as long."""

    def __init__(self, documents: int) -> None:
        self.entries = array("q", bytes(8 * _SIZE))
        self.entries[DOCUMENTS] = documents
        self.address = self.entries.buffer_info()[0]
        self.columns: dict[int, NDArray[Any]] = {}

    def put(self, columns: dict[int, NDArray[Any]]) -> None:
        """Tell of columns, copied where they are of another type, or do not lie in one piece."""
        for place, column in columns.items():
            kept = self.columns[place] = np.ascontiguousarray(column, TYPES[place])
            self.entries[place], self.entries[place + 1] = place_of(kept)


def workspace(documents: int, k: int) -> dict[int, NDArray[Any]]:
    """Memory for a search for the `k` best of some number of documents."""
    length = min(_LONGEST, -(-documents // TILE) * TILE)
    groups = length // GROUP_SIZE
    maxima, folded = np.empty(groups, np.int32), np.empty((groups + 1) // 2, np.int32)
    # what is kept of earlier ranges, a whole range, and one more, written before it is known to count
    kept, docs = np.empty((2, 2 * k + length + 1), np.int32)
    columns: dict[int, NDArray[Any]] = {SCORES: np.zeros(length, np.float32), MAXIMA: maxima, FOLDED: folded}
    return columns | {COUNTERS: np.empty(BINS + 2, np.int64), KEPT_SCORES: kept.view(np.float32), KEPT_DOCS: docs}


def for_terms(longest: int) -> dict[int, NDArray[Any]]:
    """Memory for queries of up to `longest` terms."""
    begins, ends, by_bound, places = np.empty((4, longest), np.int64)
    bounds = np.empty(longest, np.float64)
    return {BEGINS: begins, ENDS: ends, BOUNDS: bounds, BY_BOUND: by_bound, PLACES: places}


def for_one(k: int, longest: int) -> dict[int, NDArray[Any]]:
    """What one query of up to `longest` words is told of, and what it finds."""
    terms: dict[int, NDArray[Any]] = {
        OFFSETS: np.empty(2, np.int64),
        TERMS: np.empty(longest, np.int64),
        TOKENS: np.empty(1, np.float32),
        WEIGHTS: np.empty(longest, np.float32),
    }
    found: dict[int, NDArray[Any]] = {
        BEST: np.empty(k, np.uint64),
        LENGTHS: np.empty(1, np.int64),
        FOUND_DOCS: np.empty(k, np.int32),
        FOUND_SCORES: np.empty(k, np.float32),
    }
    return terms | found


def place_of(column: NDArray[Any]) -> tuple[int, int]:
    """The address of a column, and its length."""
    return column.__array_interface__["data"][0], column.size
