"""Exact search in two passes: codes of a byte find a superset of the best `k`, float32 decides.

A sample of the documents says what score about the k-th best will have: the floor. The first pass drops every document
whose bound (`nirank_dense.quantised`) is below the floor. What is left is scored in float32, and gives a k-th best
score that is certain. Where that is not below the floor, nothing that was dropped can be among the best `k`, or tie
with the last of them. Where it is, the floor was too high: it is lowered for these queries, and the pass repeated.
What then is within rounding of the k-th best is scored pair by pair, as every search here does it, and those scores
rank: the result is that of a scan of all documents in float32, whatever the floors were.

Where so many documents come near the best that the first pass spares nothing, queries are left to such a scan.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nirank.batches import pair_products
from nirank.data import Candidates, Floats, Ints
from nirank_dense.coarse import pays
from nirank_dense.quantised import Asked, Quantised, askable
from nirank_dense.sample import Sample
from nirank_dense.sieve import Pairs, Sieve
from nirank_dense.threads import mapping, shared

log = logging.getLogger("nirank")

#: Up to one document in so many is worth scoring twice, and up to so many for each that is wanted, and beside them.
_ONE_IN, _TIMES, _BESIDE = 16, 8, 8192
#: How many more documents a floor that was too high is made to let through.
_WIDER = 8
#: Pairs, at least, for each thread.
_PAIRS = 2**14


@dataclass
class Passes:
    """How often what happened: `queries` asked, floors lowered (`widened`), queries left to a whole scan (`scanned`).

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
    `block` is the number of documents looked at at once. `passes` counts.
    """

    def __init__(
        self, vectors: Floats, documents: Quantised, scan: Callable[[Floats, int], Candidates], block: int | None = None
    ) -> None:
        self.passes = Passes()
        self._scan, self._vectors, self._centre = scan, vectors, documents.centre
        self._sample, self._sieve = Sample(documents), Sieve(vectors, documents, block)

    def suits(self, queries: int, k: int) -> bool:
        """Whether searching for the best `k` of so many queries this way is worth while."""
        return 0 < 4 * _ONE_IN * k <= len(self._vectors) and pays(queries, self._vectors.shape[1])

    def search(self, queries: Floats, k: int) -> Candidates:
        """The best `k` documents of each query, float32 `[queries, dim]`, ranked."""
        able = askable(queries)
        rows = np.flatnonzero(able)
        pairs, unspared = self._superset(Asked.of(queries[rows], self._centre), k)
        left = np.concatenate([np.flatnonzero(~able), rows[unspared]])
        self._count(len(queries), len(left))
        found = rows[pairs.rows]
        columns: list[tuple[Ints, Ints, Floats]] = [(found, pairs.docs, self._scores(queries, found, pairs.docs))]
        if len(left):
            scanned = self._scan(queries[left], k)
            columns.append((left[scanned.rows], scanned.docs, scanned.scores))
        return _grouped(len(queries), *map(np.concatenate, zip(*columns, strict=True))).top(k)

    def _superset(self, asked: Asked, k: int) -> tuple[Pairs, NDArray[np.int64]]:
        """The best `k` of each query and what is within rounding of them, and the queries that a scan suits better."""
        waiting, rank = np.arange(len(asked)), self._sample.rank(k)
        found, left = [], [waiting[:0]]
        while len(waiting):
            steps, reached = self._sample.floors(asked.take(waiting), rank)
            spared = reached <= min(len(self._vectors) / _ONE_IN, _TIMES * k + _BESIDE)
            left.append(waiting[~spared])
            waiting = waiting[spared]
            pairs, settled = self._pass(asked.take(waiting), steps[spared], k)
            found.append(Pairs(waiting[pairs.rows], pairs.docs, pairs.lower, pairs.upper))
            waiting, rank = waiting[~settled], _WIDER * rank
            self.passes.widened += len(waiting)
        return Pairs.joined(found), np.concatenate(left)

    def _pass(self, asked: Asked, steps: Floats, k: int) -> tuple[Pairs, NDArray[np.bool_]]:
        """What may be among the best `k`, and for which queries that is all that may."""
        pairs, floor = self._sieve.pairs(asked, steps)
        self.passes.scored += len(pairs.rows)
        best = _kth_best(len(asked), pairs.rows, pairs.lower, k)
        settled: NDArray[np.bool_] = best >= floor
        return pairs.where(settled[pairs.rows] & (pairs.upper >= best[pairs.rows])), settled

    def _scores(self, queries: Floats, rows: Ints, docs: Ints) -> Floats:
        """The dot product of each pair, added up in the same way wherever the pair stands, `[pairs]`."""
        shares = shared(len(rows), _PAIRS)
        with mapping(len(shares)) as run:
            parts = run(lambda share: pair_products(queries, self._vectors, rows[share], docs[share]), shares)
            return np.concatenate(list(parts))

    def _count(self, queries: int, scanned: int) -> None:
        self.passes.queries += queries
        self.passes.scanned += scanned
        log.debug("exact search in two passes, so far: %s", self.passes)


def _grouped(queries: int, rows: Ints, docs: Ints, scores: Floats) -> Candidates:
    order, offsets = _by_query(queries, rows)
    return Candidates(offsets, docs[order], scores[order])


def _kth_best(queries: int, rows: Ints, scores: Floats, k: int) -> Floats:
    """The k-th highest score of each query, -inf where there are fewer, `[queries]`."""
    order, offsets = _by_query(queries, rows)
    scores, best = scores[order], np.full(queries, -np.inf, np.float32)
    for row, (start, stop) in enumerate(pairwise(offsets.tolist())):
        if stop - start >= k:
            best[row] = np.partition(scores[start:stop], stop - start - k)[stop - start - k]
    return best


def _by_query(queries: int, rows: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An order that brings the pairs of one query together, and where in it each query's begin, `[queries + 1]`."""
    order = np.argsort(rows.astype(np.uint16), kind="stable")  # of so few bits numpy counts instead of comparing
    return order, np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=queries))])
