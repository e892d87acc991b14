"""Changes to a ranking: its best documents are ranked anew, or the query itself is left out.

`others(siamese >> exact)` leaves out the document that has the query's id; `others(siamese >> exact) >> top(10, stir)`
ranks the best 10 of these by other scores, and leaves the rest behind them, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.explanation import Explanation
from nirank.data.queries import Queries
from nirank.data.types import Corpus, Floats
from nirank.errors import BadInput, CompositionError
from nirank.pipeline import misplaced
from nirank.pipeline.algebra import (
    Derived,
    PartialPipeline,
    Pipeline,
    Ranking,
    SameScores,
    Scoring,
    as_ranking,
    as_scoring,
)
from nirank.pipeline.concatenation import falling, places_of
from nirank.pipeline.drawing import Drawing, branches, flow
from nirank.pipeline.explaining import as_found, in_list, standing


@dataclass(frozen=True, eq=False, repr=False)
class Top(PartialPipeline):
    """The reranking of the best `k` of a ranking."""

    k: int
    scoring: Scoring

    def __repr__(self) -> str:
        return f"top({self.k}, {self.scoring!r})"

    def after(self, ranking: Ranking) -> Reranked:
        """The ranking, its best ranked anew."""
        if not ranking.scored:
            raise CompositionError(
                f"{ranking!r} has no best {self.k}: a union has no order before it is scored. Add `>> scorer` first."
            )
        return Reranked(ranking, self)

    def _parts(self) -> Sequence[Pipeline]:
        return (self.scoring,)


@dataclass(frozen=True, eq=False, repr=False)
class Reranked(Derived):
    """A ranking whose best documents are ordered by other scores, and the rest behind them as before.

    The best have the scores of the scoring. Below the lowest of these the rest falls by 1 from rank to rank, for scores
    of two kinds cannot be compared.
    """

    ranking: Ranking
    top: Top

    def __repr__(self) -> str:
        return f"({self.ranking!r}) >> {self.top!r}"

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        found = self.ranking._find(queries, corpus).ranked()
        ranks = np.arange(found.pairs) - np.repeat(found.offsets[:-1], found.lengths)
        is_best = ranks < self.top.k
        best = found.where(is_best)
        scores = np.zeros(found.pairs, np.float32)
        scores[is_best] = self.top.scoring.score(queries, best)
        lowest = np.full(len(found), np.inf, np.float32)
        np.minimum.at(lowest, best.rows, scores[is_best])
        behind = found.rows[~is_best]
        scores[~is_best] = _behind(lowest, behind, ranks[~is_best] - self.top.k + 1)
        return found.with_scores(scores).ranked()

    def _drawn(self) -> Drawing:
        best = branches(f"the best {self.top.k} alone", self.top.scoring._drawn())
        return flow(self.ranking._drawn(), "candidates", best)

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        best = self.ranking._find(queries, corpus).top(self.top.k)
        if doc not in best.docs:
            note = f"behind the best {self.top.k}, where a score says the place alone"
            return as_found(self, queries, corpus, doc, note)
        pair = in_list(best, queries, doc, self.top.scoring.listwise)
        return pair and self.top.scoring._explain_pair(pair).noted(standing(self.ranking, queries, corpus, doc))

    def _parts(self) -> Sequence[Pipeline]:
        return self.ranking, self.top


@dataclass(frozen=True, eq=False, repr=False)
class Others(SameScores):
    """A ranking without the query itself, the document that has its id."""

    ranking: Ranking

    def __post_init__(self) -> None:
        if not self.ranking.scored:
            raise CompositionError(f"{self.ranking!r} has no order before it is scored: write `others(... >> scorer)`.")

    def __repr__(self) -> str:
        return f"others({self.ranking!r})"

    def at_depth(self, k: int) -> Ranking:
        """The same of the ranking at that depth and one deeper, for the query itself."""
        return replace(self, ranking=self.ranking.at_depth(k + 1))

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        found = self.ranking._find(queries, corpus)
        return found.where(found.docs != own_documents(queries, corpus)[found.rows])

    def _parts(self) -> Sequence[Pipeline]:
        return (self.ranking,)


def top(k: int, scoring: Any) -> Top:
    """Rerank the best `k` of a ranking by other scores and leave the rest behind them, in order.

    `bm25 % 1000 >> top(20, monot5)`; the scoring may be a sum. Raises `CompositionError` for what is none.
    """
    if not misplaced.is_count(k):
        raise CompositionError(f"top takes how many documents to rerank, a whole number from 1; got {k!r}.")
    return Top(int(k), as_scoring(scoring))


def others(ranking: Any) -> Others:
    """Leave the query itself out of a ranking: `others(siamese >> exact)`, where queries are in the corpus.

    A document is the query where it has the query's id. It takes a place in the ranking: `others(ranking % 10)` finds 9
    documents where the query was one of them, `others(ranking) % 10` finds 10.
    """
    return Others(as_ranking(ranking))


def _behind(lowest: Floats, rows: NDArray[np.int64], steps: NDArray[np.int64]) -> Floats:
    """Scores that fall by 1 below the `lowest` of their query, or by what float32 can tell apart, `[pairs]`."""
    if not np.isfinite(lowest[rows]).all():
        raise BadInput("top: the least score of the best is infinite, and the rest cannot stand below it.")
    return falling((lowest[rows] - steps).astype(np.float32), steps, places_of(lowest)[rows], rows)


def own_documents(queries: Queries, corpus: Corpus) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The ordinal of the document that has the id of each query, `[queries]`; -1 where there is none."""
    return corpus.ids.find(list(queries.ids))
