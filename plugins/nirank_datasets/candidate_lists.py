"""Lists that come with a collection, to be ranked: the judged documents of each query, or those of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nirank.data import Candidates, Collection, Queries
from nirank.errors import BadInput
from nirank.formats import read_run

#: The value of `candidates` for the judged documents.
JUDGED = "judged"


class Given:
    """Finds for each query the documents that came with it (`queries.found`), best first; `given >> knrm` ranks them.

    A collection is opened with them: `candidates = "judged"` gives the judged documents with scores of 0, any other
    name is that of a TREC run. Raises `BadInput` for queries that came without.
    """

    known_as = "nirank_datasets.given:Given"  # where it was when indexes were first made with it

    cacheable = False

    def generate(self, queries: Queries, k: int) -> Candidates:
        """At most `k` of the documents of each query."""
        if queries.found is None:
            raise BadInput(
                'no documents came with these queries: open their collection with candidates = "judged", or with the '
                "path of a run."
            )
        return queries.found.top(k)


def with_candidates(collection: Collection, candidates: str | None) -> Collection:
    """The collection, its queries with the lists that are to be ranked: None, "judged", or the path of a TREC run.

    Documents that the corpus lacks are left out, since nobody can read them.
    """
    if candidates is None:
        return collection
    if candidates == JUDGED:
        judged = collection.judgments
        found = judged.with_scores(np.zeros(judged.pairs))
    else:
        found = read_run(candidates).align(collection.queries.ids, collection.corpus.ids)
    known = found.where(found.docs < len(collection.corpus)).over(collection.corpus)
    return replace(collection, queries=collection.queries.with_found(known.ranked()))
