"""RM3 in Lucene: queries expanded by the documents found first, as Anserini's `Rm3Reranker` estimates it.

Lavrenko and Croft, Relevance-Based Language Models, SIGIR 2001; Abdul-Jaleel et al., UMass at TREC 2004: Novelty and
HARD. With the best `fb_docs` documents F, each of which keeps its `fb_terms` most frequent terms,

    P(w|F) ~ sum over d in F of score(Q, d) tf(w, d) / |d|          the fb_terms best, then scaled to a sum of 1
    P(w)   = original_query_weight P(w|Q) + (1 - original_query_weight) P(w|F)

A term may expand a query if it has 2 to 20 characters, with `filter_terms` from a to z and 0 to 9 only, and occurs in
no more than a tenth of the documents.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nirank.data import Corpus, Queries
from nirank.errors import BadInput
from nirank_lucene.analysis import LuceneAnalysis
from nirank_lucene.java import exclusive, java, utf16
from nirank_lucene.ranker import LuceneRanker, Place, Similarity, text_of
from nirank_lucene.search import bag, query, read

_MODEL, _ANALYSIS, _PLACE = Similarity(), LuceneAnalysis(), Place()


class LuceneRM3(LuceneRanker):
    """RM3 in Lucene: what is found first expands the query, which is then searched or scored: `lucene_rm3 % 1000`.

    `fb_terms`, `fb_docs` and `original_query_weight` are Anserini's settings, with its defaults; the other ones are
    those of `lucene`, and decide both searches. The first search finds `fb_docs` documents, however many are kept.
    An index made elsewhere needs vectors of terms, which Anserini writes with `-storeDocvectors`.

    Raises `UnknownName` or `BadInput` for settings that make no sense.
    """

    def __init__(
        self,
        fb_terms: int = 10,
        fb_docs: int = 10,
        original_query_weight: float = 0.5,
        filter_terms: bool = True,
        *,
        model: Similarity = _MODEL,
        analysis: LuceneAnalysis = _ANALYSIS,
        place: Place = _PLACE,
    ) -> None:
        if fb_terms < 1 or fb_docs < 1 or not 0 <= original_query_weight <= 1:
            raise BadInput(
                f"fb_terms = {fb_terms}, fb_docs = {fb_docs}, original_query_weight = {original_query_weight}: "
                "whole numbers from 1, and a share from 0 to 1, are expected."
            )
        self.fb_terms, self.fb_docs, self.filter_terms = fb_terms, fb_docs, filter_terms
        self.original_query_weight = float(original_query_weight)
        own = ("fb_terms", "fb_docs", "original_query_weight", "filter_terms")
        super().__init__(model, analysis, place, **{name: getattr(self, name) for name in own})

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Open the index. Raises `StaleIndex` where it is incomplete or of another corpus."""
        super().open(corpus, folder)
        with exclusive():
            own = self.analysis.analyzer, None, self.field, self.fb_terms, self.fb_docs, self.original_query_weight
            self._reranker = java("io.anserini.rerank.lib.Rm3Reranker")(*own, False, self.filter_terms)

    def _query(self, queries: Queries, row: int) -> Any:
        return query(self.expanded(text_of(queries, row)), self.field)

    def expanded(self, text: str) -> dict[str, float]:
        """The terms of a query with those that it is expanded by, and their weights; none where it finds nothing.

        Raises `BadInput` where the index has no vectors of terms.
        """
        self._ready()
        with exclusive():
            first_query, searcher = bag(text, self.analysis, self.field), self.searcher.java
            found = java("io.anserini.search.ScoredDocs").fromTopDocs(
                searcher.search(first_query, self.fb_docs), searcher
            )
            numbers = found.lucene_docids
            if not numbers:
                return {}
            if searcher.getIndexReader().termVectors().get(numbers[0], self.field) is None:
                why = f"the index has no term vectors of the field {self.field!r}, which RM3 needs: index with them."
                raise BadInput(why, self.place.index)
            return self._feedback(found, first_query, text)

    def _feedback(self, found: Any, first_query: Any, text: str) -> dict[str, float]:
        """The model that Anserini estimates and leaves in the context. It searches by it, too: for nothing, here."""
        terms = java("io.anserini.analysis.AnalyzerUtils").analyze(self.analysis.analyzer, utf16(text))
        nothing, arguments = java("org.apache.lucene.search.MatchNoDocsQuery")(), _arguments()
        kind = java("io.anserini.rerank.RerankerContext")
        context = kind(self.searcher.java, None, first_query, None, utf16(text), terms, nothing, arguments)
        self._reranker.rerank(found, context)
        weights: dict[str, float] = read(context.feedbackTerms)
        return weights


def _arguments() -> Any:
    """Arguments of Anserini's own search: one document, and no order among equal ones."""
    arguments = java("io.anserini.search.SearchCollection$Args")()
    arguments.hits, arguments.arbitraryScoreTieBreak = 1, True
    return arguments


def tiny() -> LuceneRM3:
    """Three terms of three documents, for one thread."""
    return LuceneRM3(fb_terms=3, fb_docs=3, place=Place(threads=1))
