"""A collection that is learned from clicks: they are its labels, and inverse propensities its weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nirank.clicks.log import ClickLog, refuse_other_corpus
from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.data.offsets import offsets_of
from nirank.errors import BadInput


def collection_of(
    log: ClickLog, collection: Collection, *, weighed: bool = True, largest_weight: float | None = None
) -> Collection:
    """The collection with clicks in the place of judgments.

    The label of a shown document is the share of its query's sessions in which it was clicked, and its weight the mean
    of 1 / propensity over these clicks: label times weight is expected to be its attraction, wherever it was shown,
    if it was shown in every session (Joachims, Swaminathan and Schnabel, WSDM 2017, equation 5). `largest_weight` cuts
    off the weight of each click, which brings a bias and takes away variance. Unless `weighed`, all weights are 1: what
    a naive estimate has. Queries without a session have no labels.

    Raises `BadInput` for a log without propensities or without sessions, and for one of other queries or of another
    corpus.
    """
    weights = _weights(log, weighed, largest_weight)
    rows = _rows(log, collection)
    queries, docs, pair = log.pairs_of(rows)
    _refuse_none(log)
    clicks, total = (np.bincount(pair, worth, len(docs)) for worth in (log.clicked, log.clicked * weights))
    sessions = np.bincount(rows, minlength=len(collection.queries))
    offsets = offsets_of(np.bincount(queries, minlength=len(sessions)))
    labels = Candidates(offsets, docs, (clicks / sessions[queries]).astype(np.float32), collection.corpus)
    means = np.divide(total, clicks, out=np.ones_like(total), where=clicks > 0)
    name = f"{collection.name}/clicks"
    return replace(collection, name=name, judgments=labels, weights=labels.with_scores(means))


def _refuse_none(log: ClickLog) -> None:
    if not log.shown.pairs:
        raise BadInput("this log shows no document, and so there is nothing to learn from.")


def _weights(log: ClickLog, weighed: bool, largest: float | None) -> np.ndarray:
    """The weight of each shown document if it is clicked, float64 `[pairs]`."""
    if largest is not None and not largest >= 1:
        raise BadInput(f"largest_weight = {largest}: a number from 1 is expected, for no propensity is above 1.")
    if not weighed:
        return np.ones(log.shown.pairs)
    if log.propensities is None:
        raise BadInput(
            "this log has no propensities to weigh its clicks by: give it some with `log.with_propensities(...)`, "
            "or take clicks as they are with weighed = false."
        )
    return np.minimum(1 / log.propensities.astype(np.float64), largest or np.inf)


def _rows(log: ClickLog, collection: Collection) -> np.ndarray:
    """The row in the collection of the query of each session, joined by id."""
    refuse_other_corpus(log.shown, collection, "the log")
    known = {query: row for row, query in enumerate(collection.queries.ids)}
    ids = [*(log.shown.query_ids or ())]
    strange = [query for query in ids if query not in known]
    if strange:
        raise BadInput(f"the log has {len(strange)} sessions of queries that {collection.name} lacks: {strange[0]!r}.")
    return np.array([known[query] for query in ids], np.int64)
