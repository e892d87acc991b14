"""The bounds of one query's scores with all documents, by their nibbles (`nirank_dense.exact.nibbles`).

As many documents at once as a register has lanes, while the next are fetched: as fast as memory gives them. Levels are
looked up in a register, all of its codes at once. They are `RAISED` for the products, so that none has a sign; so sums
begin with as many times less of the sum of the query's codes. Four products fill 16 bits, and do not overflow.

Instructions: AVX2, or VNNI (`nirank_dense.exact.instructions`). Others do without this module.
"""

# ruff: noqa: ARG001 (numba hands types to the functions that emit instructions, and values to what these return)

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from nirank.kit import compiled, inner
from nirank_dense.exact import tiles
from nirank_dense.exact.instructions import (
    CHUNK,
    FLOAT,
    FLOATS,
    INT32,
    INTS,
    LANES,
    Instructions,
    lowest_bit,
    number,
)
from nirank_dense.exact.kernels import Column, read_only
from nirank_dense.exact.nibbles import LEVELS, RAISED, Nibbles, width
from nirank_dense.exact.tiles import GROUP

_RAISED_LEVELS = [int(level) + RAISED for level in LEVELS]


class NibbleColumns(NamedTuple):
    """The columns of `Nibbles`."""

    codes: Column
    scales: Column
    lengths: Column
    errors: Column


class WholeNibbles(NamedTuple):
    """All documents, and copies of the last 1 to `GROUP`, with memory behind them."""

    documents: NibbleColumns
    last: NibbleColumns


class NibbleQuery(NamedTuple):
    """A query: its `codes` for the lower and for the upper bits, int8 `[2, bytes]`, filled up to whole registers.

    `start` `[1]` is what sums begin with; `weights` are those of a bound's length and error, `[2]`.
    """

    codes: Column
    start: Column
    weights: Column


class Likely(NamedTuple):
    """The documents of the highest coarse scores, the least of them first (a heap): `scores` and `docs`, `[k]`."""

    scores: Column
    docs: Column


class _Group(NamedTuple):
    """Addresses of what a group of documents is compared with and by, and of where its scores and `bounds` go.

    A document has `width` bytes; `chunks` registers hold half a query, and the other half begins `half` bytes later.
    """

    codes: int
    width: int
    query: int
    half: int
    chunks: int
    start: int
    weights: int
    scales: int
    lengths: int
    errors: int
    least: int
    scores: int
    bounds: int


def whole(nibbles: Nibbles) -> WholeNibbles:
    """Documents as `bound` reads them; there is at least one."""
    codes, columns = tiles.widened(nibbles.codes), [nibbles.scales, nibbles.lengths, nibbles.errors]
    return WholeNibbles(_columns(codes, columns), _columns(*tiles.last(codes, columns, GROUP)))


def _columns(codes: Column, columns: list[Column]) -> NibbleColumns:
    return NibbleColumns(*map(read_only, (codes, *columns)))


