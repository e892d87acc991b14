"""The inverted index of several fields together: a posting counts a term in each field of a document.

Each field is indexed alone, in bounded memory as any text is, and then the postings are merged, some terms at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Corpus, offsets_of
from nirank.kit.text import Analyzer, Vocabulary
from nirank_lexical.inversion import write_index
from nirank_lexical.packed import Part
from nirank_lexical.postings import InvertedIndex, SideColumns

#: The layout of the files; part of every index key.
LAYOUT = "nirank_lexical.fields/2"

_POSTINGS_AT_ONCE = 1 << 22


def write_fields(fields: Sequence[Corpus], analyzer: Analyzer, folder: Path, segment: int, workers: int) -> None:
    """Index some fields of the same documents into `folder`, which exists; the rest is as in `write_index`."""
    with tempfile.TemporaryDirectory(prefix="fields-", dir=folder) as apart:
        places = [Path(apart) / str(number) for number in range(len(fields))]
        for corpus, place in zip(fields, places, strict=True):
            place.mkdir()
            write_index(corpus, analyzer, place, segment, workers)
        merging = Merging([InvertedIndex.load(place) for place in places])
        InvertedIndex.write(folder, merging.parts(), merging.columns)


class Merging:
    """Indexes of the fields of the same documents, on their way to become one."""

    def __init__(self, indexes: Sequence[InvertedIndex]) -> None:
        self.indexes = indexes
        self.documents = len(indexes[0].lengths)
        names = [[index.vocabulary[term] for term in range(len(index.vocabulary))] for index in indexes]
        self.vocabulary = Vocabulary.of(dict.fromkeys(name for own in names for name in own))[0]
        #: The number that each term of a field has in all fields together.
        self.numbers = [self.vocabulary.find(own) for own in names]

    @cached_property
    def columns(self) -> SideColumns:
        """The columns beside the postings."""
        frequencies = np.zeros(len(self.vocabulary), np.int64)
        for index, numbers in zip(self.indexes, self.numbers, strict=True):
            frequencies[numbers] += index.frequencies
        sizes = [np.bincount(keys // self.documents, minlength=last - first) for first, last, keys in self._keys()]
        return {
            "starts": offsets_of(np.concatenate([np.empty(0, np.int64), *sizes])),
            "lengths": np.stack([index.lengths for index in self.indexes], axis=1),
            "frequencies": frequencies,
            "vocabulary": self.vocabulary,
        }

    def parts(self) -> Iterator[Part]:
        """The documents of all terms, and their counts `[postings, fields]`, some terms at a time."""
        for first, last in self._ranges():
            fields = [*self._of_fields(first, last)]
            keys = np.unique(np.concatenate([own for own, _ in fields]))
            counts = np.zeros((len(keys), len(fields)), np.int32)
            for field, (own, their) in enumerate(fields):
                counts[np.searchsorted(keys, own), field] = their
            yield (keys % self.documents).astype(np.int32), counts

    def _keys(self) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
        """Some terms from a first to a last, and a key for each pair of them and a document that has it, rising."""
        for first, last in self._ranges():
            yield first, last, np.unique(np.concatenate([own for own, _ in self._of_fields(first, last)]))

    def _ranges(self) -> Iterator[tuple[int, int]]:
        """Terms in parts of about as many postings."""
        sizes = np.zeros(len(self.vocabulary), np.int64)
        for index, numbers in zip(self.indexes, self.numbers, strict=True):
            sizes[numbers] += index.document_frequencies
        ends = np.cumsum(sizes)
        cuts = np.searchsorted(ends, np.arange(0, sizes.sum(), _POSTINGS_AT_ONCE), "right")
        yield from pairwise(np.unique([*cuts, len(ends)]).tolist())

    def _of_fields(self, first: int, last: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.integer[Any]]]]:
        """Of each field the keys and the counts of the postings of some terms, which in each follow one another."""
        for index, numbers in zip(self.indexes, self.numbers, strict=True):
            terms = slice(*np.searchsorted(numbers, [first, last]).tolist())
            docs, counts = index.of(terms)
            yield np.repeat(numbers[terms] - first, index.document_frequencies[terms]) * self.documents + docs, counts
