"""The index of what a corpus has become: that of the documents that stayed, and that of those that are new, in one.

Terms are numbered and postings lie as if all documents had been indexed at once, to the byte, whatever the order in
which the documents stand now. Postings are merged some terms at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nirank.data import offsets_of
from nirank.kit.text import Vocabulary
from nirank_lexical.postings import InvertedIndex, SideColumns

_POSTINGS_AT_ONCE = 1 << 22

Columns = list[NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Placed:
    """An index, and where each of its documents stands now: int32 `[documents]`, -1 for one that is gone."""

    index: InvertedIndex
    places: NDArray[np.int32]

    @classmethod
    def of_former(cls, index: InvertedIndex, ordinals: NDArray[np.int64]) -> Placed:
        """The index of an earlier state; `ordinals`, `[documents now]`, say where each stood then, -1 for new ones."""
        places, stayed = np.full(len(index.lengths), -1, np.int32), np.flatnonzero(ordinals >= 0)
        places[ordinals[stayed]] = stayed
        return cls(index, places)

    @cached_property
    def stayed(self) -> NDArray[np.bool_]:
        """Which documents are still there, `[documents]`."""
        return self.places >= 0

    @property
    def is_ordered(self) -> bool:
        """True where documents follow one another as they did."""
        return bool((np.diff(self.places[self.stayed]) > 0).all())

    def sizes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """In how many documents that stayed each term occurs, and how often in all of them, int64 `[terms]`."""
        documents, occurrences = self.index.document_frequencies.copy(), self.index.frequencies.copy()
        for first, last, docs, counts in self.index.parts(_POSTINGS_AT_ONCE):
            gone = np.flatnonzero(~self.stayed[docs])
            terms = np.searchsorted(self.index.starts, self.index.starts[first] + gone, "right") - 1 - first
            documents[first:last] -= np.bincount(terms, minlength=last - first)
            occurrences[first:last] -= np.bincount(terms, _of_all_fields(counts[gone]), last - first).astype(np.int64)
        return documents, occurrences

    def postings(self, terms: slice) -> Columns:
        """The documents that stayed, by their places now, and the counts, of some terms."""
        before, counts = self.index.of(terms)
        docs = self.places[before]
        there = docs >= 0
        return [docs, counts] if there.all() else [docs[there], counts[there]]


class Rows(NamedTuple):
    """What each of some terms has: `sizes` int64 `[terms]` entries of columns, of which the first rises."""

    sizes: NDArray[np.int64]
    columns: Columns

    def ordered(self) -> Rows:
        """The same where the first column does not rise yet."""
        terms, values = np.repeat(np.arange(len(self.sizes)), self.sizes), self.columns[0].astype(np.int64)
        order = np.argsort(terms * (values.max(initial=0) + 1) + values, kind="stable")  # quick where most rise
        return Rows(self.sizes, [column[order] for column in self.columns])

    def with_those_of(self, others: Rows) -> Columns:
        """The columns of both, what others have put where it belongs."""
        begins, terms = offsets_of(self.sizes), np.repeat(np.arange(len(self.sizes)), others.sizes)
        places = _bisected(self.columns[0], begins[terms], begins[terms + 1], others.columns[0])
        return [np.insert(own, places, new, axis=0) for own, new in zip(self.columns, others.columns, strict=True)]


class Merging:
    """The index of documents that stayed and that of new ones, on their way to become one."""

    def __init__(self, stayed: Placed, new: Placed) -> None:
        self.parts = stayed, new
        every, numbers = Vocabulary.merged([part.index.vocabulary for part in self.parts])
        left, found = np.zeros(len(every), bool), [part.sizes() for part in self.parts]
        for own, (sizes, _) in zip(numbers, found, strict=True):
            left[own[sizes > 0]] = True
        self.vocabulary = every if left.all() else every.take(np.flatnonzero(left))
        #: The number that each term of each part has now, rising; one that is gone has that of the next.
        self.numbers = [(np.cumsum(left) - left)[own] for own in numbers]
        #: In how many documents of each part each term is, and how often, `[terms]`.
        self.sizes, self.frequencies = (
            [self._of_all(*each) for each in zip(self.numbers, columns, strict=True)]
            for columns in zip(*found, strict=True)
        )

    def _of_all(self, numbers: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.int64]:
        """A column of the terms of one part for all terms: 0 for those that it has not."""
        spread = np.zeros(len(self.vocabulary), np.int64)
        spread[numbers[column > 0]] = column[column > 0]
        return spread

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """How many terms each document has."""
        documents = sum(int(part.stayed.sum()) for part in self.parts)
        lengths = np.empty((documents, *self.parts[0].index.lengths.shape[1:]), np.int32)
        for part in self.parts:
            lengths[part.places[part.stayed]] = part.index.lengths[part.stayed]
        return lengths

    def write(self, folder: Path) -> None:
        """Write the index into `folder`, which exists."""
        sizes = self.sizes[0] + self.sizes[1]
        rest = SideColumns(
            starts=offsets_of(sizes),
            lengths=self.lengths,
            frequencies=self.frequencies[0] + self.frequencies[1],
            vocabulary=self.vocabulary,
        )
        parts = self.merged(self.sizes, lambda part, terms: self.parts[part].postings(terms))
        InvertedIndex.write(folder, ((docs, counts) for docs, counts in parts), rest)

    def merged(self, sizes: Sequence[NDArray[np.int64]], read: Callable[[int, slice], Columns]) -> Iterator[Columns]:
        """Columns of all terms, some terms at a time.

        `read` gives those of some terms of a part, with as many entries as its `sizes` say; of each term the first
        column rises, if documents follow one another as they did.
        """
        ends, is_ordered = np.cumsum(sizes[0] + sizes[1]), self.parts[0].is_ordered
        cuts = np.searchsorted(ends, np.arange(0, ends.max(initial=0), _POSTINGS_AT_ONCE), "right")
        for edges in pairwise(np.unique([*cuts, len(ends)]).tolist()):
            terms = [slice(*np.searchsorted(own, edges).tolist()) for own in self.numbers]
            stayed, new = (Rows(sizes[part][slice(*edges)], read(part, some)) for part, some in enumerate(terms))
            yield (stayed if is_ordered else stayed.ordered()).with_those_of(new)


def _of_all_fields(counts: NDArray[Any]) -> NDArray[Any]:
    """The counts of postings, `[postings]`, those of fields added up."""
    return counts if counts.ndim == 1 else counts.sum(axis=1)


def _bisected(
    values: NDArray[Any], low: NDArray[np.int64], high: NDArray[np.int64], wanted: NDArray[Any]
) -> NDArray[np.int64]:
    """The places, between low and high ones from which on values rise, where the wanted belong; all side by side."""
    for _ in range(int((high - low).max(initial=0)).bit_length()):
        middle = (low + high) >> 1
        before = (middle < high) & (values[np.minimum(middle, len(values) - 1)] < wanted)
        low, high = np.where(before, middle + 1, low), np.where(before, high, middle)
    return low
