"""The scores of a ranking as a scoring, with a value that is named for the pairs that it did not find.

    scores(fuse(bm25, dense), missing="min")    the least score of the query's list for what the fusion did not find
    scores(bm25 % 20, missing=0.0)              0 for what is not among the best 20, as in PyTerrier's sums

Where a ranking can score any pair, as `minilm >> exact` does, it is a scoring by itself, and nothing is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nirank.data.candidates import Candidates
from nirank.data.explanation import Explanation
from nirank.data.queries import Queries
from nirank.data.types import Floats
from nirank.errors import CompositionError
from nirank.hints import is_finite
from nirank.pipeline import misplaced
from nirank.pipeline.algebra import Pipeline, Ranking, Scoring, as_ranking, as_scoring
from nirank.pipeline.explaining import Pair, as_found

Missing = float | Literal["min"]


@dataclass(frozen=True, eq=False, repr=False)
class FoundScores(Scoring):
    """The scores of what a ranking finds; the others have the value `missing`, or "min", the least of their query."""

    ranking: Ranking
    missing: Missing
    closed = True
    listwise = False

    def __repr__(self) -> str:
        return f"scores({self.ranking!r}, missing={self.missing!r})"

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """Search, and look the pairs up in what was found."""
        misplaced.check_pairs(queries, candidates)
        corpus = candidates.corpus_for(repr(self))
        self.ranking.index(corpus)
        found = self.ranking._find(queries, corpus)
        places, others = candidates.places(found), _least(found) if self.missing == "min" else self.missing
        filled = np.broadcast_to(np.asarray(others, np.float32), len(found))[candidates.rows]
        return np.where(places < 0, filled, np.append(found.scores, np.float32(0))[places])

    def _explain_pair(self, pair: Pair) -> Explanation:
        mine = pair.score(self.score)
        if as_found(self.ranking, pair.queries, pair.corpus, pair.doc) is None:
            return Explanation(repr(self), mine, note=f"{self.ranking!r} did not find it: missing={self.missing!r}")
        explanation = self.ranking._explain_found(pair.queries, pair.corpus, pair.doc)
        return explanation or Explanation(repr(self), mine)

    def _parts(self) -> Sequence[Pipeline]:
        return (self.ranking,)


def scores(ranking: Any, missing: Missing | None = None) -> Scoring:
    """Score pairs as a ranking does, and those that it does not find by a value that is named.

    With `missing` the ranking is searched, as deep as it says; a pair that it did not find has this number, or with
    "min" the least score of the query's list. Where that list is empty "min" is 0: all documents of the query have it,
    and it decides nothing. Without `missing` the ranking has to score any pair. Raises `CompositionError` where it
    cannot, for a union, which has no scores, and for a value that is neither "min" nor a finite number.
    """
    if missing is None:
        return as_scoring(ranking)
    searched = as_ranking(ranking)
    if not searched.scored:
        raise CompositionError(f"{searched!r} has no scores: it finds documents but does not order them.")
    return FoundScores(searched, _value(missing))


def _value(missing: Any) -> Missing:
    if isinstance(missing, str) and missing == "min":
        return "min"
    if not is_finite(missing):
        raise CompositionError(f'scores: missing = {missing!r}; "min" or a finite number is expected.')
    return float(missing)


def _least(found: Candidates) -> Floats:
    """The least score of each list, `[queries]`; 0 where it is empty."""
    least = np.full(len(found), np.inf, np.float32)
    np.minimum.at(least, found.rows, found.scores)
    return np.where(found.lengths > 0, least, np.float32(0))
