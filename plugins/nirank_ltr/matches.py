"""Features of a pair by name, computed from the matches that a scan of the document found.

Notation: tf the count of a query term in the document, |d| the terms of the document, idf that of Lucene's BM25,
log(1 + (N - df + 0.5) / (df + 0.5)). "Terms" of the query are its distinct ones that the index knows.

    bm25, ql_dirichlet, ql_jelinek_mercer, tfidf    the models of `nirank.kit.text`, as the rankers `bm25`, `ql` and
                                                    `tfidf` compute them, to the bit
    matched, matched_share      terms that the document has, and their share (the coordination level)
    idf, idf_share              the idf of these, added up, and its share of that of all terms
    tf_sum, tf_min, tf_max, tf_mean                 of tf, over all terms, those with 0 as well
    norm_tf_sum, ...            of tf / |d|
    tf_idf_sum, ...             of tf idf
    length, query_length        |d|; the terms of the query in a row, known or not
    phrase                      at how many places of the document the whole query stands, term after term
    ordered                     of each two neighbours in the query, how often they stand side by side in that order
    unordered                   of each two neighbours, how many pairs of places of them lie within a window of terms
    min_distance                how far the nearest places of two different terms lie apart; |d| where there are none
    min_cover                   the terms of the shortest piece of the document that has all terms which it has at all
    proximity                   log(0.3 + exp(-min_distance))

Coordination, sums, least, largest and mean values are LETOR's (Liu, Learning to Rank for Information Retrieval, 2009);
`phrase`, `ordered` and `unordered` count what the sequential dependence model does (Metzler and Croft, A Markov Random
Field Model for Term Dependencies, SIGIR 2005); the last three are Tao and Zhai's, An Exploration of Proximity Measures
in Information Retrieval, SIGIR 2007. Places are those of index terms: a stop word leaves no gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats
from nirank.kit.text import BM25Weighting, ForwardIndex, Weighting
from nirank_ltr import scan
from nirank_ltr.query_terms import Numbers, QueryColumns

Doubles = NDArray[np.float64]

_ALPHA = 0.3  # as Tao and Zhai chose it


class IndexedField:
    """The texts of a corpus, or of one field of it, under weightings by name."""

    def __init__(self, index: ForwardIndex, weightings: Mapping[str, Weighting]) -> None:
        self.index, self.weightings = index, weightings
        self.lengths = index.lengths
        self.texts = scan.TextColumns(scan.read_only(index.offsets), scan.read_only(index.terms))
        self.per_term = {name: weighting.per_term(index) for name, weighting in weightings.items()}
        self.per_document = {name: weighting.per_document(index) for name, weighting in weightings.items()}
        self.priors = {name: weighting.prior(index) for name, weighting in weightings.items()}
        self.idf = BM25Weighting(0.9, 0.4).per_term(index)

    def matches(
        self,
        query_terms: QueryColumns,
        rows: Numbers,
        docs: Numbers,
        window: int,
        proximity: bool,
        query_lengths: Numbers,
    ) -> Matches:
        """The matches of the queries `rows` in the documents `docs`, beside one another."""
        sizes = np.diff(query_terms.offsets)[rows]
        found = scan.room(len(rows), int(sizes.sum()))
        known = QueryColumns(*map(scan.read_only, query_terms))
        scan.scan(self.texts, known, scan.read_only(rows), scan.read_only(docs), window, proximity, found)
        return Matches(self, query_terms, rows, docs, found, query_lengths[rows])


@dataclass(frozen=True, eq=False)
class Matches:
    """The matches of queries in documents, pair by pair; each feature is a column `[pairs]`."""

    field: IndexedField
    query_terms: QueryColumns
    rows: Numbers
    docs: Numbers
    found: scan.FoundColumns
    query_length: Numbers

    def feature(self, name: str) -> NDArray[Any]:
        """The feature of that name."""
        return FEATURES[name](self)

    @cached_property
    def tf(self) -> Doubles:
        """Of each match, `[matches]`, as the columns below are."""
        return self.found.counts[: self.found.ends[-1]]

    @cached_property
    def places(self) -> Numbers:
        """The place of the term of each match among those of all queries."""
        return self.found.terms[: self.found.ends[-1]]

    @cached_property
    def terms(self) -> Numbers:
        """The number of the term of each match."""
        return self.query_terms.terms[self.places]

    @cached_property
    def of_docs(self) -> Numbers:
        """The document of each match."""
        return np.repeat(self.docs, self.matched)

    @cached_property
    def matched(self) -> Numbers:
        """The number of terms of the query that each document has, `[pairs]`, as the columns below are."""
        return np.diff(self.found.ends)

    @cached_property
    def known(self) -> Numbers:
        """The number of distinct terms of the query."""
        return np.diff(self.query_terms.offsets)[self.rows]

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """True where the document is one of the index."""
        return self.docs < len(self.field.lengths)

    @cached_property
    def length(self) -> Numbers:
        """The terms of the document."""
        return np.where(self.inside, self.field.lengths[np.where(self.inside, self.docs, 0)], 0)

    @cached_property
    def idf(self) -> Doubles:
        """The idf of all matches of a pair, added up."""
        return self._summary(self.field.idf[self.terms])[:, 0]

    def model(self, name: str) -> Floats:
        """The score under a weighting: float32, added up in the order in which lexical search adds it up."""
        per_term, per_document = self.field.per_term[name], self.field.per_document[name]
        impacts = self.field.weightings[name].impacts(self.tf, per_term[self.terms], per_document[self.of_docs])
        sums, weights = np.empty(len(self.rows), np.float32), self.query_terms.counts[self.places].astype(np.float32)
        scan.add_up(impacts.astype(np.float32), weights, self.found.ends, sums)
        prior = self.field.priors[name]
        if prior is not None:
            own, tokens = self.inside, _summed(self.query_terms.counts, self.query_terms.offsets).astype(np.float32)
            sums[own] += tokens[self.rows[own]] * prior.astype(np.float32)[self.docs[own]]
        return sums

    def spread(self, kind: str) -> NDArray[Any]:
        """`tf_min`, `norm_tf_sum` and the like."""
        values, _, statistic = kind.rpartition("_")
        total, least, largest = self._spreads(values).T
        if statistic == "mean":
            return total / np.maximum(self.known, 1)
        least = np.where(self.matched == self.known, least, 0)  # a term that the document lacks has 0
        return {"sum": total, "min": least, "max": largest}[statistic]

    def _spreads(self, values: str) -> Doubles:
        known = self._summaries
        if values not in known:
            known[values] = self._summary(_VALUES[values](self))
        return known[values]

    @cached_property
    def _summaries(self) -> dict[str, Doubles]:
        return {}

    def _summary(self, values: Doubles) -> Doubles:
        """Sum, least and largest of the matches of each pair, `[pairs, 3]`."""
        found = np.empty((len(self.rows), 3))
        scan.summarise(np.ascontiguousarray(values), self.found.ends, found)
        return found

    def near(self, column: int) -> Numbers:
        """One of the columns of `scan.FoundColumns.near`."""
        return self.found.near[:, column]


def _share(part: NDArray[Any], whole: NDArray[Any]) -> Doubles:
    """Part by whole; 0 where there is no whole."""
    return part / np.where(whole == 0, 1, whole)


def _idf_share(matches: Matches) -> Doubles:
    whole = _summed(matches.field.idf[matches.query_terms.terms], matches.query_terms.offsets)
    return _share(matches.idf, whole[matches.rows])


def _proximity(matches: Matches) -> Doubles:
    return np.log(_ALPHA + np.exp(-matches.near(scan.DISTANCE).astype(np.float64)))


def _summed(values: NDArray[Any], offsets: Numbers) -> Doubles:
    """The sums of runs of values."""
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return np.bincount(rows, values.astype(np.float64), len(offsets) - 1).astype(np.float64)


_VALUES: dict[str, Callable[[Matches], Doubles]] = {
    "tf": lambda matches: matches.tf,
    "norm_tf": lambda matches: matches.tf / matches.field.lengths[matches.of_docs],
    "tf_idf": lambda matches: matches.tf * matches.field.idf[matches.terms],
}
_SPREADS = [f"{values}_{statistic}" for values in _VALUES for statistic in ("sum", "min", "max", "mean")]
#: The models, by the names of their features.
MODELS = ("bm25", "ql_dirichlet", "ql_jelinek_mercer", "tfidf")
#: Features that depend on the places of terms.
PROXIMITY = ("phrase", "ordered", "unordered", "min_distance", "min_cover", "proximity")
#: Every feature, in the order in which they come.
FEATURES: dict[str, Callable[[Matches], NDArray[Any]]] = {
    **{name: partial(Matches.model, name=name) for name in MODELS},
    "matched": lambda matches: matches.matched,
    "matched_share": lambda matches: _share(matches.matched, matches.known),
    "idf": lambda matches: matches.idf,
    "idf_share": _idf_share,
    **{name: partial(Matches.spread, kind=name) for name in _SPREADS},
    "length": lambda matches: matches.length,
    "query_length": lambda matches: matches.query_length,
    **{
        name: partial(Matches.near, column=column)
        for column, name in enumerate(("phrase", "ordered", "unordered", "min_distance", "min_cover"))
    },
    "proximity": _proximity,
}
