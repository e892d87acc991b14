"""Query expansion by a relevance model: the terms that are frequent in the best documents found."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from nirank.data import Candidates
from nirank.errors import BadInput, UnknownName
from nirank_expansion.feedback import FeedbackEncoder, TermFilter
from nirank_expansion.feedback_terms import Doubles, TermRows
from nirank_expansion.mixture import check_share
from nirank_expansion.settings import TermAnalysis

Weights = Literal["score", "likelihood"]
_PASSING, _ANALYSIS = TermFilter(), TermAnalysis()


class RM3(FeedbackEncoder):
    """Expands a query by the terms of a relevance model of the documents found.

    `bm25 % 10 >> rm3 >> bm25`. Lavrenko and Croft, Relevance-Based Language Models, SIGIR 2001 (RM1, the estimate by
    i.i.d. sampling), mixed with the query as Abdul-Jaleel et al., UMass at TREC 2004, do it (RM3). Over the documents d
    that were found, with tf(w, d) the count of the term w among those that pass the filter:

        P(w|d) = tf(w, d) / sum over terms v of tf(v, d)
        P(w|R) ~ sum over d of P(w|d) P(Q|d)
        P(w)   = original_query_weight P(w|Q) + (1 - original_query_weight) P(w|R)

    Only the `terms` likeliest of P(w|R) are kept, made to add up to 1. P(w|Q) counts all terms of the query, those that
    no document has among them. The ranking before says how many documents there are. The defaults are Anserini's
    (Rm3Reranker):

    - `prune`: each document is first cut to its `terms` most frequent terms.
    - `formula` = "lucene": of equally frequent terms, and of equally likely ones, those are left that come first in the
      alphabet, and scores are weights, as in Anserini. With "paper" it is the order of the index that decides among
      them: on Cranfield the average precision of a query differs by .019 in the mean from Anserini's, and by .005 with
      `terms` large enough that nothing is cut.
    - `weights` = "score": the score of a document stands for P(Q|d), and those with scores below 0 count nothing. With
      "likelihood" P(Q|d) is exp(score), up to a factor of the query, as the paper has it where scores are logarithms of
      likelihoods. None: "likelihood" after a ranking whose scores are such (`ql` with the paper's formula), "score"
      after any other.
    - `max_df` to `latin`: only terms of 2 to 20 of the characters a to z and 0 to 9 that are in at most a tenth of all
      documents pass the filter, `nirank_expansion.feedback.TermFilter`.

    The analyser's settings (`language` to `stopwords`) are to be those of the ranking that follows.

    Raises `BadInput` for settings that make no sense and without a ranking before it, `UnknownName` for other weights,
    `StaleIndex` where there is no index yet.
    """

    name = "rm3"

    def __init__(
        self,
        terms: int = 10,
        original_query_weight: float = 0.5,
        weights: Weights | None = None,
        prune: bool = True,
        *,
        passing: TermFilter = _PASSING,
        analysis: TermAnalysis = _ANALYSIS,
    ) -> None:
        if terms < 1:
            raise BadInput(f"terms is {terms}; it must be 1 or more.")
        if weights is not None and weights not in get_args(Weights):
            raise UnknownName("weight of documents", weights, get_args(Weights))
        check_share("original_query_weight", original_query_weight)
        super().__init__(passing, analysis)
        self.terms, self.original_query_weight = terms, original_query_weight
        self.weights, self.prune = weights, prune

    def __repr__(self) -> str:
        names = ("terms", "original_query_weight", "weights", "prune")
        own = {name: getattr(self, name) for name in names}
        return f"RM3({', '.join(f'{name}={value!r}' for name, value in own.items())}, {self.passing}, {self.analyzer})"

    def _weigh(self, query_terms: TermRows, counts: TermRows, found: Candidates) -> TermRows:
        counts = self._best(counts, self.terms) if self.prune else counts
        relevant = counts.shares().times(self._document_weights(found)).joined(found.rows, len(found))
        relevant = self._best(relevant, self.terms).shares()
        share = self.original_query_weight
        return TermRows.sum([query_terms.shares().times(share), relevant.times(1 - share)])

    def _document_weights(self, found: Candidates) -> Doubles:
        """P(Q|d) of each pair, up to a factor of the query, `[pairs]`."""
        scores = found.scores.astype(np.float64)
        if not self._are_likelihoods(found):
            return np.maximum(scores, 0)
        best = np.append(scores, 0)[found.offsets[:-1]]  # documents stand by falling score
        return np.exp(scores - best[found.rows])

    def _are_likelihoods(self, found: Candidates) -> bool:
        if self.weights is None:
            return found.log_likelihoods and self.passing.formula == "paper"
        return self.weights == "likelihood"


def tiny() -> RM3:
    """Three terms."""
    return RM3(terms=3, passing=TermFilter(max_df=1.0))
