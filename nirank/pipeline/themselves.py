"""Queries that are documents of the corpus, and find themselves: told, since every figure suffers from it."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from nirank.data.candidates import Candidates
from nirank.data.queries import Queries
from nirank.data.types import Corpus

log = logging.getLogger("nirank")

_MOST = 0.5  # of a document's text is the query's, at least, where the query is the document without its title


def tell_of_themselves(queries: Queries, corpus: Corpus, found: Candidates) -> None:
    """Log a warning where queries have found themselves first: a document with the query's id and its content.

    Of a single query nothing is told.
    """
    if len(queries) < 2:
        return
    rows = np.flatnonzero(found.lengths)
    docs = found.docs[found.offsets[:-1][rows]]
    named = [name == queries.ids[row] for row, name in zip(rows.tolist(), corpus.ids.take(docs), strict=True)]
    rows, docs = rows[named], docs[named]
    pairs = zip([queries.contents[row] for row in rows.tolist()], corpus[docs] if len(docs) else [], strict=True)
    count = sum(_is_same(query, document) for query, document in pairs)
    if count:
        log.warning(
            "%d of %d queries are documents of the corpus, by id and content, and have found themselves first: "
            "write `others(...)` to leave them out.",
            count,
            len(queries),
        )


def _is_same(query: Any, document: Any) -> bool:
    """True where a document holds the query and little else; of what is no text the id has to do."""
    if isinstance(query, str) and isinstance(document, str):
        return bool(query.strip()) and query.strip() in document and len(query) >= _MOST * len(document)
    return not isinstance(query, str) and not isinstance(document, str)
