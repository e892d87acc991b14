"""Term weighting: the worth of one occurrence of a query term in a document.

Every model here is a sum over the tokens of the query, of which those that the document lacks add nothing. Each is
written as three factors that are computed apart: one per term, one per document, and what the count makes of the two.
Document lengths are exact, in terms, or with `lengths="byte"` as Lucene keeps them (`nirank.kit.text.lengths`). How
Lucene computes query likelihood and TF-IDF is in `nirank.kit.text.lucene_weighting`.

Notation: tf the count of the term in the document, df the documents that contain it, cf its occurrences in all of them,
N the documents, |d| the terms of a document, avgdl their mean, |C| their sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from nirank.errors import BadInput, UnknownName
from nirank.kit.text.lengths import Counted, Lengths, Statistics, Totals

Doubles = NDArray[np.float64]


class Weighting(Protocol):
    """A sum over matching query tokens of `impacts(tf, per_term[t], per_document[d])`, plus a prior."""

    #: True where `impacts(tf, term, document)` is `term * impacts(tf, 1, document)`, to the bit.
    is_product: ClassVar[bool]

    def per_term(self, index: Statistics) -> Doubles:
        """One factor for each term, `[terms]`."""

    def per_document(self, index: Statistics) -> Doubles:
        """One factor for each document, `[documents]`."""

    def impacts(self, tf: Doubles, term: Any, document: Doubles) -> Doubles:
        """The worth of tokens with these counts and factors, `[matches]`: positive, or 0."""

    def prior(self, index: Statistics) -> Doubles | None:
        """The worth that each query token adds to every document, `[documents]`; None where that is nothing."""


def _lucene_idf(df: Doubles, n: int) -> Doubles:
    return np.log1p((n - df + 0.5) / (df + 0.5))


def _robertson_idf(df: Doubles, n: int) -> Doubles:
    return np.log(np.maximum((n - df + 0.5) / (df + 0.5), 1))


def _atire_idf(df: Doubles, n: int) -> Doubles:
    return np.log(n / df)


def _bm25l_idf(df: Doubles, n: int) -> Doubles:
    return np.log((n + 1) / (df + 0.5))


def _bm25plus_idf(df: Doubles, n: int) -> Doubles:
    return np.log((n + 1) / df)


@dataclass(frozen=True)
class BM25Weighting:
    """BM25, in the variants that Kamphuis et al. (ECIR 2020) set side by side.

    With K = k1 (1 - b + b |d| / avgdl) and c = tf / (1 - b + b |d| / avgdl):

        robertson   log((N - df + 0.5) / (df + 0.5)) tf / (tf + K)                Robertson et al., TREC-3, 1994
        lucene      log(1 + (N - df + 0.5) / (df + 0.5)) tf / (tf + K)            Lucene 8 and later
        atire       log(N / df) (k1 + 1) tf / (tf + K)                            Trotman et al., ADCS 2014
        bm25l       log((N + 1) / (df + 0.5)) (k1 + 1) (c + delta) / (k1 + c + delta)     Lv and Zhai, SIGIR 2011
        bm25+       log((N + 1) / df) ((k1 + 1) tf / (tf + K) + delta)            Lv and Zhai, CIKM 2011

    Robertson's idf is negative for terms in more than half of the documents; here these count nothing. The lower bounds
    of Lv and Zhai are for documents that contain the term: given to all documents they would not change a ranking.
    `delta` is theirs, by default 0.5 in bm25l and 1 in bm25+, and without meaning in the others.

    Raises `BadInput` for k1 or delta below 0 or b outside 0 to 1, `UnknownName` for another variant or other lengths.
    """

    k1: float
    b: float
    variant: str = "lucene"
    delta: float | None = None
    lengths: Lengths = "exact"
    is_product: ClassVar[bool] = True

    def __post_init__(self) -> None:
        Counted.check(self.lengths)
        if self.variant not in _VARIANTS:
            raise UnknownName("variant of BM25", self.variant, _VARIANTS)
        _require(0 <= self.k1 < np.inf, "k1", self.k1, "0 or more")
        _require(0 <= self.b <= 1, "b", self.b, "from 0 to 1")
        _require(0 <= self._delta < np.inf, "delta", self._delta, "0 or more")

    @property
    def _delta(self) -> float:
        return _VARIANTS[self.variant][1] if self.delta is None else self.delta

    def per_term(self, index: Statistics) -> Doubles:
        """The inverse document frequency, with the k1 + 1 of those that have it."""
        documents = Counted.of(index, self.lengths).documents
        idf = _VARIANTS[self.variant][0](index.document_frequencies.astype(np.float64), documents)
        return idf if self.variant in ("lucene", "robertson") else idf * (self.k1 + 1)

    def per_document(self, index: Statistics) -> Doubles:
        """1 - b + b |d| / avgdl."""
        counted = Counted.of(index, self.lengths)
        return 1 - self.b + self.b * (counted.lengths / counted.mean)

    def impacts(self, tf: Doubles, term: Any, document: Doubles) -> Doubles:
        """The variant's formula."""
        if self.variant == "bm25l":
            raised = tf / document + self._delta
            return term * (raised / (self.k1 + raised))
        saturated = tf / (tf + self.k1 * document)
        if self.variant == "bm25+":
            saturated += self._delta / (self.k1 + 1)
        return term * saturated

    def prior(self, index: Statistics) -> None:
        """None."""


