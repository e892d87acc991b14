"""Postings from their bits, as `nirank_lexical.packed` has them, and their impacts: compiled, called from the kernel.

Importing this module imports numba.

Instructions: those of the processor at hand, none in particular; impacts have the same bits with any.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba.cpython.unsafe.numbers import trailing_zeros
from numpy.typing import NDArray

from nirank.kit import inner

Column: TypeAlias = NDArray[Any]

_ONE = np.uint64(1)


class Packed(NamedTuple):
    """Three streams of bits, and where those of each term begin; `fields` is 0 where counts are not of several."""

    documents: int
    fields: int
    starts: Column
    widths: Column
    high: Column
    low: Column
    counts: Column
    high_bits: Column
    low_bits: Column
    count_bits: Column


@inner
def unpack(packed: Packed, terms: Column, docs: Column, counts: Column) -> int:
    """Fill `docs` and `counts` with the postings of terms, and say of how many: fewer where those of one cannot be."""
    place, fields = 0, max(1, packed.fields)
    for slot in range(len(terms)):
        term = terms[slot]
        last = place + packed.starts[term + 1] - packed.starts[term]
        if not _documents(packed, term, docs[place:last]):
            return slot
        if not _counts(packed, term, counts[fields * place : fields * last]):
            return slot
        place = last
    return len(terms)


@inner
def _documents(packed: Packed, term: int, docs: Column) -> bool:
    """Each bit that is set ends the zeros by which the high bits have risen; the low bits stand in their own stream."""
    begin, end = packed.high[term], packed.high[term + 1]
    width, low, before = np.uint64(packed.widths[term]), np.uint64(packed.low[term]), np.int64(-1)
    at, word = begin >> 6, packed.high_bits[begin >> 6] >> np.uint64(begin & 63) << np.uint64(begin & 63)
    for posting in range(len(docs)):
        while word == 0:
            at += 1
            if at << 6 >= end:
                return False
            word = packed.high_bits[np.uint64(at)]
        top = (at << 6) + np.int64(trailing_zeros(word)) - begin - posting
        document = top << np.int64(width) | np.int64(_number(packed.low_bits, low, width))
        if document <= before or document >= packed.documents:
            return False
        docs[posting] = before = document
        word &= word - _ONE
        low += width
    return True


@inner
def _number(words: Column, place: Any, width: Any) -> Any:
    at, shift = place >> np.uint64(6), place & np.uint64(63)
    found = words[at] >> shift | words[at + _ONE] << (np.uint64(63) - shift) << _ONE
    return found & ((_ONE << width) - _ONE)


@inner
def _counts(packed: Packed, term: int, counts: Column) -> bool:
    """Each count is the distance of a bit that is set from the one before, or one less where it may be 0."""
    begin, end = packed.counts[term], packed.counts[term + 1]
    at, word = begin >> 6, packed.count_bits[begin >> 6] >> np.uint64(begin & 63) << np.uint64(begin & 63)
    before, less = begin - 1, np.int64(packed.fields > 0)
    for posting in range(len(counts)):
        while word == 0:
            at += 1
            if at << 6 >= end:
                return False
            word = packed.count_bits[np.uint64(at)]
        here = (at << 6) + np.int64(trailing_zeros(word))
        counts[posting], before = here - before - less, here
        word &= word - _ONE
    return before == end - 1


class Weighed(NamedTuple):
    """Where the postings of an index are kept with their impacts, and the `most` of each term."""

    starts: Column
    docs: Column
    impacts: Column
    most: Column


class Factors(NamedTuple):
    """What an impact is the product of: the factor of its term, and that of a count and a length.

    `table` has those of the counts from 1 on, each for all `lengths` that documents have; `of` says which of these a
    document has.
    """

    terms: Column
    table: Column
    lengths: int
    of: Column


@inner
def weigh(weighed: Weighed, factors: Factors, terms: Column, docs: Column, counts: Column) -> None:
    """Put the postings of terms in their place, with their impacts; counts beyond the table are taken for its last."""
    place, highest = 0, np.int32(len(factors.table) // factors.lengths)
    for term in terms:
        first, last = weighed.starts[term], weighed.starts[term + 1]
        to_docs, to_impacts = weighed.docs[first:last], weighed.impacts[first:last]
        factor, most = factors.terms[term], np.float32(-np.inf)
        for posting in range(last - first):
            document = docs[place + posting]
            row = np.uint32(min(counts[place + posting], highest) - 1) * np.uint32(factors.lengths)
            impact = np.float32(factor * factors.table[row + np.uint32(factors.of[np.uint32(document)])])
            to_docs[posting], to_impacts[posting], most = document, impact, max(most, impact)
        weighed.most[term] = most
        place += last - first
