"""Weighted terms of many rows at once: of queries, or of the documents found for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirank.data import Ints

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TermRows:
    """A sparse matrix of `size` rows: entry i is `values[i]` at `rows[i]` and `terms[i]`, by row, then term, each once.

    `rows` and `terms` int64, `values` float64, all `[entries]`. What becomes of a row depends on that row alone, to the
    last bit.
    """

    rows: NDArray[np.int64]
    terms: NDArray[np.int64]
    values: Doubles
    size: int

    @classmethod
    def of(cls, rows: Ints, terms: Ints, values: ArrayLike, size: int) -> TermRows:
        """From entries in any order; those of one row and term are added up."""
        width = 1 + int(terms.max(initial=0))
        keys, place = np.unique(rows.astype(np.int64) * width + terms, return_inverse=True)
        weights = np.broadcast_to(np.asarray(values, np.float64), rows.shape)
        return cls(keys // width, keys % width, _sums(place, weights, len(keys)), size)

    @classmethod
    def sum(cls, parts: Sequence[TermRows]) -> TermRows:
        """Several matrices of the same rows, added up."""
        rows, terms, values = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "terms", "values")
        )
        return cls.of(rows, terms, values, parts[0].size)

    def joined(self, into: Ints, size: int) -> TermRows:
        """Rows added up into fewer: row i becomes part of row `into[i]`."""
        return TermRows.of(into[self.rows], self.terms, self.values, size)

    def best(self, k: int | Ints, places: Ints | None = None) -> TermRows:
        """The `k` largest entries of each row; of equal ones those whose terms come first, or whose `places` do.

        `k` is a number, or that of each row (`[size]`). `places`, `[entries]`, order the terms otherwise than by their
        numbers.
        """
        order = np.lexsort((self.terms if places is None else places, -self.values, self.rows))
        starts = np.searchsorted(self.rows, np.arange(self.size))
        kept = np.sort(order[np.arange(len(order)) - starts[self.rows] < np.broadcast_to(k, self.size)[self.rows]])
        return self.where(kept)

    def where(self, kept: Ints | NDArray[np.bool_]) -> TermRows:
        """The matrix of some of the entries."""
        return TermRows(self.rows[kept], self.terms[kept], self.values[kept], self.size)

    def times(self, factors: ArrayLike) -> TermRows:
        """The matrix times a number, or those of each row times that of the row (`[size]`)."""
        each = np.broadcast_to(np.asarray(factors, np.float64), self.size)
        return replace(self, values=self.values * each[self.rows])

    def shares(self) -> TermRows:
        """Each row made to add up to 1; a row of nothing stays."""
        return self._over(_sums(self.rows, self.values, self.size))

    def unit(self) -> TermRows:
        """Each row made of length 1; a row of nothing stays."""
        return self._over(np.sqrt(_sums(self.rows, self.values**2, self.size)))

    def _over(self, norms: Doubles) -> TermRows:
        return self.times(1 / np.where(norms > 0, norms, 1))


def _sums(places: Ints, values: Doubles, size: int) -> Doubles:
    """The values of each place, added up in their order."""
    return np.bincount(places, values, size).astype(np.float64)
