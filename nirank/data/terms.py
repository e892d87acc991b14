"""Queries as weighted terms: what an encoder of the kind "terms" makes, and what lexical search takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.offsets import offsets_of
from nirank.data.types import Floats, Ints
from nirank.errors import BadInput


@dataclass(frozen=True, eq=False)
class TermWeights:
    """For each query weighted terms: those of query `i` are `terms[offsets[i]:offsets[i + 1]]`, each once.

    `offsets` int64 `[queries + 1]`; `weights` float32 beside `terms`. These are index terms, made by an analyser of the
    settings `analysis` (`nirank.kit.text.analysis.Analyzer.settings`): an index made by another one does not know them.
    """

    offsets: NDArray[np.int64]
    terms: Sequence[str]
    weights: Floats
    analysis: Mapping[str, Any]

    def __post_init__(self) -> None:
        if len(self.terms) != len(self.weights) or self.offsets[-1] != len(self.terms):
            counted = f"{len(self.terms)} terms, {len(self.weights)} weights, last offset {self.offsets[-1]}"
            raise BadInput(f"{counted}: these must be equal.")
        if not np.isfinite(self.weights).all():
            worst = int(np.flatnonzero(~np.isfinite(self.weights))[0])
            raise BadInput(f"the weight of {self.terms[worst]!r} is {self.weights[worst]}; weights must be finite.")

    @classmethod
    def of(cls, queries: Sequence[Mapping[str, float]], analysis: Mapping[str, Any]) -> TermWeights:
        """From the terms of each query with their weights."""
        offsets = offsets_of([*map(len, queries)])
        weights = np.fromiter(chain.from_iterable(query.values() for query in queries), np.float32, offsets[-1])
        return cls(offsets, [*chain.from_iterable(queries)], weights, analysis)

    @classmethod
    def concatenate(cls, parts: Sequence[TermWeights]) -> TermWeights:
        """The queries of all parts, one after the other."""
        sizes = np.concatenate([np.diff(part.offsets) for part in parts])
        terms = [*chain.from_iterable(part.terms for part in parts)]
        return cls(offsets_of(sizes), terms, np.concatenate([part.weights for part in parts]), parts[0].analysis)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: Ints | slice | int) -> TermWeights:
        """Some of the queries; one, for a number."""
        chosen = np.atleast_1d(np.arange(len(self))[rows])
        sizes = np.diff(self.offsets)[chosen]
        offsets = offsets_of(sizes)
        places = np.repeat(self.offsets[chosen] - offsets[:-1], sizes) + np.arange(offsets[-1])
        return TermWeights(
            offsets, [self.terms[place] for place in places.tolist()], self.weights[places], self.analysis
        )

    @property
    def rows(self) -> NDArray[np.int64]:
        """The query of each term, `[len(terms)]`."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def query(self, row: int) -> dict[str, float]:
        """The weighted terms of one query."""
        here = slice(self.offsets[row], self.offsets[row + 1])
        return dict(zip(self.terms[here], self.weights[here].tolist(), strict=True))
