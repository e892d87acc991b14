"""Query expansion by moving the query's vector: towards the best documents found, and away from the last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates
from nirank.errors import BadInput
from nirank_expansion.feedback import FeedbackEncoder, TermFilter
from nirank_expansion.feedback_terms import TermRows
from nirank_expansion.settings import TermAnalysis

_PASSING, _ANALYSIS = TermFilter(latin=False), TermAnalysis()


class Rocchio(FeedbackEncoder):
    """Expands a query by the centroid of the best documents found, and takes that of the last from it.

    `bm25 % 10 >> rocchio >> bm25`. Rocchio, Relevance Feedback in Information Retrieval, in Salton, The SMART Retrieval
    System, 1971. With q the counts of the query's terms, R the first `relevant` of the documents found (None: all), N
    the last `nonrelevant`, and d the counts of those of a document's terms that pass the filter, all made of length 1:

        q' = alpha q + beta r - gamma n,   r ~ 1/|R| sum over d in R of d,   n ~ 1/|N| sum over d in N of d

    Of r and of n only the `terms` largest entries are kept, and then these are made of length 1 too. What q' has below
    0 is dropped, since lexical search adds. This and the defaults are Anserini's (RocchioReranker), and its filter too:
    terms of 2 to 20 characters that are in at most a tenth of all documents (`nirank_expansion.feedback.TermFilter`).
    `formula` = "lucene" keeps of equally large entries those that come first in the alphabet, as Anserini does.
    There are no documents that are not relevant unless one asks for some: `bm25 % 1000 >> rocchio` with `relevant=10`,
    `nonrelevant=10`; `gamma` counts nothing before. The analyser's settings are to be those of the ranking that
    follows.

    Raises `BadInput` for settings that make no sense and without a ranking before it, `StaleIndex` where there is no
    index yet.
    """

    name = "rocchio"

    def __init__(
        self,
        terms: int = 10,
        alpha: float = 1.0,
        beta: float = 0.75,
        gamma: float = 0.15,
        relevant: int | None = None,
        nonrelevant: int = 0,
        *,
        passing: TermFilter = _PASSING,
        analysis: TermAnalysis = _ANALYSIS,
    ) -> None:
        if terms < 1 or (relevant is not None and relevant < 0) or nonrelevant < 0:
            raise BadInput(
                f"terms = {terms}, relevant = {relevant}, nonrelevant = {nonrelevant}: whole numbers are expected, the "
                "first from 1, the others from 0."
            )
        if not all(0 <= weight < np.inf for weight in (alpha, beta, gamma)):
            raise BadInput(f"alpha = {alpha}, beta = {beta}, gamma = {gamma}: numbers from 0 are expected.")
        super().__init__(passing, analysis)
        self.terms, self.alpha, self.beta, self.gamma = terms, alpha, beta, gamma
        self.relevant, self.nonrelevant = relevant, nonrelevant

    def __repr__(self) -> str:
        names = ("terms", "alpha", "beta", "gamma", "relevant", "nonrelevant")
        own = ", ".join(f"{name}={getattr(self, name)}" for name in names)
        return f"Rocchio({own}, {self.passing}, {self.analyzer})"

    def _read(self, found: Candidates) -> Candidates:
        ends = _Ends.of(found, self.relevant, self.nonrelevant)
        return found.where(ends.first | ends.last)

    def _weigh(self, query_terms: TermRows, counts: TermRows, found: Candidates) -> TermRows:
        ends = _Ends.of(found, self.relevant, self.nonrelevant)
        documents = counts.unit()
        near, far = (
            self._best(documents.times(chosen).joined(found.rows, len(found)), self.terms).unit()
            for chosen in (ends.first, ends.last)
        )
        return TermRows.sum([query_terms.unit().times(self.alpha), near.times(self.beta), far.times(-self.gamma)])


@dataclass(frozen=True, eq=False)
class _Ends:
    """Marks of documents that are among the first of their query, and among its last; `[pairs]` each."""

    first: NDArray[np.bool_]
    last: NDArray[np.bool_]

    @classmethod
    def of(cls, found: Candidates, first: int | None, last: int) -> _Ends:
        within = np.arange(found.pairs) - found.offsets[:-1][found.rows]
        left = found.lengths[found.rows] - within
        return cls(np.ones(found.pairs, bool) if first is None else within < first, left <= last)


def tiny() -> Rocchio:
    """Three terms, of five documents and not of the last."""
    return Rocchio(terms=3, relevant=5, nonrelevant=1, passing=TermFilter(max_df=1.0, latin=False))