_VARIANTS: dict[str, tuple[Callable[[Doubles, int], Doubles], float]] = {
    "lucene": (_lucene_idf, 0.0),
    "robertson": (_robertson_idf, 0.0),
    "atire": (_atire_idf, 0.0),
    "bm25l": (_bm25l_idf, 0.5),
    "bm25+": (_bm25plus_idf, 1.0),
}


@dataclass(frozen=True)
class DirichletWeighting:
    """Query likelihood with Dirichlet smoothing (Zhai and Lafferty, TOIS 22(2), 2004, section 3.2).

    Up to a constant of the query, with p(t|C) = cf / |C|:

        sum over tokens t of log(1 + tf / (mu p(t|C)))  +  |q| log(mu / (|d| + mu))

    Tokens that occur in no document belong neither to the sum nor to |q|. Raises `BadInput` for mu of 0 or less,
    `UnknownName` for other lengths.
    """

    mu: float
    lengths: Lengths = "exact"
    is_product: ClassVar[bool] = False

    def __post_init__(self) -> None:
        Counted.check(self.lengths)
        _require(0 < self.mu < np.inf, "mu", self.mu, "above 0")

    def per_term(self, index: Statistics) -> Doubles:
        """1 / (mu p(t|C))."""
        return Totals.of(index).occurrences / (self.mu * index.frequencies)

    def per_document(self, index: Statistics) -> Doubles:
        """1: a document's length is in the prior."""
        return np.ones(len(index.lengths))

    def impacts(self, tf: Doubles, term: Any, document: Doubles) -> Doubles:  # noqa: ARG002
        """log(1 + tf / (mu p(t|C)))."""
        return np.log1p(tf * term)

    def prior(self, index: Statistics) -> Doubles:
        """log(mu / (|d| + mu))."""
        return np.log(self.mu / (Counted.of(index, self.lengths).lengths + self.mu))


@dataclass(frozen=True)
class JelinekMercerWeighting:
    """Query likelihood with Jelinek-Mercer smoothing (Zhai and Lafferty, TOIS 22(2), 2004, section 3.1).

    Up to a constant of the query, with p(t|C) = cf / |C|:

        sum over tokens t of log(1 + (1 - lambda) tf / (lambda |d| p(t|C)))

    Raises `BadInput` unless lambda is between 0 and 1, `UnknownName` for other lengths.
    """

    lambda_: float
    lengths: Lengths = "exact"
    is_product: ClassVar[bool] = False

    def __post_init__(self) -> None:
        Counted.check(self.lengths)
        _require(0 < self.lambda_ < 1, "lambda_", self.lambda_, "between 0 and 1")

    def per_term(self, index: Statistics) -> Doubles:
        """(1 - lambda) / (lambda p(t|C))."""
        return (1 - self.lambda_) / self.lambda_ * (Totals.of(index).occurrences / index.frequencies)

    def per_document(self, index: Statistics) -> Doubles:
        """|d|, of documents that have any terms."""
        return np.maximum(Counted.of(index, self.lengths).lengths, 1).astype(np.float64)

    def impacts(self, tf: Doubles, term: Any, document: Doubles) -> Doubles:
        """log(1 + (1 - lambda) tf / (lambda |d| p(t|C)))."""
        return np.log1p(tf * term / document)

    def prior(self, index: Statistics) -> None:
        """None."""


@dataclass(frozen=True)
class TFIDFWeighting:
    """TF-IDF as the documentation of Lucene's ClassicSimilarity defines it.

    sqrt(tf) idf^2 / sqrt(|d|), where idf = 1 + log((N + 1) / (df + 1)): once for the query's vector, once for the
    document's. (The program itself multiplies by idf once: `lucene_weighting.LuceneTFIDFWeighting`.) Raises
    `UnknownName` for other lengths.
    """

    lengths: Lengths = "exact"
    is_product: ClassVar[bool] = True

    def __post_init__(self) -> None:
        Counted.check(self.lengths)

    def per_term(self, index: Statistics) -> Doubles:
        """idf^2."""
        documents = Counted.of(index, self.lengths).documents
        return (1 + np.log((documents + 1) / (index.document_frequencies + 1))) ** 2

    def per_document(self, index: Statistics) -> Doubles:
        """|d|, of documents that have any terms."""
        return np.maximum(Counted.of(index, self.lengths).lengths, 1).astype(np.float64)

    def impacts(self, tf: Doubles, term: Any, document: Doubles) -> Doubles:
        """sqrt(tf) idf^2 / sqrt(|d|)."""
        return term * np.sqrt(tf / document)

    def prior(self, index: Statistics) -> None:
        """None."""


def _require(holds: bool, name: str, value: float, expected: str) -> None:
    if not holds:
        raise BadInput(f"{name} is {value}; it must be {expected}.")
