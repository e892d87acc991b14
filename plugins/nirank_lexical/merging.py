"""Indexes of different documents made into one: of those that stayed in a corpus, and of those that are new in it.

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
from nirank_lexical.postings import InvertedIndex, Part, SideColumns

_POSTINGS_AT_ONCE = 1 << 22
_A_BYTE = 255


class Gone(NamedTuple):
    """Of each term, how many postings are gone, and how often it was counted there, int64 `[terms]`."""

    postings: NDArray[np.int64]
    counts: NDArray[np.int64]


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

    def gone(self) -> Gone:
        """What the documents that are gone took with them."""
        terms, postings = len(self.index.vocabulary), self._where(lambda docs, _: self.places[docs] < 0)
        their = np.searchsorted(self.index.starts, postings, "right") - 1
        counts = self.index.counts[postings]
        counts = counts.sum(axis=tuple(range(1, counts.ndim)), dtype=np.int64)  # over the fields
        return Gone(np.bincount(their, minlength=terms), np.bincount(their, counts, terms).astype(np.int64))

    def most(self) -> int:
        """The highest count in a document that stayed, or one that fits in a byte."""
        if self.index.counts.dtype == np.uint8:
            return 0
        high = self._where(lambda _, counts: counts.max(axis=tuple(range(1, counts.ndim))) > _A_BYTE)
        return int(self.index.counts[high[self.places[self.index.docs[high]] >= 0]].max(initial=0))

    def _where(self, holds: Callable[[Any, Any], NDArray[np.bool_]]) -> NDArray[np.int64]:
        """The postings of which something holds, by their documents and counts."""
        found = [np.empty(0, np.int64)]
        for start in range(0, len(self.index.docs), _POSTINGS_AT_ONCE):
            here = slice(start, start + _POSTINGS_AT_ONCE)
            found.append(start + np.flatnonzero(holds(self.index.docs[here], self.index.counts[here])))
        return np.concatenate(found)


class Merging:
    """Indexes of different documents, on their way to become one of `documents` documents."""

    def __init__(self, parts: Sequence[Placed], documents: int) -> None:
        self.parts, self.documents = parts, documents
        vocabulary, numbers = Vocabulary.merged([part.index.vocabulary for part in parts])
        sizes, frequencies = np.zeros((2, len(vocabulary)), np.int64)
        for part, own in zip(parts, numbers, strict=True):
            gone = part.gone()
            sizes[own] += part.index.document_frequencies - gone.postings
            frequencies[own] += part.index.frequencies - gone.counts
        left = sizes > 0
        self.sizes, self.frequencies = sizes[left], frequencies[left]
        self.vocabulary = vocabulary if left.all() else vocabulary.take(np.flatnonzero(left))
        #: The number that each term of each index has now, rising; one that is gone has that of the next.
        self.numbers = [(np.cumsum(left) - left)[own] for own in numbers]

    def write(self, folder: Path) -> None:
        """Write the index into `folder`, which exists."""
        kind = np.promote_types(np.uint8, np.min_scalar_type(max(part.most() for part in self.parts)))
        parts = ((docs, counts.astype(kind, copy=False)) for docs, counts in self._merged())
        rest = SideColumns(
            starts=offsets_of(self.sizes),
            lengths=self.lengths,
            frequencies=self.frequencies,
            vocabulary=self.vocabulary,
        )
        InvertedIndex.write(folder, parts, int(self.sizes.sum()), kind, rest)

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """How many terms each document has."""
        lengths = np.empty((self.documents, *self.parts[0].index.lengths.shape[1:]), np.int32)
        for part in self.parts:
            stayed = part.places >= 0
            lengths[part.places[stayed]] = part.index.lengths[stayed]
        return lengths

    def slices(self, sizes: NDArray[np.int64]) -> Iterator[list[slice]]:
        """The terms of each index, some at a time by their numbers now; `sizes` is how much each of these has."""
        ends = np.cumsum(sizes)
        cuts = np.searchsorted(ends, np.arange(0, sizes.sum(), _POSTINGS_AT_ONCE), "right")
        for edges in pairwise(np.unique([*cuts, len(ends)])):
            yield [slice(*np.searchsorted(own, edges)) for own in self.numbers]

    def _merged(self) -> Iterator[Part]:
        """The documents and counts of all postings by term and document, some terms at a time."""
        for terms in self.slices(self.sizes):
            found = [self._of(part, own, some) for part, own, some in zip(self.parts, self.numbers, terms, strict=True)]
            keys, docs, counts = (np.concatenate(columns) for columns in zip(*found, strict=True))
            order = np.argsort(keys, kind="stable")  # quick, for most of them rise
            yield docs[order], counts[order]

    def _of(self, part: Placed, numbers: NDArray[np.int64], terms: slice) -> tuple[NDArray[np.int64], Any, Any]:
        """The postings of some terms in documents that stayed: keys in the order of all, documents, counts."""
        starts = part.index.starts[terms.start : terms.stop + 1]
        here = slice(starts[0], starts[-1])
        docs, counts = part.places[part.index.docs[here]], part.index.counts[here]
        keys = np.repeat(numbers[terms] * self.documents, np.diff(starts)) + docs
        stayed = docs >= 0
        return (keys, docs, counts) if stayed.all() else (keys[stayed], docs[stayed], counts[stayed])
