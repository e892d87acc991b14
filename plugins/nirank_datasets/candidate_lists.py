"""Lists that come with a collection, to be ranked: the judged documents of each query, or those of a run."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from nirank.data import Candidates, Collection, Queries
from nirank.errors import BadInput
from nirank.formats import read_run

log = logging.getLogger("nirank")

#: The value of `candidates` for the judged documents.
JUDGED = "judged"


class Given:
    """Finds for each query the documents that came with it (`queries.found`), best first; `given >> knrm` ranks them.

    A collection is opened with them: `candidates = "judged"` gives the judged documents with scores of 0, any other
    name is that of a TREC run. Raises `BadInput` for queries that came without.
    """

    known_as = "nirank_datasets.given:Given"  # where it was when indexes were first made with it

    cacheable = False
    prefixes = True

    def generate(self, queries: Queries, k: int) -> Candidates:
        """At most `k` of the documents of each query."""
        if queries.found is None:
            raise BadInput(
                'these queries bring no documents to rank: open their collection with candidates = "judged", or with '
                "the path of a run."
            )
        return queries.found.top(k)


def with_candidates(collection: Collection, candidates: str | None) -> Collection:
    """The collection, its queries with the lists that are to be ranked: None, "judged", or the path of a TREC run.

    Documents that the corpus lacks are left out, since they have no contents; warnings give their number, and
    that of the queries for which a run has nothing. Raises `BadInput` for a run of other queries or other documents.
    """
    if candidates is None:
        return collection
    if candidates == JUDGED:
        judged = collection.judgments
        found = judged.with_scores(np.zeros(judged.pairs))
    else:
        found = _of_run(candidates, collection)
    known = found.where(found.docs < len(collection.corpus)).over(collection.corpus)
    return replace(collection, queries=collection.queries.with_found(known.ranked()))


def _of_run(path: str, collection: Collection) -> Candidates:
    """The lists of a run for the queries of a collection; what does not fit is reported, or refused if nothing does."""
    run = read_run(path)
    others = len(run.other_queries(collection.queries.ids))
    if others == len(run):
        few = ", ".join(map(repr, run.query_ids[:3]))
        raise BadInput(f"none of the {len(run)} queries of this run ({few}, ...) is in {collection.name}.", path)
    found = run.align(collection.queries.ids, collection.corpus.ids)
    strangers = int((found.docs >= len(collection.corpus)).sum())
    if strangers == found.pairs:
        few = ", ".join(map(repr, run.ids[:3]))
        raise BadInput(f"none of the documents of this run ({few}, ...) is in the corpus of {collection.name}.", path)
    if strangers:
        log.warning(
            "%s: %d of %d documents of the run %s are not in the corpus; they are left out.",
            *(collection.name, strangers, found.pairs, path),
        )
    if missing := int((found.lengths == 0).sum()):
        log.warning("%s: %d of %d queries have no documents in the run %s.", collection.name, missing, len(found), path)
    return found
