"""The postings of an inverted index in few bits: documents as Elias-Fano numbers, counts in unary.

The n documents of a term, rising and below N, are each cut in two. The low floor(log2(N / n)) bits stand one after the
other as they are. What is above them rises slowly: for each document a stream has as many zeros as that has risen since
the one before, and a one. It takes at most 2 + log2(N / n) bits a document, where 1.44 + log2(N / n) is the least for
any n of N, if they are few (Elias, JACM 21(2), 1974; Vigna, Quasi-succinct indices, WSDM 2013).

A count c is c - 1 zeros and a one: one bit for each occurrence. Where several fields are counted, a count may be 0, and
is c zeros and a one.

Where the bits of a term begin follows from the numbers of documents and of occurrences of those before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.data import offsets_of
from nirank.kit import bounded
from nirank_lexical import bits

#: The documents of some postings, and their counts, `[postings]` or `[postings, fields]`.
Part: TypeAlias = tuple[NDArray[np.int32], NDArray[np.integer[Any]]]

_TOPS, _LOWS, _COUNTS = "docs_high.npy", "docs_low.npy", "counts.npy"
_POSTINGS_AT_ONCE = 1 << 18


@dataclass(frozen=True, eq=False)
class Places:
    """Where the bits of each term are: `starts` int64 `[terms + 1]` are its postings, of so many `documents`.

    `frequencies`, int64 `[terms]`, say how often it occurs; `fields` is None where those are not apart.
    """

    starts: NDArray[np.int64]
    frequencies: NDArray[np.int64]
    documents: int
    fields: int | None = None

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """The number of postings of each term, `[terms]`."""
        return np.diff(self.starts)

    @cached_property
    def widths(self) -> NDArray[np.int64]:
        """The number of low bits of its documents, `[terms]`."""
        if not self.documents:
            return np.zeros_like(self.sizes)
        found = (self.documents / np.maximum(self.sizes, 1)).view(np.int64)
        found >>= 52  # of a float from 1 on that leaves its exponent, which is above 1023 by the power of two below it
        found -= 1023
        return found

    @cached_property
    def tops(self) -> NDArray[np.int64]:
        """The most that its high bits can be, `[terms]`."""
        return np.int64(max(self.documents - 1, 0)) >> self.widths

    @cached_property
    def high(self) -> NDArray[np.int64]:
        """Where its high bits begin, `[terms + 1]`."""
        return offsets_of(self.sizes + self.tops)

    @cached_property
    def low(self) -> NDArray[np.int64]:
        """Where its low bits begin, `[terms + 1]`."""
        return offsets_of(self.sizes * self.widths)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Where its counts begin, `[terms + 1]`."""
        return offsets_of(self.frequencies + self.sizes * self.fields if self.fields else self.frequencies)

    @property
    def least(self) -> int:
        """The least that a count can be."""
        return 1 if self.fields is None else 0


class PackedPostings:
    """Postings in bits, mapped from the files of a folder."""

    def __init__(self, folder: Path, places: Places) -> None:
        """Raises `DamagedFile` where files are missing, or are not of as many bits."""
        self.folder, self.places = folder, places
        self.tops, self.lows, self.counts = (
            bits.stream(folder / name, int(begins[-1]))
            for name, begins in ((_TOPS, places.high), (_LOWS, places.low), (_COUNTS, places.counts))
        )

    def of(self, first: int, last: int) -> Part:
        """Unpack the postings of the terms from `first` up to `last`.

        Raises `DamagedFile` where the documents of a term do not rise, or are none of the corpus.
        """
        return self._docs(first, last), self._counts(first, last)

    def _docs(self, first: int, last: int) -> NDArray[np.int32]:
        places, starts = self.places, self.places.starts[first : last + 1] - self.places.starts[first]
        docs = bits.ones(self.tops, int(places.high[first]), int(places.high[last]))
        if len(docs) != starts[-1]:
            raise bounded.fault(self.folder / _TOPS, f"it has {len(docs)} documents where {starts[-1]} are expected")
        # one number serves all postings of a single term
        terms = np.int64(0) if last - first == 1 else np.repeat(np.arange(last - first), np.diff(starts))
        within, widths = np.arange(len(docs)) - starts[terms], places.widths[first:last][terms]
        docs -= (places.high[first:last] - places.high[first])[terms]
        docs -= within
        docs <<= widths
        within *= widths
        within += places.low[first:last][terms]
        docs |= bits.numbers(self.lows, within, widths)
        bounded.within(self.folder / _TOPS, docs, places.documents)
        bounded.rows_rising(self.folder / _LOWS, docs, starts)
        return docs.astype(np.int32)

    def _counts(self, first: int, last: int) -> NDArray[np.int32]:
        places, fields = self.places, self.places.fields
        begins = places.counts[first : last + 1] - places.counts[first]
        at = bits.ones(self.counts, int(places.counts[first]), int(places.counts[last]))
        ends = (places.starts[first + 1 : last + 1] - places.starts[first]) * (fields or 1)
        fits = len(at) == (ends[-1] if len(ends) else 0) and np.array_equal(np.append(-1, at)[ends], begins[1:] - 1)
        if not fits:
            raise bounded.fault(self.folder / _COUNTS, "its counts are not as many, or not as high, as there are words")
        counts = (np.diff(at, prepend=-1) - 1 + places.least).astype(np.int32)
        return counts if fields is None else counts.reshape(-1, fields)


def write_postings(folder: Path, parts: Iterable[Part], places: Places) -> None:
    """Write postings that come in `parts`, by term and by document, into the files of a folder."""
    with ExitStack() as stack:
        tops, lows, counts = (
            stack.enter_context(bits.BitWriter(folder / name, int(begins[-1])))
            for name, begins in ((_TOPS, places.high), (_LOWS, places.low), (_COUNTS, places.counts))
        )
        writer = _Writer(places, tops, lows, counts)
        for docs, numbers in parts:
            for start in range(0, len(docs), _POSTINGS_AT_ONCE):
                here = slice(start, start + _POSTINGS_AT_ONCE)
                writer.put(docs[here].astype(np.int64), numbers[here].astype(np.int64))


class _Writer:
    """Postings on their way into three streams."""

    def __init__(self, places: Places, tops: bits.BitWriter, lows: bits.BitWriter, counts: bits.BitWriter) -> None:
        self._places, self._tops, self._lows, self._counts = places, tops, lows, counts
        self._postings = self._bits_of_counts = 0

    def put(self, docs: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        """Write some postings behind those before."""
        places = self._places
        postings = np.arange(self._postings, self._postings + len(docs))
        terms = self._terms(len(docs))
        within, widths = postings - places.starts[terms], places.widths[terms]
        at = places.high[terms] + (docs >> widths) + within
        self._tops.ones(at, int(at[-1]) + 1)
        at = places.low[terms] + within * widths
        self._lows.numbers(at, docs & ((1 << widths) - 1), widths, int(at[-1] + widths[-1]))
        at = self._bits_of_counts + np.cumsum(counts.ravel() + (1 - places.least)) - 1
        self._counts.ones(at, int(at[-1]) + 1)
        self._postings, self._bits_of_counts = self._postings + len(docs), int(at[-1]) + 1

    def _terms(self, count: int) -> NDArray[np.int64]:
        """The terms of the next postings."""
        starts, begin = self._places.starts, self._postings
        first, last = np.searchsorted(starts, [begin, begin + count - 1], "right") - 1
        edges = starts[first : last + 2].clip(begin, begin + count)
        return np.repeat(np.arange(first, last + 1), np.diff(edges))
