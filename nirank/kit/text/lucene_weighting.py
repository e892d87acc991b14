"""Query likelihood and TF-IDF as Lucene computes them, where that is not what the papers say.

Notation as in `nirank.kit.text.weighting`; lengths are by default those that Lucene keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nirank.kit.text.lengths import Counted, Lengths, Statistics, Totals
from nirank.kit.text.weighting import (
    DirichletWeighting,
    Doubles,
    JelinekMercerWeighting,
    TFIDFWeighting,
)

#: What a match has that Lucene gives 0, so that its document is found, behind all others: it vanishes in a sum with
#: anything that a search tells apart.
NOTHING = 1e-30


@dataclass(frozen=True)
class LuceneDirichletWeighting(DirichletWeighting):
    """Query likelihood as Lucene's LMDirichletSimilarity has it, with p(t|C) = (cf + 1) / (|C| + 1):

        sum over matching tokens t of max(0, log(1 + tf / (mu p(t|C))) + log(mu / (|d| + mu)))

    A token that a document lacks costs it nothing there: long documents lose less than by the likelihood. What Lucene
    gives 0 is `NOTHING` here. Raises as `DirichletWeighting` does.
    """

    lengths: Lengths = "byte"

    def per_term(self, index: Statistics) -> Doubles:
        """1 / (mu p(t|C))."""
        return _inverse_background(index) / self.mu

    def per_document(self, index: Statistics) -> Doubles:
        """log(mu / (|d| + mu))."""
        return super().prior(index)

    def impacts(self, tf: Doubles, term: Any, document: Doubles) -> Doubles:
        """The token's share of the sum."""
        return np.maximum(np.log1p(tf * term) + document, NOTHING)

    def prior(self, index: Statistics) -> None:  # type: ignore[override]
        """None."""


@dataclass(frozen=True)
class LuceneJelinekMercerWeighting(JelinekMercerWeighting):
    """Query likelihood as Lucene's LMJelinekMercerSimilarity has it: with p(t|C) = (cf + 1) / (|C| + 1)."""

    lengths: Lengths = "byte"

    def per_term(self, index: Statistics) -> Doubles:
        """(1 - lambda) / (lambda p(t|C))."""
        return (1 - self.lambda_) / self.lambda_ * _inverse_background(index)


@dataclass(frozen=True)
class LuceneTFIDFWeighting(TFIDFWeighting):
    """TF-IDF as the program of Lucene's ClassicSimilarity has it: sqrt(tf) idf / sqrt(|d|)."""

    lengths: Lengths = "byte"

    def per_term(self, index: Statistics) -> Doubles:
        """Idf, once."""
        documents = Counted.of(index, self.lengths).documents
        return 1 + np.log((documents + 1) / (index.document_frequencies + 1))


def _inverse_background(index: Statistics) -> Doubles:
    """1 / p(t|C), smoothed by one occurrence more, `[terms]`."""
    inverse: Doubles = (Totals.of(index).occurrences + 1) / (index.frequencies + 1)
    return inverse
