"""Mixture of the terms of a query with those that it is expanded by."""

from __future__ import annotations

import numpy as np

from nirank.data import Floats, Ints
from nirank.errors import BadInput
from nirank.kit.text import Vocabulary


def mixture(vocabulary: Vocabulary, query_terms: Ints, terms: Ints, weights: Floats, share: float) -> dict[str, float]:
    """A distribution over terms: P(w) = share P(w|query) + (1 - share) P(w|expansion).

    P(w|query) is how often the term w is among `query_terms`, the terms of the query in order, of all of them;
    P(w|expansion) its weight of that of all `terms`, which are distinct and weigh more than 0. Without either the other
    has all.
    """
    if not len(terms) or not len(query_terms):
        share = float(len(query_terms) > 0)
    numbers = np.concatenate([query_terms, terms])
    parts = [
        np.full(len(query_terms), share / max(len(query_terms), 1)),
        (1 - share) * weights / max(weights.sum(), 1e-30),
    ]
    distinct, place = np.unique(numbers, return_inverse=True)
    total = np.bincount(place, np.concatenate(parts), len(distinct))
    known = total > 0
    named = (vocabulary[number] for number in distinct[known].tolist())
    return dict(zip(named, total[known].tolist(), strict=True))


def check_share(name: str, share: float) -> None:
    """Raise `BadInput` for what is no share of 1."""
    if not 0 <= share <= 1:
        raise BadInput(f"{name} is {share}; a number from 0 to 1 is expected.")