def query(codes: NDArray[np.int8], by_length: float, by_error: float) -> NibbleQuery:
    """One query, of its codes `[dim]` and the weights of its bounds."""
    size = width(len(codes))
    halves = np.zeros((2, -(-size // CHUNK) * CHUNK), np.int8)
    halves[0, :size], halves[1, : len(codes) - size] = codes[:size], codes[size:]
    start = -RAISED * codes.sum(dtype=np.int32, keepdims=True)
    return NibbleQuery(halves, start, np.array([by_length, by_error], np.float32))


@compiled
def bound(whole: WholeNibbles, query: NibbleQuery, low: int, high: int, bounds: Column, likely: Likely) -> None:
    """Write the bounds of documents `low` up to `high`, in steps, and take those of the best coarse scores in.

    `low` is a multiple of `GROUP`; `bounds` are of whole groups, and what fills up the last one reaches nothing.
    """
    filled, scores = len(whole.documents.codes) - GROUP, np.empty(GROUP, np.float32)
    for document in range(low, high, GROUP):
        out = scores.ctypes.data, bounds.ctypes.data + 4 * (document - low)
        if document < filled:
            mask = _bounds_of_group(_group(whole.documents, document, query, likely, out))
        else:
            mask = _bounds_of_group(_group(whole.last, 0, query, likely, out))
        for lane in range(min(GROUP, high - document) if mask else 0):
            if scores[lane] > likely.scores[0]:
                _take_in(likely, scores[lane], document + lane)
    bounds[high - low :] = -np.inf


@compiled
def reached(bounds: Column, steps: float, low: int, docs: Column) -> int:
    """Write down the documents, of which the first is `low`, whose bounds reach `steps`: how many there are.

    `bounds` are of whole groups, those that fill up the last one not among them.
    """
    least, end = np.full(1, steps, np.float32), 0
    for first in range(0, len(bounds), GROUP):
        mask = np.uint64(_reached_of_group(bounds.ctypes.data + 4 * first, least.ctypes.data))
        while mask:
            docs[end] = low + first + np.int64(lowest_bit(mask))
            end += 1
            mask &= mask - np.uint64(1)
    return end


@inner
def _group(columns: NibbleColumns, first: int, query: NibbleQuery, likely: Likely, out: tuple[int, int]) -> Any:
    return _Group(
        columns.codes.ctypes.data + first * columns.codes.shape[1],
        columns.codes.shape[1],
        query.codes.ctypes.data,
        query.codes.shape[1],
        query.codes.shape[1] // CHUNK,
        query.start.ctypes.data,
        query.weights.ctypes.data,
        columns.scales.ctypes.data + 4 * first,
        columns.lengths.ctypes.data + 4 * first,
        columns.errors.ctypes.data + 4 * first,
        likely.scores.ctypes.data,
        out[0],
        out[1],
    )


@inner
def _take_in(likely: Likely, score: Any, document: int) -> None:
    """Have a document replace the one of the least score."""
    scores, place, below = likely.scores, 0, 1
    while below < len(scores):
        if below + 1 < len(scores) and scores[below + 1] < scores[below]:
            below += 1
        if scores[below] >= score:
            break
        scores[place], likely.docs[place] = scores[below], likely.docs[below]
        place, below = below, 2 * below + 1
    scores[place], likely.docs[place] = score, document


@intrinsic
def _bounds_of_group(_context: Any, group: Any) -> Any:
    """Write the coarse scores and the bounds of `GROUP` documents; returns a mask of the scores above the `least`."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        make, group = Instructions(builder), _Group(*cgutils.unpack_tuple(builder, arguments[0]))
        total = _products_of_group(make, group)
        total = builder.add(total, make.spread(group.start, INT32))
        scale, length, error = (make.load(column, FLOATS) for column in (group.scales, group.lengths, group.errors))
        by_length, by_error = (make.spread(group.weights, FLOAT, place) for place in range(2))
        scores = builder.fmul(builder.sitofp(total, FLOATS), scale)
        allowed = make.allowed(by_length, length, by_error, error)
        make.store(scores, group.scores, 0)
        make.store(builder.fadd(scores, allowed), group.bounds, 0)
        mask = builder.fcmp_ordered(">", scores, make.spread(group.least, FLOAT))
        return builder.zext(builder.bitcast(mask, ir.IntType(LANES)), INT32)

    return types.uint32(group), emit


@intrinsic
def _reached_of_group(_context: Any, bounds: Any, least: Any) -> Any:
    """A mask of the `GROUP` bounds at an address that are not below the number at another."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        make, (bounds, least) = Instructions(builder), arguments
        mask = builder.fcmp_ordered(">=", make.load(bounds, FLOATS), make.spread(least, FLOAT))
        return builder.zext(builder.bitcast(mask, ir.IntType(LANES)), INT32)

    return types.uint32(bounds, least), emit


def _products_of_group(make: Instructions, group: _Group) -> Any:
    """Products of the codes of each document of a group and of the query, added up in lanes."""
    multiply, sums = make.builder.mul, [make.variable(make.constant(0)) for _ in range(GROUP)]
    rows = [make.after(group.codes, multiply(group.width, number(document))) for document in range(GROUP)]
    next_group, lower = multiply(group.width, number(GROUP)), make.constant(0x0F0F0F0F)
    levels = make.repeated(_RAISED_LEVELS)
    with cgutils.for_range(make.builder, group.chunks) as loop:
        offset = multiply(loop.index, number(CHUNK))
        place = make.after(group.query, offset)
        halves = [make.load(place, INTS), make.load(make.after(place, group.half), INTS)]
        for row, total in zip(rows, sums, strict=True):
            here = make.after(row, offset)
            make.fetch(make.after(here, next_group))
            both = make.load(here, INTS)
            codes = [make.builder.and_(part, lower) for part in (both, make.builder.lshr(both, make.constant(4)))]
            make.add_products(total, [make.looked_up(levels, some) for some in codes], halves)
    return make.each_in_a_lane([make.builder.load(of_document) for of_document in sums])
