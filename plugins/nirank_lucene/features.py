"""Statistics of terms as features of a query and a document: the extractor `lucene_features`.

Notation: tf the count of a query term in the document, df and cf in how many documents and how often in all it occurs,
N the documents and C the tokens of the index. "Terms" are the distinct ones of the query that the index knows, and
idf is that of Lucene's BM25, log(1 + (N - df + 0.5) / (df + 0.5)).

    bm25, ql_dirichlet, ql_jelinek_mercer, tfidf    Lucene's similarities; tfidf is ClassicSimilarity, whose code has
                                idf once and not squared: sqrt(tf) (1 + log((N + 1) / (df + 1))) / sqrt(|d|)
    matched, matched_share      terms that the document has, and their share
    idf                         the idf of these, added up
    tf_sum, tf_max, tf_idf_sum  of tf and of tf idf, over these
    query_length                the tokens of the query, known or not
    terms                       how many terms there are
    idf_mean, idf_max           over all terms, as all below
    ictf_mean, ictf_max         of log(C / cf)
    scq_mean, scq_max           of (1 + log cf) log(1 + N / df)

Each number of a document is the score of a search of Lucene's among the candidates: a similarity and a weight for each
term say which. What depends on the query alone helps a ranker to tell queries apart (ictf: Kwok, SIGIR 1996; scq: Zhao,
Scholer and Tsegay, Effective Pre-Retrieval Query Performance Prediction, ECIR 2008).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Corpus, Floats, Ints, Queries
from nirank.errors import BadInput, UnknownName
from nirank_lucene.analysis import LuceneAnalysis
from nirank_lucene.java import exclusive, java, utf16
from nirank_lucene.ranker import LuceneComponent, Place, Similarity, text_of
from nirank_lucene.search import Searcher, among, documents, highest, joined, query

Doubles = NDArray[np.float64]
_ANALYSIS, _PLACE = LuceneAnalysis(), Place()


@dataclass(frozen=True, eq=False)
class QueryStatistics:
    """The distinct terms of a query that an index knows, with what it knows of them: columns `[terms]`.

    `tokens` is how many terms the query has in a row, known or not.
    """

    names: Sequence[str]
    counts: Doubles
    df: Doubles
    cf: Doubles
    size: int
    collection: int
    tokens: int

    @cached_property
    def ones(self) -> Doubles:
        """One for each."""
        return np.ones(len(self.names))

    @cached_property
    def idf(self) -> Doubles:
        """The inverse document frequency, as Lucene's BM25 has it."""
        return np.log1p((self.size - self.df + 0.5) / (self.df + 0.5))

    @cached_property
    def ictf(self) -> Doubles:
        """The inverse frequency in the collection."""
        return np.log(self.collection / self.cf)

    @cached_property
    def scq(self) -> Doubles:
        """The similarity of the collection and the query."""
        return (1 + np.log(self.cf)) * np.log1p(self.size / self.df)

    def query(self, weights: str, field: str, make: Callable[..., Any] = query) -> Any:
        """The query in which each term has the weight called `weights`."""
        return make(dict(zip(self.names, getattr(self, weights).tolist(), strict=True)), field)


#: For each feature of a document the similarity, the weights of terms, and how matches are put together.
_OF_DOCUMENT: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "bm25": ("bm25", "counts", query),
    "ql_dirichlet": ("ql_dirichlet", "counts", query),
    "ql_jelinek_mercer": ("ql_jelinek_mercer", "counts", query),
    "tfidf": ("tfidf", "counts", query),
    "matched": ("match", "ones", query),
    "matched_share": ("match", "ones", query),
    "idf": ("match", "idf", query),
    "tf_sum": ("tf", "ones", query),
    "tf_max": ("tf", "ones", highest),
    "tf_idf_sum": ("tf", "idf", query),
}
_OF_QUERY: dict[str, Callable[[QueryStatistics], float]] = {
    "query_length": lambda terms: terms.tokens,
    "terms": lambda terms: len(terms.names),
    "idf_mean": lambda terms: float(terms.idf.mean()) if len(terms.names) else 0.0,
    "idf_max": lambda terms: float(terms.idf.max(initial=0)),
    "ictf_mean": lambda terms: float(terms.ictf.mean()) if len(terms.names) else 0.0,
    "ictf_max": lambda terms: float(terms.ictf.max(initial=0)),
    "scq_mean": lambda terms: float(terms.scq.mean()) if len(terms.names) else 0.0,
    "scq_max": lambda terms: float(terms.scq.max(initial=0)),
}
#: Every feature, in the order in which they come.
FEATURES = (*_OF_DOCUMENT, *_OF_QUERY)


