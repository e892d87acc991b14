"""From documents to the inverted index, in bounded memory.

Postings gather a few thousand documents at a time. Once there are as many as a segment may hold they are sorted by
term and written beside the index; at the end the segments are merged, some terms at a time. Until then terms are
numbered as they come up. What is written does not depend on how it was cut into segments.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nirank.data import Corpus
from nirank.text.analysis import Analyzer
from nirank.text.reading import TermNumbers, batches
from nirank.text.vocabulary import Vocabulary
from nirank.text.words import words
from nirank_lexical.postings import Columns, Postings

#: How many postings a segment holds unless told otherwise: it grows to some 700 MB.
SEGMENT = 1 << 25

_POSTINGS_AT_ONCE = 1 << 22


def invert(corpus: Corpus, analyzer: Analyzer) -> Postings:
    """Index every document of `corpus`, in memory. Raises `BadInput` where a content is not text."""
    building = _Building(analyzer)
    building.read(corpus)
    docs, counts = zip((np.empty(0, np.int32), np.empty(0, building.kind)), *building.merged(), strict=True)
    return Postings(docs=np.concatenate(docs), counts=np.concatenate(counts), **building.columns())


def write_index(corpus: Corpus, analyzer: Analyzer, folder: Path, segment: int = SEGMENT) -> None:
    """Index every document of `corpus` into `folder`, which exists, with about `segment` postings in memory at a time.

    Beside them there stay in memory the distinct words, and a number for each document. The files are the same for any
    `segment`. Raises `BadInput` where a content is not text.
    """
    with tempfile.TemporaryDirectory(prefix="segments-", dir=folder) as spilled:
        building = _Building(analyzer, segment, Path(spilled))
        building.read(corpus)
        Postings.write(folder, building.merged(), building.postings, building.kind, building.columns())


class _Batch(NamedTuple):
    """Postings by rising term and document; those of `terms[i]` begin at `heads[i]`."""

    terms: NDArray[np.int64]
    heads: NDArray[np.int64]
    docs: NDArray[np.int32]
    counts: NDArray[np.int32]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many there are of each term."""
        return np.diff(self.heads, append=len(self.docs))


class _Segment(NamedTuple):
    """Postings of all documents between two: those of the term numbered `n` are `docs[starts[n]:starts[n + 1]]`."""

    starts: NDArray[np.int64]
    docs: NDArray[np.int32]
    counts: NDArray[np.int32]

    def mapped(self, folder: Path, number: int) -> _Segment:
        """The same, on disk."""
        for name, column in zip(("docs", "counts"), self[1:], strict=True):
            np.save(folder / f"{number}-{name}.npy", column)
        return _Segment(self.starts, *(_mapped(folder / f"{number}-{name}.npy") for name in ("docs", "counts")))


