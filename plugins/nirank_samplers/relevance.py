"""Documents judged relevant, which a sampler must not take for negatives, and how often each is one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Collection, Ints
from nirank.errors import BadInput


class Relevance:
    """The documents of the corpus that are judged relevant (label above 0) to each query of a collection."""

    def __init__(self, collection: Collection) -> None:
        judged = collection.judgments.over(collection.corpus)
        relevant = judged.where((judged.scores > 0) & (judged.docs < len(collection.corpus)))
        order = np.lexsort((relevant.docs, relevant.rows))  # so that no look-up has to sort again
        #: One row a query, by rising ordinal.
        self.pairs = Candidates(relevant.offsets, relevant.docs[order], relevant.scores[order], collection.corpus)
        self.documents = len(collection.corpus)
        self._query_ids = collection.queries.ids
        if not self.documents:
            raise BadInput("the corpus has no documents to draw from; at least one is expected.", collection.name)

    def of(self, rows: Ints, positives: Candidates) -> Candidates:
        """The pairs of the queries `rows`, by rising ordinal; the positives of each must be among them.

        Raises `BadInput` for another positive: it would be drawn as a negative, and has no frequency.
        """
        known = self.pairs.take(rows)
        strange = np.flatnonzero(np.isnan(positives.lookup(known)))
        if len(strange):
            doc, query = positives.docs[strange[0]], self._query_ids[rows[positives.rows[strange[0]]]]
            raise BadInput(
                f"the document with ordinal {doc} is a positive of query {query!r}, but is not judged relevant to it "
                "in the collection that the sampler began with."
            )
        return known

    def counts(self, most: int | None = None) -> NDArray[Any]:
        """To how many queries each document is relevant, `[documents]`.

        With `most`, for how many it is expected to be among the relevant ones, where so many are drawn of each query.
        """
        lengths = self.pairs.lengths[self.pairs.rows]
        chances = None if most is None else np.minimum(most / lengths, 1)
        return np.bincount(self.pairs.docs, chances, self.documents)
