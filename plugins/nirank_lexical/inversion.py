"""From documents to the inverted index, in bounded memory and, if there are many, by several processes at once.

Postings gather in segments (`nirank_lexical.segments`), which are written beside the index and in the end merged, some
terms at a time. Until then terms are numbered as they come up. What is written depends neither on how documents were
cut into segments nor on how many `workers` made these.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nirank.data import Corpus, offsets_of
from nirank.kit.text import Analyzer, Vocabulary, term_batches
from nirank_lexical.packed import Part
from nirank_lexical.postings import InvertedIndex, SideColumns
from nirank_lexical.segments import Read, Segment, SegmentReader, ranges
from nirank_lexical.workers import CHARACTERS, Workers, shares

#: Postings in a segment by default, which take some 700 MB.
SEGMENT = 1 << 25

_POSTINGS_AT_ONCE = 1 << 22
_CHARACTERS_A_POSTING = 4  # about; English has more


def write_index(corpus: Corpus, analyzer: Analyzer, folder: Path, segment: int = SEGMENT, workers: int = 1) -> None:
    """Index every document of `corpus` into `folder`, which exists, with about `segment` postings in memory at a time.

    Beside them there stay in memory a number for each document and the distinct words, these in each process. Up to
    `workers` processes read the documents, where there are enough for that. The files are the same for any `segment`
    and `workers`. Raises `BadInput` where a content is not text.
    """
    with tempfile.TemporaryDirectory(prefix="segments-", dir=folder) as spilled:
        building = _Building(analyzer, segment, Path(spilled))
        building.read(corpus, workers)
        InvertedIndex.write(folder, building.merged(), building.columns())


@dataclass
class _Building:
    """An index that grows: documents make segments, in files of a folder, and these the index."""

    analyzer: Analyzer
    segment: int
    folder: Path
    postings: int = 0

    def __post_init__(self) -> None:
        self._lengths = [np.empty(0, np.int32)]
        self._segments: list[Segment] = []

    def read(self, corpus: Corpus, workers: int = 1) -> None:
        """Take in all documents."""
        characters = min(CHARACTERS, max(1, _CHARACTERS_A_POSTING * self.segment // workers))
        parts = shares(term_batches(corpus), characters)
        first = [*islice(parts, workers)]
        documents = chain.from_iterable(chain(first, parts))
        reading: SegmentReader | Workers = SegmentReader(self.analyzer)
        if len(first) < workers or workers == 1:  # too few to share
            self._take(reading.segments(documents, self.segment))
        else:
            reading = Workers(self.analyzer, workers)
            self._take(reading.segments(documents, characters))
        self.vocabulary, self._order = Vocabulary.of(reading.terms)

    def _take(self, found: Iterator[Read]) -> None:
        for segment, lengths in found:
            self._lengths.append(lengths)
            self.postings += len(segment.docs)
            self._segments.append(segment.mapped(self.folder, len(self._segments)))

    def columns(self) -> SideColumns:
        """The columns beside the postings."""
        frequencies = np.zeros(len(self._order), np.int64)
        for segment in self._segments:
            frequencies[segment.terms] += segment.totals
        return {
            "starts": offsets_of(self._sizes()[self._order]),
            "lengths": np.concatenate(self._lengths),
            "frequencies": frequencies[self._order],
            "vocabulary": self.vocabulary,
        }

    def _sizes(self) -> NDArray[np.int64]:
        """The number of postings of each term, by its number."""
        sizes = np.zeros(len(self._order), np.int64)
        for segment in self._segments:
            sizes[segment.terms] += segment.sizes
        return sizes

    def merged(self) -> Iterator[Part]:
        """The documents and counts of all postings by term and document, some terms at a time."""
        ends = np.cumsum(self._sizes()[self._order])
        cuts = np.searchsorted(ends, np.arange(0, self.postings, _POSTINGS_AT_ONCE), "right")
        for first, last in pairwise(np.unique([*cuts, len(ends)]).tolist()):
            yield self._of_terms(self._order[first:last])

    def _of_terms(self, terms: NDArray[np.int64]) -> Part:
        found = [segment.of(terms) for segment in self._segments]
        begins = offsets_of(np.sum([sizes for _, sizes in found], axis=0, dtype=np.int64))
        docs, counts = np.empty((2, begins[-1]), np.int32)
        free = begins[:-1]
        for segment, (places, sizes) in zip(self._segments, found, strict=True):
            to, origin = ranges(free, sizes), ranges(places, sizes)
            docs[to], counts[to] = segment.docs[origin], segment.counts[origin]
            free = free + sizes
        return docs, counts
