"""Exact search in two passes: codes of a byte find a superset of the best `k`, scores decide.

A sample of the documents says what score about the k-th best will have: the floor. The first pass drops every document
whose bound (`nirank_dense.exact.quantised`) is below the floor. What is left is scored (`nirank_dense.exact.rounded`),
and gives a k-th best score that is certain. Where that is not below the floor, nothing that was dropped can be among
the best `k`, or tie with the last of them: the result is that of a scan of all documents, whatever the floors were.
Where it is, the floor was too high: it is lowered for these queries, and the pass repeated.

Queries for which too many documents come near the best, so that the first pass spares nothing, are left to such a scan.

One query alone is searched without a guess, where the processor can and its floor spares enough: the floor is then a
score that `k` documents have (`nirank_dense.exact.one_query`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Floats, Ints, offsets_of
from nirank_dense.exact.code_products import THIS_PROCESSOR, Processor
from nirank_dense.exact.first_pass import FirstPass
from nirank_dense.exact.pairs import ScoredPairs
from nirank_dense.exact.quantised import Quantised, QuantisedQueries, askable, lengths_of
from nirank_dense.exact.sample import DocumentSample

log = logging.getLogger("nirank")

#: Documents worth scoring twice: at most this share of all, and at most this many for each that is wanted, and more.
_SCORED_SHARE, _SCORED_PER_WANTED, _SCORED_MORE = 1 / 16, 8, 8192
#: Times as many documents as are wanted that may come through where a sample says what to reach.
_THROUGH = 4
#: Times as many documents as before that a floor which was too high is made to let through.
_WIDER = 8


@dataclass
class Passes:
    """Counts: `queries` searched, floors lowered (`widened`), queries left to a whole scan (`scanned`).

    `scored` are the pairs of a query and a document that came through the first pass. Where several threads search one
    index at once, some may go uncounted.
    """

    queries: int = 0
    widened: int = 0
    scanned: int = 0
    scored: int = 0


class TwoPass:
    """Search over `vectors`, float32 `[documents, dim]`, and what they are in bytes.

    `scan(queries, k)` finds the best `k` of all documents another way, for queries that this one does not suit.
    `block` is the number of documents looked at at once; `processor` says how codes are multiplied. `passes` counts.
    """

    def __init__(
        self,
        vectors: Floats,
        documents: Quantised,
        scan: Callable[[Floats, int], Candidates],
        block: int | None = None,
        processor: Processor = THIS_PROCESSOR,
    ) -> None:
        self.passes = Passes()
        self._scan, self._shape, self._centre = scan, vectors.shape, documents.centre
        self._processor, self._sample = processor, DocumentSample(documents, processor)
        self._first_pass = FirstPass(vectors, documents, block, processor)

    def suits(self, queries: int, k: int) -> bool:
        """True if searching for the best `k` of this many queries in two passes is worth while."""
        through = 1 if queries == 1 and self._first_pass.takes_one(k) else _THROUGH
        return 0 < through * k <= _SCORED_SHARE * self._shape[0] and self._processor.pays(queries, self._shape[1])

    def search(self, queries: Floats, k: int) -> Candidates:
        """The best `k` documents of each query, float32 `[queries, dim]`, ranked."""
        norms = lengths_of(queries)
        able = askable(norms)
        rows = np.flatnonzero(able)
        pairs, unspared = self._superset(QuantisedQueries.of(queries[rows], self._centre, norms[rows]), k)
        left = np.concatenate([np.flatnonzero(~able), rows[unspared]])
        self._count(len(queries), len(left))
        columns: list[tuple[Ints, Ints, Floats]] = [(rows[pairs.rows], pairs.docs.astype(np.int64), pairs.scores)]
        if len(left):
            scanned = self._scan(queries[left], k)
            columns.append((left[scanned.rows], scanned.docs, scanned.scores))
        return _grouped(len(queries), *map(np.concatenate, zip(*columns, strict=True))).top(k)

    def _superset(self, queries: QuantisedQueries, k: int) -> tuple[ScoredPairs, NDArray[np.int64]]:
        """The best `k` of each query with all that ties with the last of them, and queries that a scan suits better."""
        waiting, rank = np.arange(len(queries)), self._sample.rank(k)
        found, left = [], [waiting[:0]]
        if len(queries) == 1 and (pairs := self._first_pass.pairs_of_one(queries, k)):
            self.passes.scored += len(pairs.rows)
            return pairs, left[0]
        while len(waiting):
            steps, reached = self._sample.floors(queries.take(waiting), rank)
            spared = reached <= min(_SCORED_SHARE * self._shape[0], _SCORED_PER_WANTED * k + _SCORED_MORE)
            left.append(waiting[~spared])
            waiting = waiting[spared]
            pairs, settled = self._pass(queries.take(waiting), steps[spared], k)
            found.append(ScoredPairs(waiting.astype(np.int32)[pairs.rows], pairs.docs, pairs.scores))
            waiting, rank = waiting[~settled], _WIDER * rank
            self.passes.widened += len(waiting)
        return ScoredPairs.joined(found), np.concatenate(left)

    def _pass(self, queries: QuantisedQueries, steps: Floats, k: int) -> tuple[ScoredPairs, NDArray[np.bool_]]:
        """The pairs that may be among the best `k`, and a mask of the queries for which these are all."""
        pairs = self._first_pass.pairs(queries, steps, k)
        self.passes.scored += len(pairs.rows)
        best = _kth_best(len(queries), pairs, k)
        settled: NDArray[np.bool_] = best >= queries.scores_of(steps)
        wanted = np.where(settled, best, np.float32(np.inf))
        return pairs.where(pairs.scores >= wanted[pairs.rows]), settled

    def _count(self, queries: int, scanned: int) -> None:
        self.passes.queries += queries
        self.passes.scanned += scanned
        log.debug("exact search in two passes, so far: %s", self.passes)


def _grouped(queries: int, rows: Ints, docs: Ints, scores: Floats) -> Candidates:
    if queries == 1:
        return Candidates.of_one(docs, scores)
    order, offsets = _by_query(queries, rows)
    return Candidates(offsets, docs[order], scores[order])


def _kth_best(queries: int, pairs: ScoredPairs, k: int) -> Floats:
    """The k-th highest score of each query, -inf where there are fewer, `[queries]`."""
    order, offsets = _by_query(queries, pairs.rows)
    lengths = np.diff(offsets)
    if lengths.max(initial=0) < k:
        return np.full(queries, -np.inf, np.float32)
    places = np.arange(lengths.max())
    matrix = np.full((queries, len(places)), -np.inf, np.float32)
    matrix[places < lengths[:, None]] = pairs.scores[order]
    best: Floats = np.partition(matrix, -k, axis=1)[:, -k]
    return best


def _by_query(queries: int, rows: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An order that brings the pairs of one query together, and where in it each query's begin, `[queries + 1]`."""
    order = np.argsort(rows.astype(np.uint16), kind="stable")  # of so few bits numpy counts instead of comparing
    return order, offsets_of(np.bincount(rows, minlength=queries))
