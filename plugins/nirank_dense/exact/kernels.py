"""The compiled loops of the two-pass search: products of codes, a bound of every pair, the score of few.

They follow the documents block by block, so that a block's codes, products and vectors are still in the processor's
cache when they are used next. Nothing here decides what is right: the bounds come from `nirank_dense.exact.quantised`.

Instructions: those of the processor at hand, none in particular. Sums are added up as its registers suggest, and what
could round otherwise is scored again (`nirank_dense.exact.rounded`): scores have the same bits with any.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nirank.kit import compiled

Column = NDArray[Any]

#: Sums may be added up in another order, and many numbers at a time.
_FAST = {"reassoc", "contract", "nsz"}
#: Documents whose bounds are compared at once.
GROUP = 128
#: Documents whose codes stay in the cache nearest to the processor while query after query is multiplied with them.
_NEAR = 512


class Bounds(NamedTuple):
    """The numbers that bounds of documents are made of: columns of `Quantised`, `[documents]`."""

    scales: Column
    lengths: Column
    errors: Column

    def of(self, documents: slice) -> Bounds:
        """The numbers of some documents."""
        return Bounds(*(column[documents] for column in self))


class Weights(NamedTuple):
    """The numbers that bounds of queries are made of, `[queries]`; the floor is in the steps of each query."""

    by_length: Column
    by_error: Column
    steps: Column

    def of(self, queries: slice) -> Weights:
        """The numbers of some queries."""
        return Weights(*(column[queries] for column in self))


class Exact(NamedTuple):
    """The vectors of scores: `queries` float64 `[queries, dim]` and `documents` float32 `[documents, dim]`.

    No document is longer than its norm. `apart` `[queries]` times the norm is how far a sum of products can lie from
    the exact one.
    """

    queries: Column
    apart: Column
    documents: Column
    norms: Column


class BestScores(NamedTuple):
    """The best scores of each query so far, float32 `[queries, k]`, the last of them first (a heap); or none.

    `floor`, float64 `[queries]`, is the score to reach: it rises as the last of the best does.
    """

    scores: Column
    floor: Column


class PairColumns(NamedTuple):
    """Columns that pairs are written into: query `rows[p]`, document `docs[p]` and score.

    A pair is `doubtful` where its score might round to another number.
    """

    rows: Column
    docs: Column
    scores: Column
    doubtful: Column


def read_only(column: Column) -> Column:
    """Mapped columns may be read-only, and code is compiled for one type: so let all be."""
    view = np.ascontiguousarray(column).view()
    view.flags.writeable = False
    return view


def bounds(*columns: Column) -> Bounds:
    """Scales, lengths and errors of documents as the compiled code wants them."""
    return Bounds(*map(read_only, columns))


def space(pairs: int) -> PairColumns:
    """Room for a number of pairs; pages that are not written to cost no memory."""
    rows, docs = (np.empty(pairs, np.int32) for _ in range(2))
    return PairColumns(rows, docs, np.empty(pairs, np.float32), np.empty(pairs, np.bool_))


@compiled(fastmath=_FAST)
def multiply(queries: Column, codes: Column, products: Column) -> None:
    """Write the dot products of `queries` with `codes` (both int8) into `products`, int32 `[queries, codes]`."""
    for low in range(0, len(codes), _NEAR):
        near = codes[low : low + _NEAR]
        for query in range(len(queries)):
            _multiply_one(queries[query], near, products[query, low : low + _NEAR])


@compiled(fastmath=_FAST)
def _multiply_one(query: Column, codes: Column, products: Column) -> None:
    for document in range(len(codes)):
        products[document] = _product(query, codes[document])


@compiled(fastmath=_FAST)
def _product(query: Column, codes: Column) -> Any:
    total = np.int32(0)
    for place in range(len(query)):
        total += np.int32(codes[place]) * np.int32(query[place])
    return total


@compiled(fastmath=_FAST)
def best_of_groups(products: Column, scales: Column, best: Column) -> None:
    """Fill `best` `[queries, groups]` with the highest coarse score of each group, in steps.

    Document i belongs to group i modulo the number of groups.
    """
    groups = best.shape[1]
    for query in range(len(products)):
        best[query] = -np.inf
        for low in range(0, len(scales), groups):
            _take_higher(products[query, low : low + groups], scales[low : low + groups], best[query])


@compiled(fastmath=_FAST)
def _take_higher(products: Column, scales: Column, best: Column) -> None:
    for place in range(len(products)):
        score = np.float32(products[place]) * scales[place]
        best[place] = score if score > best[place] else best[place]


@compiled(fastmath=_FAST)
def count(products: Column, bounds: Bounds, weights: Weights, counts: Column) -> None:
    """Fill `counts` with how many documents may reach each query's floor, judged by their codes."""
    scales, lengths, errors = bounds
    for query in range(len(products)):
        by_length, by_error, steps = weights.by_length[query], weights.by_error[query], weights.steps[query]
        counts[query] = _count(products[query], scales, lengths, errors, by_length, by_error, steps)


