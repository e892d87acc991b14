"""Batches of P categories with K images each, as the triplet loss with hard mining wants them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Collection, Ints, offsets_of
from nirank.errors import BadInput
from nirank.pipeline import Stage, own_documents
from nirank.training import Each, Sample


@dataclass(kw_only=True, eq=False)
class Categories:
    """All lists of a batch hold the same documents: `images` of each category that the batch's queries are of.

    Hermans, Beyer and Leibe, In Defense of the Triplet Loss for Person Re-Identification, 2017. With the queries of a
    batch come P categories; K = `images` documents are drawn of each, fewer where it has fewer, so that no category
    counts more for being larger. In the list of a query those relevant to it have their labels, the others 0, and the
    document that is the query itself (it has its id) does not count. Two queries are of one category where the first
    documents relevant to them, themselves among these, are the same.

    Where queries are documents too, `images` is to be 2 at least: the one may be the query itself, whose list then has
    nothing relevant, and does not count in the loss.
    """

    images: int = 4
    each: Each = "query"
    #: Of the documents relevant to a query only some are in its list.
    positives = "some"

    def __post_init__(self) -> None:
        if self.images < 1:
            raise BadInput(f"images = {self.images}; at least 1 for each category is expected.")

    def begin(self, collection: Collection, stages: Mapping[str, Stage]) -> None:  # noqa: ARG002 (what samplers get)
        """Learn which documents are of one category."""
        judged, size = collection.judgments.over(collection.corpus), len(collection.corpus)
        self._judged = judged.where((judged.scores > 0) & (judged.docs < size))
        self._own = own_documents(collection.queries, collection.corpus)
        self._categories = self._first()

    def sample(self, rows: Ints, positives: Candidates, random: np.random.Generator) -> Sample:  # noqa: ARG002
        """The documents of the batch for every list, labelled as the judgments say."""
        docs = self._drawn(rows, random)
        lists = Candidates.of([docs] * len(rows), corpus=self._judged.corpus)
        labels = lists.lookup(self._judged.take(rows), default=0)
        return Sample(lists.with_scores(labels), mask=lists.docs != self._own[rows][lists.rows], shared=True)

    def _drawn(self, rows: Ints, random: np.random.Generator) -> NDArray[np.int64]:
        """Documents of each category of some queries, by rising ordinal."""
        _, one = np.unique(self._categories[rows], return_index=True)
        members = self._members(rows[np.sort(one)])
        order = np.lexsort((random.random(members.pairs), members.rows))
        ranks = np.arange(members.pairs) - np.repeat(members.offsets[:-1], members.lengths)
        return np.unique(members.docs[order][ranks < self.images]).astype(np.int64)

    def _members(self, rows: Ints) -> Candidates:
        """The documents of the categories of some queries: what is relevant to each and, where it is one, itself."""
        own = self._own[rows]
        known = own >= 0
        selves = Candidates(offsets_of(known), own[known], np.zeros(known.sum(), np.float32))
        return self._judged.take(rows).union(selves)

    def _first(self) -> NDArray[np.int64]:
        """The first document of the category of each query, `[queries]`; what has none is a category of its own."""
        apart = 1 + len(self._judged.corpus or ()) + np.arange(len(self._own))
        first = np.where(self._own >= 0, self._own, apart)
        np.minimum.at(first, self._judged.rows, self._judged.docs)
        return first


def tiny() -> Categories:
    """One image of a category."""
    return Categories(images=1)
