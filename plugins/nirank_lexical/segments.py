"""From documents to postings: batches of a few thousand documents, gathered into segments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.data import offsets_of
from nirank.kit.text import Analyzer, TermNumbers

#: Texts, and the number of the first of them.
Texts: TypeAlias = tuple[Sequence[str], int]


class Segment(NamedTuple):
    """Postings of all documents between two: those of `terms[i]` (rising) are `sizes[i]` from `begins[i]` on.

    `totals[i]` is how often the term occurs in all of them.
    """

    terms: NDArray[np.int64]
    begins: NDArray[np.int64]
    sizes: NDArray[np.int64]
    totals: NDArray[np.int64]
    docs: NDArray[np.int32]
    counts: NDArray[np.int32]

    def mapped(self, folder: Path, number: int) -> Segment:
        """The same, on disk."""
        columns: Any = (_mapped(folder / f"{number}-{name}.npy", column) for name, column in self._asdict().items())
        return Segment(*columns)

    def renumbered(self, numbers: NDArray[np.int64]) -> Segment:
        """The same where each term has the number `numbers[term]`."""
        terms = numbers[self.terms]
        order = np.argsort(terms)
        begins, sizes, totals = (column[order] for column in (self.begins, self.sizes, self.totals))
        return Segment(terms[order], begins, sizes, totals, self.docs, self.counts)

    def of(self, terms: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first posting of each of some terms and their number, which is 0 for a term that is not here."""
        if not len(self.terms):
            return np.zeros_like(terms), np.zeros_like(terms)
        places = np.minimum(np.searchsorted(self.terms, terms), len(self.terms) - 1)
        return self.begins[places], np.where(self.terms[places] == terms, self.sizes[places], 0)


#: A segment, and how many terms each of its documents has.
Read: TypeAlias = tuple[Segment, NDArray[np.int32]]


class SegmentReader:
    """Documents whose postings gather until they are taken. Terms are numbered as they come up."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._numbers = TermNumbers(analyzer)
        self._batches: list[_Batch] = []
        self._lengths: list[NDArray[np.int32]] = []

    @property
    def terms(self) -> dict[str, int]:
        """The number of each term that came up, in the order of the numbers."""
        return self._numbers.terms

    def segments(self, documents: Iterator[Texts], size: int) -> Iterator[Read]:
        """The segments of all documents, each of about `size` postings."""
        for texts, first in documents:
            self.add(texts, first)
            if sum(len(batch.docs) for batch in self._batches) >= size:
                yield self.taken()
        yield self.taken()

    def add(self, texts: Sequence[str], first: int) -> None:
        """Take in documents; `first` is the number of the first of them."""
        terms, rows = self._numbers.of(texts)
        pairs, counts = _counted(terms * len(texts) + rows)
        numbers, within = np.divmod(pairs, len(texts))
        heads = np.flatnonzero(np.diff(numbers, prepend=-1))
        self._batches.append(_Batch(numbers[heads], heads, (within + first).astype(np.int32), counts.astype(np.int32)))
        self._lengths.append(np.bincount(rows, minlength=len(texts)).astype(np.int32))

    def taken(self) -> Read:
        """Take the batches as one segment: each goes behind those before it, term by term, so nothing is sorted."""
        sizes = np.zeros(len(self.terms), np.int64)
        for batch in self._batches:
            sizes[batch.terms] += batch.sizes
        begins = offsets_of(sizes)
        docs, counts = np.empty((2, begins[-1]), np.int32)
        free = begins[:-1].copy()
        for batch in self._batches:
            places = ranges(free[batch.terms], batch.sizes)
            docs[places], counts[places] = batch.docs, batch.counts
            free[batch.terms] += batch.sizes
        lengths = np.concatenate([np.empty(0, np.int32), *self._lengths])
        self._batches, self._lengths = [], []
        known = np.flatnonzero(sizes)
        totals = np.add.reduceat(counts, begins[known], dtype=np.int64) if len(known) else known
        return Segment(known, begins[known], sizes[known], totals, docs, counts), lengths


class _Batch(NamedTuple):
    """Postings by rising term and document; those of `terms[i]` begin at `heads[i]`."""

    terms: NDArray[np.int64]
    heads: NDArray[np.int64]
    docs: NDArray[np.int32]
    counts: NDArray[np.int32]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The number of postings of each term."""
        return np.diff(self.heads, append=len(self.docs))


def ranges(begins: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of `sizes` integers that rise from `begins`, one row after the other."""
    ends = np.cumsum(sizes)
    return np.repeat(begins - (ends - sizes), sizes) + np.arange(ends[-1] if len(ends) else 0)


def _counted(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct keys in rising order and how often each occurs."""
    keys.sort()
    heads = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[heads], np.diff(heads, append=len(keys))


def _mapped(path: Path, column: NDArray[Any]) -> NDArray[Any]:
    if not column.size:
        return column  # an empty file cannot be mapped
    np.save(path, column)
    return np.load(path, mmap_mode="r").view(np.ndarray)
