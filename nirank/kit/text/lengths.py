"""The lengths of documents as a weighting takes them: exact, or as Lucene keeps them.

Lucene keeps a length in one byte (`SmallFloat.intToByte4`): exact below 40, then with four significant bits above 24. A
document without terms is none of those that it counts: neither in N nor in the mean, which is that of exact lengths.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from nirank.errors import UnknownName

#: How lengths are taken.
Lengths = Literal["exact", "byte"]
_FREE = 24  # lengths that the byte has values of their own for, before it begins to round
_BITS = 4


class Statistics(Protocol):
    """The statistics of an index: document `lengths` in terms, `frequencies` of terms and of documents with them.

    One of a part of a collection also has `totals`, those of all of it; its frequencies are then of all of it too.
    """

    @property
    def lengths(self) -> NDArray[Any]:
        """|d|, `[documents]`."""

    @property
    def frequencies(self) -> NDArray[Any]:
        """cf, `[terms]`."""

    @property
    def document_frequencies(self) -> NDArray[Any]:
        """df, `[terms]`."""


@dataclass(frozen=True)
class Totals:
    """The numbers of a whole collection: `documents`, those `with_terms`, the terms of all, and the occurrences |C|."""

    documents: int
    with_terms: int
    length: int
    occurrences: int

    @classmethod
    def of(cls, index: Statistics) -> Totals:
        """The totals of the collection that an index is a part of, or those of its own documents."""
        known: Totals | None = getattr(index, "totals", None)
        if known is not None:
            return known
        lengths = index.lengths
        length, occurrences = lengths.sum(dtype=np.int64), index.frequencies.sum(dtype=np.int64)
        return cls(len(lengths), int(np.count_nonzero(lengths)), int(length), int(occurrences))

    @classmethod
    def sum(cls, parts: Iterable[Totals]) -> Totals:
        """Add up the totals of several parts."""
        return cls(*map(sum, zip(*map(astuple, parts), strict=True)))


@dataclass(frozen=True, eq=False)
class Counted:
    """The `lengths` of all documents, `[documents]`, how many `documents` count, and their `mean` length."""

    lengths: NDArray[Any]
    documents: int
    mean: float

    @classmethod
    def of(cls, index: Statistics, kind: Lengths) -> Counted:
        """From the exact lengths of an index, and the numbers of the collection that these are of."""
        totals = Totals.of(index)
        if kind == "exact":
            return cls(index.lengths, totals.documents, totals.length / totals.documents if totals.length else 1.0)
        mean = totals.length / totals.with_terms if totals.with_terms else 1.0
        return cls(in_a_byte(index.lengths), totals.with_terms, mean)

    @staticmethod
    def check(kind: str) -> None:
        """Raise `UnknownName` for lengths that are taken in no such way."""
        if kind not in get_args(Lengths):
            raise UnknownName("kind of lengths", kind, get_args(Lengths))


def in_a_byte(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Lengths as they come back from Lucene's byte, `[documents]`: rounded down, to an eighth at most."""
    rest = np.maximum(lengths.astype(np.int64) - _FREE, 0)
    dropped = np.maximum(np.frexp(rest)[1] - _BITS, 0)  # frexp's exponent is the number of bits of a whole number
    return np.where(lengths < _FREE, lengths, _FREE + (rest >> dropped << dropped))
