"""A collection of three documents and a generator that finds them all, by name: what observers watch in tests."""

from __future__ import annotations

import numpy as np

from nirank import Documents
from nirank.data import Candidates, Collection, Queries
from tests.named_toys import named


class Everything:
    """Finds everything."""

    def __init__(self, backwards: bool = False) -> None:
        self.backwards = backwards

    def generate(self, queries, k):
        docs = np.arange(3)[:: -1 if self.backwards else 1][:k]
        return Candidates.of([docs] * len(queries), [np.arange(k, 0, -1)] * len(queries))


def everything():
    """Announce the collection `few` and the generator `all`, for a while."""
    corpus = Documents(["a", "b", "c"], ["x", "xx", "xxx"])
    collection = Collection("few", corpus, Queries.of(["q"]), Candidates.of([[0]], [[1]]))
    return named({"collection/few": lambda: collection, "generator/all": Everything})
