"""A scorer to begin with: how many words of the query a document has."""

from __future__ import annotations

import numpy as np

from nirank import Candidates, Queries
from nirank.data import Content, Floats


class Overlap:
    """Scores by the share of the query's words that occur in the document, times `weight`."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """One score for each pair, in the order of `candidates`."""
        if candidates.corpus is None or not candidates.pairs:
            return np.zeros(candidates.pairs, np.float32)
        wanted = [_words(content) for content in queries.contents]
        contents = candidates.corpus[candidates.docs]
        pairs = zip(candidates.rows, contents, strict=True)
        shares = [len(wanted[row] & _words(content)) / max(len(wanted[row]), 1) for row, content in pairs]
        return np.array(shares, np.float32) * np.float32(self.weight)


def tiny() -> Overlap:
    """A small one for the contract checks; a model with weights would have few and random ones."""
    return Overlap()


def _words(content: Content) -> set[str]:
    return set(str(content).lower().split())