@compiled(fastmath=_FAST)
def reaching(products: Column, bounds: Bounds, weights: Weights, low: int, rows: Column, docs: Column) -> int:
    """Write down the pairs that may reach their query's floor, judged by their codes; returns how many there are.

    `products` are those of documents from `low` on. There is room for one pair more.
    """
    scales, lengths, errors = bounds
    marks = np.zeros(GROUP, np.bool_)
    end = 0
    for query in range(len(products)):
        begin, row = end, products[query]
        by_length, by_error, steps = weights.by_length[query], weights.by_error[query], weights.steps[query]
        for first in range(0, len(row), GROUP):
            some, last = row[first : first + GROUP], first + GROUP
            columns = scales[first:last], lengths[first:last], errors[first:last]
            if _count(some, *columns, by_length, by_error, steps):
                _mark(some, *columns, by_length, by_error, steps, marks)
                end = _list(marks, len(some), low + first, docs, end)
        rows[begin:end] = query
    return end


@compiled(fastmath=_FAST)
def _count(
    products: Column, scales: Column, lengths: Column, errors: Column, by_length: float, by_error: float, steps: float
) -> Any:
    reached = np.int32(0)
    for place in range(len(products)):
        bound = np.float32(products[place]) * scales[place] + by_length * lengths[place] + by_error * errors[place]
        reached += np.int32(bound >= steps)
    return reached


@compiled(fastmath=_FAST)
def _mark(
    products: Column,
    scales: Column,
    lengths: Column,
    errors: Column,
    by_length: float,
    by_error: float,
    steps: float,
    marks: Column,
) -> None:
    for place in range(len(products)):
        bound = np.float32(products[place]) * scales[place] + by_length * lengths[place] + by_error * errors[place]
        marks[place] = bound >= steps


@compiled(fastmath=_FAST)
def _list(marks: Column, length: int, low: int, docs: Column, end: int) -> int:
    """Write down the marked documents from `end` on; returns the new end. Marks are read eight at a time."""
    marks[length:] = False
    words = marks.view(np.uint64)
    for word in range(len(words)):
        if words[word]:
            for place in range(8 * word, 8 * word + 8):
                docs[end] = low + place
                end += marks[place]
    return end


@compiled(fastmath=_FAST)
def confirm(queries: Column, codes: Column, bounds: Bounds, weights: Weights, pairs: int, found: PairColumns) -> int:
    """Keep those of the first `pairs` written down that may reach their floor by all of their codes: how many."""
    kept = 0
    for place in range(pairs):
        query, document = found.rows[place], found.docs[place]
        product = np.float32(_product(queries[query], codes[document])) * bounds.scales[document]
        length, error = bounds.lengths[document], bounds.errors[document]
        bound = product + weights.by_length[query] * length + weights.by_error[query] * error
        found.rows[kept], found.docs[kept] = query, document
        kept += bound >= weights.steps[query]
    return kept


@compiled(fastmath=_FAST)
def score(exact: Exact, docs: Column, scores: Column) -> None:
    """Fill `scores` with what documents score with the first query, or the next lower number of float32."""
    for place in range(len(docs)):
        document = docs[place]
        apart = exact.apart[0] * np.float64(exact.norms[document])
        scores[place] = np.float32(_dot(exact.queries[0], exact.documents[document]) - apart)


@compiled(fastmath=_FAST)
def judge(exact: Exact, best: BestScores, pairs: int, found: PairColumns) -> int:
    """Score the first `pairs` that are written down, and keep those that reach their query's floor: how many."""
    kept = 0
    for place in range(pairs):
        query, document = found.rows[place], found.docs[place]
        score = _dot(exact.queries[query], exact.documents[document])
        apart = exact.apart[query] * np.float64(exact.norms[document])
        lower, upper = np.float32(score - apart), np.float32(score + apart)
        found.rows[kept], found.docs[kept], found.scores[kept] = query, document, lower
        found.doubtful[kept] = lower != upper
        kept += upper >= best.floor[query]
        if best.scores.shape[1] and lower > best.scores[query, 0]:
            _take_in(best.scores[query], lower)
            best.floor[query] = max(best.floor[query], np.float64(best.scores[query, 0]))
    return kept


@compiled(fastmath=_FAST)
def _take_in(heap: Column, score: Any) -> None:
    """Have a score replace the least of a heap."""
    place, below = 0, 1
    while below < len(heap):
        if below + 1 < len(heap) and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= score:
            break
        heap[place] = heap[below]
        place, below = below, 2 * below + 1
    heap[place] = score


@compiled(fastmath=_FAST)
def _dot(left: Column, right: Column) -> Any:
    total = np.float64(0)
    for place in range(len(left)):
        total += left[place] * np.float64(right[place])
    return total
