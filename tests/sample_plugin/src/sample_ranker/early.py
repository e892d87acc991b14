"""A scorer: how early a document mentions a word of the query."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nirank import Candidates, Queries


class Early:
    """Scores by 1 / place of the first word that the query has too, and 0 without one; `base` is added."""

    def __init__(self, base: float = 0.0) -> None:
        self.base = base

    def score(self, queries: Queries, candidates: Candidates) -> NDArray[np.float32]:
        """One score for each pair."""
        contents = candidates.corpus[candidates.docs] if candidates.corpus is not None else []
        pairs = zip(candidates.rows, contents, strict=True)
        return np.array([self._score(queries.contents[row], content) for row, content in pairs], np.float32)

    def _score(self, query: str, document: str) -> float:
        wanted = set(query.lower().split())
        places = (place for place, word in enumerate(document.lower().split(), start=1) if word in wanted)
        first = next(places, None)
        return self.base + (1 / first if first else 0.0)
