"""Scorings brought to one scale within each query, so that a sum of them is not led by the one with larger numbers.

    0.3 * normalise(bm25, "minmax") + normalise(minilm, "minmax")

Such a score depends on the list that its document stands in, as that of a listwise scorer does, and on no other list.
`nirank.pipeline.norms` has the norms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nirank.data.candidates import Candidates
from nirank.data.explanation import Explanation
from nirank.data.queries import Queries
from nirank.data.types import Floats
from nirank.pipeline.algebra import Pipeline, Scoring, as_scoring
from nirank.pipeline.explaining import Pair
from nirank.pipeline.norms import check_norm, normalised

#: Norms that are a line through the scores of a list.
_LINES = ("minmax", "zscore", "max", "sum")


@dataclass(frozen=True, eq=False, repr=False)
class Normalised(Scoring):
    """A scoring whose scores are normalised within each list."""

    scoring: Scoring
    norm: str
    settings: tuple[tuple[str, float], ...]
    listwise = True
    closed = True

    def __repr__(self) -> str:
        told = [repr(self.scoring), repr(self.norm), *(f"{name}={value!r}" for name, value in self.settings)]
        return f"normalise({', '.join(told)})"

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """Score each list whole; each score is of the list that `candidates` have, and of no other."""
        scored = candidates.with_scores(self.scoring.score(queries, candidates))
        return normalised(scored, self.norm, **dict(self.settings))

    def _explain_pair(self, pair: Pair) -> Explanation:
        """The score as `factor * score + shift`, where the norm is such a line; of "softmax" and "rank" the number."""
        scores, mine = self.scoring.score(pair.queries, pair.candidates), pair.score(self.score)
        own, least, most = float(scores[pair.place]), float(scores.min()), float(scores.max())
        told = f"{self.norm} among the {len(scores)} scores of its list, from {least:.5g} to {most:.5g}"
        if self.norm not in _LINES or least == most:
            return Explanation(repr(self), mine, note=f"{told}, of its own {own:.5g}")
        ends = pair.candidates.with_scores(scores)
        normal = normalised(ends, self.norm, **dict(self.settings)).astype(np.float64)
        factor = float(normal[scores.argmax()] - normal[scores.argmin()]) / (most - least)
        inner = self.scoring._explain_pair(pair).scaled(factor, f"{factor:.5g} * {self.scoring!r}")
        shift = Explanation("shift of the list", mine - inner.score)
        return Explanation.summed(repr(self), mine, (inner, shift)).noted(told)

    def _parts(self) -> Sequence[Pipeline]:
        return (self.scoring,)


def normalise(scoring: Any, norm: str = "minmax", **settings: float) -> Normalised:
    """Bring the scores of each query to one scale, so that they can be added to those of another scoring.

    `0.3 * normalise(bm25, "minmax") + normalise(minilm, "minmax")` weighs both alike for every query. `norm` is one of
    `nirank.pipeline.norms.NORMS`: "minmax" (to 0..1), "zscore" (mean 0, variance 1), "softmax" (shares that add up to
    1; with the setting `temperature`), "rank" (from 1 at the best down), "max" and "sum". Where all scores of a query
    are equal they become 1 ("minmax", and "max" above 0), 0 ("zscore") or equal shares ("softmax", "sum"). Raises
    `CompositionError` for what is no scoring, `UnknownName` for no norm.
    """
    check_norm(norm, settings)
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in settings.items()}
    return Normalised(as_scoring(scoring), norm, tuple(plain.items()))
