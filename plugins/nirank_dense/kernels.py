"""The compiled loops of the two-pass search: products of codes, a first bound of every pair, a second of few.

They follow the documents block by block, so that a block's codes, products and vectors are still in the processor's
cache when they are used next. Nothing here decides what is right: the bounds come from `nirank_dense.quantised`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nirank.compiling import compiled

Column = NDArray[Any]

#: Sums may be added up in another order, and many numbers at a time.
_FAST = {"reassoc", "contract", "nsz"}
#: Documents whose bounds are compared at once.
GROUP = 128
#: Documents whose codes stay in the cache nearest to the processor while query after query is multiplied with them.
_NEAR = 512
#: More than what a dot product loses where numbers are too small for float32.
_TINY = np.float32(2.0**-100)


class Bounds(NamedTuple):
    """What the bounds of documents are made of: columns of `Quantised`, `[documents]`."""

    scales: Column
    lengths: Column
    errors: Column

    def of(self, documents: slice) -> Bounds:
        """Those of some documents."""
        return Bounds(*(column[documents] for column in self))


class Weights(NamedTuple):
    """What the bounds of queries are made of, `[queries]`: columns of `Asked`, and the floor in the query's steps."""

    by_length: Column
    by_error: Column
    steps: Column

    def of(self, queries: slice) -> Weights:
        """Those of some queries."""
        return Weights(*(column[queries] for column in self))


class Exact(NamedTuple):
    """What scores are made of: `vectors` of queries and documents, `[queries, dim]` and `[documents, dim]`.

    No document is longer than its norm. `rounding` `[queries]` times the norm is how far two ways of adding up a dot
    product can lie apart, and `floor` `[queries]` is the score to reach.
    """

    queries: Column
    rounding: Column
    floor: Column
    documents: Column
    norms: Column

    def of(self, queries: slice, documents: slice) -> Exact:
        """Those of some queries and documents."""
        asked = self.queries[queries], self.rounding[queries], self.floor[queries]
        return Exact(*asked, self.documents[documents], self.norms[documents])


class Found(NamedTuple):
    """Where pairs are written: their query and document, and between what their scores lie."""

    rows: Column
    docs: Column
    lower: Column
    upper: Column


def read_only(column: Column) -> Column:
    """Mapped columns may be read-only, and code is compiled for one type: so let all be."""
    view = np.ascontiguousarray(column).view()
    view.flags.writeable = False
    return view


def bounds(*columns: Column) -> Bounds:
    """Scales, lengths and errors of documents as the compiled code wants them."""
    return Bounds(*map(read_only, columns))


def space(queries: int, documents: int) -> Found:
    """Room for all pairs of so many queries and documents; pages that are not written to cost no memory."""
    pairs = queries * documents + 1  # one past the end is written before it is known to count
    rows, docs = (np.empty(pairs, np.int32) for _ in range(2))
    lower, upper = (np.empty(pairs, np.float32) for _ in range(2))
    return Found(rows, docs, lower, upper)


@compiled(fastmath=_FAST)
def multiply(asked: Column, codes: Column, products: Column) -> None:
    """Write the dot products of all `asked` with all `codes` (both int8) into `products`, int32 `[asked, codes]`."""
    for low in range(0, len(codes), _NEAR):
        near = codes[low : low + _NEAR]
        for query in range(len(asked)):
            _multiply_one(asked[query], near, products[query, low : low + _NEAR])


@compiled(fastmath=_FAST)
def _multiply_one(asked: Column, codes: Column, products: Column) -> None:
    for document in range(len(codes)):
        row = codes[document]
        total = np.int32(0)
        for place in range(len(asked)):
            total += np.int32(row[place]) * np.int32(asked[place])
        products[document] = total


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
def reaching(products: Column, bounds: Bounds, weights: Weights, exact: Exact, found: Found) -> int:
    """Write down the pairs that may reach their query's floor, judged by their codes and then by their vectors.

    Returns how many there are.
    """
    scales, lengths, errors = bounds
    marks = np.zeros(GROUP, np.bool_)
    end = 0
    for query in range(len(products)):
        begin, row = end, products[query]
        by_length, by_error, steps = weights.by_length[query], weights.by_error[query], weights.steps[query]
        for low in range(0, len(row), GROUP):
            some, high = row[low : low + GROUP], low + GROUP
            if _count(some, scales[low:high], lengths[low:high], errors[low:high], by_length, by_error, steps):
                _mark(some, scales[low:high], lengths[low:high], errors[low:high], by_length, by_error, steps, marks)
                end = _list(marks, len(some), low, found.docs, end)
        end = _judge(exact, query, found, begin, end)
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
def _judge(exact: Exact, query: int, found: Found, begin: int, end: int) -> int:
    """Of the pairs from `begin` up to `end` keep those whose score may reach the floor; returns their new end."""
    kept = begin
    for place in range(begin, end):
        document = found.docs[place]
        score = _dot(exact.queries[query], exact.documents[document])
        apart = exact.rounding[query] * exact.norms[document] + _TINY
        found.rows[kept], found.docs[kept] = query, document
        found.lower[kept], found.upper[kept] = score - apart, score + apart
        kept += score + apart >= exact.floor[query]
    return kept


@compiled(fastmath=_FAST)
def _dot(left: Column, right: Column) -> Any:
    total = np.float32(0)
    for place in range(len(left)):
        total += left[place] * right[place]
    return total
