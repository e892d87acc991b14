"""Query expansion by the terms that are more frequent in the best documents than chance lets one expect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates
from nirank.errors import BadInput
from nirank_expansion.feedback import FeedbackEncoder, TermFilter
from nirank_expansion.feedback_terms import Doubles, TermRows
from nirank_expansion.settings import TermAnalysis

_ANALYSIS = TermAnalysis()
_EVERY_TERM = TermFilter(max_df=1.0, min_length=0, max_length=1 << 30, latin=False)


class DivergenceEncoder(FeedbackEncoder):
    """The expansion that `Bo1` and `KL` share: Terrier's choice of terms (DFRBagExpansionTerms), and its weights.

    The documents found are one bag, in which the term w occurs tf_x times. It is as informative as a subclass says, or
    not at all where it is in fewer than `min_docs` of them; this does not hold for the query's own terms, nor where
    fewer documents were found. The best `terms` expand the query, or as many as it has different ones, where these are
    more. With qtf the count of a term in the query:

        weight(w) = qtf / max qtf  +  informative(w) / normaliser

    The normaliser is the weight that the best term would have if it were in no other documents. A query for which
    nothing was found keeps its own weights.
    """

    def __init__(self, terms: int = 10, min_docs: int = 2, *, analysis: TermAnalysis = _ANALYSIS) -> None:
        if terms < 1 or min_docs < 1:
            raise BadInput(f"terms = {terms}, min_docs = {min_docs}: whole numbers from 1 are expected.")
        super().__init__(_EVERY_TERM, analysis)
        self.terms, self.min_docs = terms, min_docs

    def __repr__(self) -> str:
        return f"{type(self).__name__}(terms={self.terms}, min_docs={self.min_docs}, {self.analyzer})"

    def _weigh(self, query_terms: TermRows, counts: TermRows, found: Candidates) -> TermRows:
        largest = np.ones(query_terms.size)
        np.maximum.at(largest, query_terms.rows, query_terms.values)
        bag = counts.joined(found.rows, len(found))
        informative = self._informative(bag, self._considered(query_terms, counts, found))
        distinct = np.bincount(query_terms.rows, minlength=query_terms.size)
        expansion = informative.best(np.maximum(self.terms, distinct))
        return TermRows.sum([query_terms.times(1 / largest), expansion])

    def _considered(self, query_terms: TermRows, counts: TermRows, found: Candidates) -> NDArray[np.bool_]:
        """True for each entry of the bag that may be informative: each term of the documents of a query."""
        docs = TermRows.of(found.rows[counts.rows], counts.terms, 1.0, len(found))
        width = 1 + max(int(docs.terms.max(initial=0)), int(query_terms.terms.max(initial=0)))
        asked = np.isin(docs.rows * width + docs.terms, query_terms.rows * width + query_terms.terms)
        few: NDArray[np.bool_] = found.lengths[docs.rows] < self.min_docs
        return asked | few | (docs.values >= self.min_docs)

    def _informative(self, bag: TermRows, considered: NDArray[np.bool_]) -> TermRows:
        """The normalised weight of each entry of the bag."""
        frequencies = self._opened().frequencies
        tokens = np.bincount(bag.rows, bag.values, bag.size).astype(np.float64)
        made = self._divergence(bag.values, frequencies[bag.terms].astype(np.float64), tokens[bag.rows])
        weights = np.where(considered, made, 0)
        order, rows = np.lexsort((-weights, bag.rows)), np.flatnonzero(tokens)
        best = order[np.searchsorted(bag.rows, rows)]
        normalisers = np.ones(bag.size)
        normalisers[rows] = self._divergence(bag.values[best], bag.values[best], tokens[rows])
        normalised = TermRows(bag.rows, bag.terms, weights, bag.size)
        return normalised.times(1 / np.where(normalisers > 0, normalisers, 1))

    def _divergence(self, tf: Doubles, cf: Doubles, tokens: Doubles) -> Doubles:
        """What terms are worth that occur `tf` times in documents of so many `tokens`, and `cf` times in all."""
        raise NotImplementedError


class Bo1(DivergenceEncoder):
    """Expands a query by Bose-Einstein statistics: Amati's Bo1, Terrier's default.

    `bm25 % 3 >> bo1 >> bm25`. Amati, Probability Models for Information Retrieval based on Divergence from Randomness,
    thesis, Glasgow, 2003. With P = cf / N, the mean count of a term in the N documents of the collection:

        informative(w) = tf_x log2((1 + P) / P) + log2(1 + P)

    and the same with P = tf_x / N is the normaliser. Terms and weights are chosen as `DivergenceEncoder` says: 3
    documents, 10 terms and terms that are in 2 documents are Terrier's defaults, and the ranking before says how many
    documents there are. Of equally informative terms the first in the index are taken. The analyser's settings
    (`language` to `stopwords`) are to be those of the ranking that follows.

    Raises `BadInput` for settings that make no sense and without a ranking before it, `StaleIndex` where there is no
    index yet.
    """

    name = "bo1"

    def _divergence(self, tf: Doubles, cf: Doubles, tokens: Doubles) -> Doubles:  # noqa: ARG002
        expected = cf / len(self._opened())
        return tf * np.log2((1 + expected) / expected) + np.log2(1 + expected)


class KL(DivergenceEncoder):
    """Expands a query by the divergence of Kullback and Leibler between the best documents and the collection.

    `bm25 % 3 >> kl_expansion >> bm25`. Carpineto, de Mori, Romano and Bigi, An Information-Theoretic Approach to
    Automatic Query Expansion, ACM TOIS 19(1), 2001, as Amati's thesis and Terrier have it. With |x| the terms of the
    documents found and |C| those of the collection, P_x = tf_x / |x| and P_C = cf / |C|:

        informative(w) = P_x log2(P_x / P_C), 0 where P_x is less than P_C

    and the same with P_C = tf_x / |C| is the normaliser. All else is as in `Bo1`.
    """

    name = "kl_expansion"

    def _divergence(self, tf: Doubles, cf: Doubles, tokens: Doubles) -> Doubles:
        share, expected = tf / tokens, cf / len(self._opened().terms)
        return np.where(share < expected, 0, share * np.log2(share / expected))


def tiny_bo1() -> Bo1:
    """Three terms."""
    return Bo1(terms=3)


def tiny_kl() -> KL:
    """Three terms."""
    return KL(terms=3)
