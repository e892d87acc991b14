"""A few pairs with made-up features, which the small rankers of the checks know."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from nirank.data import Candidates, Collection, Documents, Features, Queries
from nirank_ltr.ranker import FeatureRanker

Ranker = TypeVar("Ranker", bound=FeatureRanker)

NAMES = ("first", "second", "third")


def collection(queries: int = 4, documents: int = 8, seed: int = 0) -> Collection:
    """Queries with `documents` judged documents each, and three features from 0 to 1; the first decides the label."""
    values = np.random.default_rng(seed).random((queries * documents, len(NAMES)), np.float32)
    labels = np.minimum(2, np.floor(3 * values[:, 0]))
    docs = np.tile(np.arange(documents), queries)
    ids = [f"d{number}" for number in range(documents)]
    judged = Candidates(np.arange(queries + 1) * documents, docs, labels, None, Features(NAMES, values))
    made = Queries.of([f"query {number}" for number in range(queries)])
    return Collection("sample", Documents(ids, ids), made, judged)


def taught(ranker: Ranker) -> Ranker:
    """The ranker, begun on these pairs."""
    ranker.begin(collection())
    return ranker