class LuceneFeatures(LuceneComponent):
    """Statistics of terms in a Lucene index: `features(lucene_features) >> linear`. See `nirank_lucene.features`.

    `names` chooses features, in that order; None: all of them. `k1` and `b` are those of BM25, `mu` and
    `lambda_` those of query likelihood; the other settings are those of `lucene`, with which it shares its index.

    Raises `UnknownName` for a feature that there is not, `BadInput` for other settings that make no sense.
    """

    def __init__(
        self,
        names: Sequence[str] | None = None,
        k1: float = 0.9,
        b: float = 0.4,
        mu: float = 1000.0,
        lambda_: float = 0.1,
        *,
        analysis: LuceneAnalysis = _ANALYSIS,
        place: Place = _PLACE,
    ) -> None:
        Similarity(k1=k1, b=b, mu=mu)  # refuses now what makes no sense
        if not 0 < lambda_ <= 1:
            raise BadInput(f"lambda_ = {lambda_}; a number above 0 and up to 1 is expected.")
        self.k1, self.b, self.mu, self.lambda_ = float(k1), float(b), float(mu), float(lambda_)
        self.names = _chosen(names)
        super().__init__(analysis, place, names=self.names, k1=self.k1, b=self.b, mu=self.mu, lambda_=self.lambda_)

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Open the index. Raises `StaleIndex` where it is incomplete or of another corpus."""
        super().open(corpus, folder)
        similarities = self._similarities()
        used = {_OF_DOCUMENT[name][0] for name in self.names if name in _OF_DOCUMENT}
        with exclusive():
            self._searchers = {name: self._searcher(similarities[name]()) for name in used}
            statistics = self._searcher(similarities["match"]()).java.collectionStatistics(self.field)
            self._documents = statistics.docCount() if statistics else 0
            self._tokens = statistics.sumTotalTermFreq() if statistics else 0

    def extract(self, queries: Queries, candidates: Candidates) -> Floats:
        """The features of each pair, float32 `[pairs, names]`. A document beyond the corpus is an empty one."""
        corpus, pairs = self._ready(), candidates.rows
        values = np.empty((candidates.pairs, len(self.names)), np.float32)
        with exclusive():
            terms = [self._terms(text_of(queries, row)) for row in range(len(queries))]
            limits = _Limits(candidates, corpus)
            for column, name in enumerate(self.names):
                values[:, column] = self._feature(name, terms, pairs, limits)
        return values

    def _feature(self, name: str, terms: Sequence[QueryStatistics], pairs: Ints, limits: _Limits) -> Floats:
        """A column, `[pairs]`."""
        if name in _OF_QUERY:
            return np.array([_OF_QUERY[name](each) for each in terms], np.float32)[pairs]
        similarity, weights, make = _OF_DOCUMENT[name]
        lucene_queries = [each.query(weights, self.field, make) for each in terms]
        scores = limits.scores(self._searchers[similarity], lucene_queries)
        if name == "matched_share":
            return scores / np.array([max(1, len(each.names)) for each in terms], np.float32)[pairs]
        return scores

    def _terms(self, text: str) -> QueryStatistics:
        counts, reader, term = self.analysis.counts(text), self.opened.reader, java("org.apache.lucene.index.Term")
        lucene_terms = {name: term(self.field, utf16(name)) for name in counts}
        known = [name for name in counts if reader.docFreq(lucene_terms[name])]
        rows = [
            (counts[name], reader.docFreq(lucene_terms[name]), reader.totalTermFreq(lucene_terms[name]))
            for name in known
        ]
        count, df, cf = np.array(rows, np.float64).reshape(-1, 3).T
        return QueryStatistics(known, count, df, cf, self._documents, self._tokens, counts.total())

    def _similarities(self) -> dict[str, Callable[[], Any]]:
        of = "org.apache.lucene.search.similarities"
        return {
            "bm25": lambda: java(f"{of}.BM25Similarity")(self.k1, self.b),
            "ql_dirichlet": lambda: java(f"{of}.LMDirichletSimilarity")(self.mu),
            "ql_jelinek_mercer": lambda: java(f"{of}.LMJelinekMercerSimilarity")(self.lambda_),
            "tfidf": lambda: java(f"{of}.ClassicSimilarity")(),
            "match": lambda: java(f"{of}.BooleanSimilarity")(),
            "tf": lambda: java("io.anserini.search.similarity.ImpactSimilarity")(),
        }


class _Limits:
    """The documents of each query, as what restricts a search to them."""

    def __init__(self, candidates: Candidates, corpus: Corpus) -> None:
        self._candidates, self._corpus = candidates, corpus
        self._size = max(1, int(candidates.lengths.max(initial=0)))
        rows = [np.unique(candidates[row][0]) for row in range(len(candidates))]
        inside = [docs[docs < len(corpus)] for docs in rows]
        self._documents = [documents(corpus, docs) if len(docs) else None for docs in inside]

    def scores(self, searcher: Searcher, lucene_queries: Sequence[Any]) -> Floats:
        """The score of each pair in a search; 0 where the document is not found, `[pairs]`."""
        both = zip(self._documents, lucene_queries, strict=True)
        limited = [None if docs is None else among(docs, query) for docs, query in both]
        return self._candidates.lookup(joined(searcher.search(limited, self._size), self._corpus), default=0.0)


def _chosen(names: Sequence[str] | None) -> tuple[str, ...]:
    chosen = FEATURES if names is None else tuple(names)
    for name in chosen:
        if name not in FEATURES:
            raise UnknownName("feature", name, FEATURES)
    if not chosen or len(set(chosen)) < len(chosen):
        raise BadInput(f"names = {list(chosen)}: one or several features are expected, each once.")
    return chosen


def tiny() -> LuceneFeatures:
    """An extractor of all features, for one thread."""
    return LuceneFeatures(place=Place(threads=1))