@dataclass
class _Building:
    """An index that grows: batches make segments, and these make the index. Without a folder there is one segment."""

    analyzer: Analyzer
    segment: int = 0
    folder: Path | None = None
    kind: np.dtype[np.unsignedinteger[Any]] = field(default_factory=lambda: np.dtype(np.uint8))
    postings: int = 0

    def __post_init__(self) -> None:
        self._numbers = TermNumbers(self.analyzer)
        self._lengths = [np.empty(0, np.int32)]
        self._batches: list[_Batch] = []
        self._segments: list[_Segment] = []

    def read(self, corpus: Corpus) -> None:
        """Take in all documents."""
        for texts, first in batches(corpus):
            self._add(texts, first)
            if self.folder and sum(len(batch.docs) for batch in self._batches) >= self.segment:
                self._segments.append(self._sorted().mapped(self.folder, len(self._segments)))
        self._segments.append(self._sorted())
        self.vocabulary, self._order = Vocabulary.of(self._numbers.terms)

    def _add(self, texts: Sequence[str], first: int) -> None:
        found = [words(text) for text in texts]
        terms = np.fromiter(map(self._numbers.__getitem__, chain.from_iterable(found)), np.int64)
        rows = np.repeat(np.arange(len(texts)), [len(each) for each in found])[terms >= 0]
        pairs, counts = _counted(terms[terms >= 0] * len(texts) + rows)
        numbers, within = np.divmod(pairs, len(texts))
        heads = np.flatnonzero(np.diff(numbers, prepend=-1))
        self._batches.append(_Batch(numbers[heads], heads, (within + first).astype(np.int32), counts.astype(np.int32)))
        self._lengths.append(np.bincount(rows, minlength=len(texts)).astype(np.int32))
        self.kind = np.promote_types(self.kind, np.min_scalar_type(counts.max(initial=0)))
        self.postings += len(pairs)

    def _sorted(self) -> _Segment:
        """The batches as a segment: each goes behind the ones before it, term by term, so nothing is sorted again."""
        sizes = np.zeros(len(self._numbers.terms), np.int64)
        for batch in self._batches:
            sizes[batch.terms] += batch.sizes
        starts = _starts(sizes)
        docs, counts = np.empty((2, starts[-1]), np.int32)
        free = starts[:-1].copy()
        for batch in self._batches:
            places = _ranges(free[batch.terms], batch.sizes)
            docs[places], counts[places] = batch.docs, batch.counts
            free[batch.terms] += batch.sizes
        self._batches = []
        return _Segment(starts, docs, counts)

    def columns(self) -> Columns:
        """All but the postings themselves."""
        frequencies = np.zeros(len(self._order), np.int64)
        for segment in self._segments:
            known = np.flatnonzero(np.diff(segment.starts))
            if len(known):
                frequencies[known] += np.add.reduceat(segment.counts, segment.starts[known], dtype=np.int64)
        return {
            "starts": _starts(self._sizes()[self._order]),
            "lengths": np.concatenate(self._lengths),
            "frequencies": frequencies[self._order],
            "vocabulary": self.vocabulary,
        }

    def _sizes(self) -> NDArray[np.int64]:
        """How many postings each term has, by its number."""
        sizes = np.zeros(len(self._order), np.int64)
        for segment in self._segments:
            sizes[: len(segment.starts) - 1] += np.diff(segment.starts)
        return sizes

    def merged(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.unsignedinteger[Any]]]]:
        """The documents and counts of all postings by term and document, some terms at a time."""
        ends = np.cumsum(self._sizes()[self._order])
        cuts = np.searchsorted(ends, np.arange(0, self.postings, _POSTINGS_AT_ONCE), "right")
        for first, last in pairwise(np.unique([*cuts, len(ends)]).tolist()):
            yield self._of_terms(self._order[first:last])

    def _of_terms(self, terms: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.unsignedinteger[Any]]]:
        found = [_places(segment.starts, terms) for segment in self._segments]
        starts = _starts(np.sum([sizes for _, sizes in found], axis=0, dtype=np.int64))
        docs, counts = np.empty(starts[-1], np.int32), np.empty(starts[-1], self.kind)
        free = starts[:-1]
        for segment, (begins, sizes) in zip(self._segments, found, strict=True):
            to, origin = _ranges(free, sizes), _ranges(begins, sizes)
            docs[to], counts[to] = segment.docs[origin], segment.counts[origin]
            free = free + sizes
        return docs, counts


def _counted(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct keys in rising order and how often each occurs."""
    keys.sort()
    heads = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[heads], np.diff(heads, append=len(keys))


def _places(starts: NDArray[np.int64], terms: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the postings of each term begin and how many there are; none of terms that came up later."""
    last = len(starts) - 1
    begins = starts[np.minimum(terms, last)]
    return begins, starts[np.minimum(terms + 1, last)] - begins


def _starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def _ranges(begins: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """So many integers in a row from each of `begins`, one row after the other."""
    ends = np.cumsum(sizes)
    return np.repeat(begins - (ends - sizes), sizes) + np.arange(ends[-1] if len(ends) else 0)


def _mapped(path: Path) -> NDArray[np.int32]:
    return np.load(path, mmap_mode="r").view(np.ndarray)
