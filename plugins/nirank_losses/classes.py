"""Classes that judgments make: queries and documents that all belong together, such as the images of one character."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from nirank.data import Candidates, Collection
from nirank.errors import BadInput
from nirank.pipeline import own_documents


@dataclass(frozen=True)
class Classes:
    """The class of each query, int64 `[queries]`, and of each document, `[documents]`, from 0; -1 for none."""

    queries: NDArray[np.int64]
    documents: NDArray[np.int64]

    @property
    def count(self) -> int:
        """The number of classes."""
        return int(self.queries.max(initial=-1)) + 1

    @classmethod
    def of(cls, collection: Collection) -> Classes:
        """The connected parts of the graph of queries and the documents relevant to them (judged above 0).

        A query and the document with its id are one. Raises `BadInput` where nothing is relevant, and where a query is
        connected with a document that is not relevant to it: then being relevant is not belonging together.
        """
        judged = collection.judgments.over(collection.corpus)
        relevant = judged.where((judged.scores > 0) & (judged.docs < len(collection.corpus)))
        if not relevant.pairs:
            raise BadInput(f"no classes can be told in {collection!r}: it has no judgments with a grade above 0.")
        own = own_documents(collection.queries, collection.corpus)
        parts = _connected(relevant, own, len(collection.corpus))
        _refuse_unequal(collection, relevant, own, parts)
        return cls._numbered(parts, len(own))

    @classmethod
    def _numbered(cls, parts: NDArray[np.int64], queries: int) -> Classes:
        """From the part of each query and, behind them, of each document; what stands alone has no class."""
        several = np.bincount(parts) > 1
        numbers = np.where(several, np.cumsum(several) - 1, -1)[parts]
        return cls(numbers[:queries], numbers[queries:])


def _connected(relevant: Candidates, own: NDArray[np.int64], documents: int) -> NDArray[np.int64]:
    """The connected part that each query and, behind them, each document is in."""
    known = np.flatnonzero(own >= 0)
    left = np.concatenate([relevant.rows, known])
    right = len(own) + np.concatenate([relevant.docs, own[known]])
    size = len(own) + documents
    graph = coo_matrix((np.ones(len(left), np.int8), (left, right)), (size, size))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _refuse_unequal(
    collection: Collection, relevant: Candidates, own: NDArray[np.int64], parts: NDArray[np.int64]
) -> None:
    """Raise `BadInput` unless each query has all documents of its part; its own may be left out."""
    documents = np.bincount(parts[len(own) :], minlength=parts.max() + 1)
    itself = np.flatnonzero(own >= 0)
    selves = Candidates.of([own[row : row + 1] for row in itself])
    unjudged = np.isnan(selves.lookup(relevant.take(itself))) if len(itself) else np.zeros(0, bool)
    found = relevant.lengths + np.bincount(itself[unjudged], minlength=len(own))
    short = np.flatnonzero(found != documents[parts[: len(own)]])
    if len(short):
        row = int(short[0])
        members = np.flatnonzero(parts[len(own) :] == parts[row])
        missing = np.setdiff1d(members, np.append(relevant.take(np.array([row])).docs, own[row]))
        raise BadInput(
            f"the judgments do not make classes: the query {collection.queries.ids[row]!r} and the document "
            f"{collection.corpus.ids[int(missing[0])]!r} are connected by what is relevant to both or to others, and "
            "this document is not relevant to that query. A loss with classes needs judgments by which everything of a "
            "class is relevant to everything else of it; other losses take these judgments.",
            collection.name,
        )
