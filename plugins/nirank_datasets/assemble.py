"""Put together a corpus, queries and judgments that come from different files."""

from __future__ import annotations

import logging

from nirank.data import Collection, Corpus, Queries
from nirank.errors import BadInput
from nirank.formats import Run

log = logging.getLogger("nirank")


def judged_collection(name: str, corpus: Corpus, queries: Queries, judgments: Run) -> Collection:
    """The collection of those queries that have judgments, in their own order.

    Judgments on unknown documents are kept, with ordinals beyond the corpus; that there are any, or judgments of
    unknown queries, which are left out, a warning says. Raises `BadInput` where none of the queries is judged.
    """
    known = set(judgments.query_ids)
    rows = [row for row, query in enumerate(queries.ids) if query in known]
    if not rows:
        asked, judged = (", ".join(map(repr, ids[:3])) for ids in (queries.ids, judgments.query_ids))
        raise BadInput(f"none of the {len(queries)} queries ({asked}, ...) is judged; judged are {judged}, ...", name)
    chosen = Queries([queries.ids[row] for row in rows], [queries.contents[row] for row in rows])
    aligned = judgments.align(chosen.ids, corpus.ids).over(corpus)
    strangers = int((aligned.docs >= len(corpus)).sum())
    if strangers:
        log.warning(
            "%s: %d of %d judgments are of documents that are not in the corpus; they count as never found.",
            name,
            strangers,
            aligned.pairs,
        )
    if others := len(known) - len(chosen):
        log.warning(
            "%s: %d of %d judged queries are not among the queries; they are left out.", name, others, len(known)
        )
    return Collection(name, corpus, chosen, aligned)
