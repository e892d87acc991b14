"""The first pass over codes, by instructions that multiply many bytes and add the products up.

A tile is some documents by some queries, whose sums stay in registers while the dimensions go by; the next tile is
fetched from memory meanwhile. Sums are compared with what they have to reach before they leave the registers: nothing
is written but which pairs do. Few queries are taken one by one, as fast as memory gives documents: as many of these at
once as a register has lanes, while the next are fetched.

AVX512-VNNI multiplies 64 bytes and adds up four products in 32 bits, in one instruction. Of 100,000 x 384 codes, on one
core of an AMD EPYC (Zen 4) whose limit is 472 billion operations a second, 32 or 1,000 queries run at 440 and 434;
torch's product alone at 215 and 416. AVX2 multiplies 32 bytes and adds up two products in 16 bits, where they must not
overflow: so codes of queries in tiles are `COARSER`, from -32 to 32, and two sums are added up before they are widened
to 32 bits. That gives a third more products a second than codes of 7 bits, which leave no room for it, and twice as
many as float32 gives: 94, 67 and at most 56 billion on one core of a Zen 3.

The instructions multiply bytes without a sign (queries, raised by `_RAISED`) with bytes that have one (documents); what
is too much by that, so many times the sum of a document's codes, is where its sums begin. Few queries wait for memory
anyway, and AVX2 has time to give them the signs of the documents' codes instead. Queries that are shorter than what is
read at once are filled up with 0, so that it does not matter what lies behind the codes of a document. Behind the last
one there may be no memory: the last few are copied, and all are where one is shorter than a register.

Nothing here decides what is right: the bounds come from `nirank_dense.exact.quantised`.

Instructions: AVX2, or VNNI (`nirank_dense.exact.instructions`). Others do without this module
(`nirank_dense.exact.code_products`).
"""

# ruff: noqa: ARG001 (numba hands types to the functions that emit instructions, and values to what these return)

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from nirank.kit import compiled, inner
from nirank_dense.exact.instructions import (
    CHUNK,
    FLOAT,
    FLOATS,
    HAS_VNNI,
    INT32,
    INTS,
    LANES,
    Instructions,
    lowest_bit,
    number,
)
from nirank_dense.exact.kernels import Weights, read_only
from nirank_dense.exact.quantised import Quantised

Column = NDArray[Any]


#: Documents and queries of a tile; a register holds `LANES` sums, and `_QUADS` times four dimensions are a step.
TILE, PANEL, _QUADS = (12, 32, 1) if HAS_VNNI else (4, 24, 2)
#: Steps of queries in tiles are so many times as long as elsewhere; and what is added to codes so that none has a sign.
COARSER, _RAISED = (1, 128) if HAS_VNNI else (4, 32)
#: Documents that are compared at once with few queries.
GROUP = LANES


class DocumentCodes(NamedTuple):
    """Codes of documents and what their bounds are made of, `[documents]`; `starts` are where sums begin.

    `longest` and `widest` are the largest of the `lengths` and `errors` of each tile.
    """

    codes: Column
    starts: Column
    scales: Column
    lengths: Column
    errors: Column
    longest: Column
    widest: Column


class Whole(NamedTuple):
    """All documents, and copies of the last tile and of the last group, with memory behind them."""

    documents: DocumentCodes
    last_tile: DocumentCodes
    last_group: DocumentCodes


def whole(quantised: Quantised) -> Whole:
    """Documents as the functions here read them; there is at least one."""
    codes = read_only(widened(quantised.codes))
    starts = np.empty(len(codes), np.int32)
    sum_up(codes, -_RAISED, starts)
    columns = [starts, quantised.scales, quantised.lengths, quantised.errors]
    return Whole(_documents(codes, columns), *(_documents(*last(codes, columns, size)) for size in (TILE, GROUP)))


def widened(codes: Column) -> Column:
    """Codes that fill a register at least: what is read at once must not reach beyond the next document."""
    short = max(0, CHUNK - codes.shape[1])
    return np.pad(codes, ((0, 0), (0, short))) if short else codes


def last(codes: Column, columns: list[Column], size: int) -> tuple[Column, list[Column]]:
    """The codes and columns of the last 1 to `size` documents, filled up to `size`, with room for reading behind."""
    first = (len(codes) - 1) // size * size
    room = np.zeros((size, codes.shape[1] + CHUNK), codes.dtype)
    room[: len(codes) - first, : codes.shape[1]] = codes[first:]
    return room, [np.pad(column[first:], (0, first + size - len(codes))) for column in columns]


def _documents(codes: Column, columns: list[Column]) -> DocumentCodes:
    tiles = range(0, len(codes), TILE)
    most = (np.maximum.reduceat(column, tiles) for column in columns[2:])
    return DocumentCodes(*map(read_only, (codes, *columns, *most)))


def panels(codes: Column) -> Column:
    """Codes of queries for `many`: uint8 `[panels, steps, _QUADS * PANEL * 4]`."""
    raised = _raised(codes, PANEL, 4 * _QUADS, _RAISED)
    quads = raised.reshape(-1, PANEL, raised.shape[1] // 4, 4).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(quads).reshape(len(quads), -1, _QUADS * PANEL * 4)


def panel_weights(weights: Weights) -> Column:
    """The weights of queries for `many`, float32 `[panels, 3, PANEL]`; queries that fill up reach nothing."""
    count = -(-len(weights.steps) // PANEL)
    filled = np.zeros((3, count * PANEL), np.float32)
    filled[2] = np.inf
    filled[:, : len(weights.steps)] = weights
    return np.ascontiguousarray(filled.reshape(3, count, PANEL).transpose(1, 0, 2))


def rows(weights: Weights) -> Column:
    """The weights of queries for `few`, float32 `[queries, 3]`."""
    return np.stack(weights, axis=1)


def chunks(codes: Column) -> Column:
    """Codes of queries for `few`, which are not coarser: uint8 `[queries, dim]`, filled up to whole registers."""
    return _raised(codes, 1, CHUNK, _RAISED if HAS_VNNI else 0)


def _raised(codes: Column, queries: int, dim: int, by: int) -> Column:
    """Codes raised by a number, filled up with 0 to multiples of so many queries and dimensions."""
    raised = np.zeros(
        [-(-size // unit) * unit for size, unit in zip(codes.shape, (queries, dim), strict=True)], np.uint8
    )
    raised[: codes.shape[0], : codes.shape[1]] = codes.view(np.uint8) + np.uint8(by)
    return raised


@compiled
def sum_up(codes: Column, times: int, starts: Column) -> None:
    """Fill `starts` with so many times the sum of each document's codes."""
    for document in range(len(codes)):
        total = np.int32(0)
        for code in codes[document]:
            total += np.int32(code)
        starts[document] = times * total


class _Addresses(NamedTuple):
    """Addresses at which the columns of `DocumentCodes` begin, and the length of a document in bytes."""

    codes: int
    dim: int
    starts: int
    scales: int
    lengths: int
    errors: int
    longest: int
    widest: int


class _Tile(NamedTuple):
    """Addresses of what a tile of documents is compared with and by, and of what comes `out`: masks, or sums.

    `steps` make up a query.
    """

    codes: int
    dim: int
    queries: int
    steps: int
    starts: int
    scales: int
    longest: int
    widest: int
    weights: int
    out: int


class _Group(NamedTuple):
    """Addresses of what a group of documents is compared with and by; `chunks` registers hold a query."""

    codes: int
    dim: int
    query: int
    chunks: int
    starts: int
    scales: int
    lengths: int
    errors: int
    weights: int


@inner
def _addresses(documents: DocumentCodes) -> Any:
    return _Addresses(
        documents.codes.ctypes.data,
        documents.codes.shape[1],
        documents.starts.ctypes.data,
        documents.scales.ctypes.data,
        documents.lengths.ctypes.data,
        documents.errors.ctypes.data,
        documents.longest.ctypes.data,
        documents.widest.ctypes.data,
    )


@compiled
def many(
    whole: Whole, queries: Column, weights: Column, block: int, low: int, high: int, rows: Column, docs: Column
) -> tuple[int, int]:
    """Write down the pairs of documents `low` up to `high` that may reach their query's floor, judged by their codes.

    `queries` are of `panels`, `weights` of `panel_weights`. `low` and `block` are multiples of `TILE`: `block`
    documents are compared with all queries before the next. Returns how many pairs there are, and the document to go on
    with where `rows` and `docs` have no room for another block.
    """
    documents, last = _addresses(whole.documents), _addresses(whole.last_tile)
    filled = len(whole.documents.codes) - TILE  # up to here a tile, and what lies behind it, is of documents alone
    masks, end = np.zeros(-(-TILE * PANEL // 64), np.uint64), 0
    for start in range(low, high, block):
        stop = min(start + block, high)
        if end + (stop - start) * len(queries) * PANEL > len(rows):
            return end, start
        for panel in range(len(queries)):
            compared = queries[panel].ctypes.data, queries.shape[1], weights[panel].ctypes.data
            for document in range(start, stop, TILE):
                if document < filled:
                    _tile_of(documents, document, compared, masks)
                else:
                    _tile_of(last, 0, compared, masks)
                end = _list(masks, document, stop, panel * PANEL, rows, docs, end)
    return end, high


@inner
def _tile_of(documents: _Addresses, first: int, panel: tuple[int, int, int], masks: Column) -> None:
    _compare_tile(_tile(documents, first, panel, masks.ctypes.data))


@inner
def _sums_of(documents: _Addresses, first: int, panel: tuple[int, int, int], sums: Column) -> None:
    _multiply_tile(_tile(documents, first, panel, sums.ctypes.data))


@inner
def _tile(documents: _Addresses, first: int, panel: tuple[int, int, int], out: int) -> Any:
    return _Tile(
        documents.codes + first * documents.dim,
        documents.dim,
        panel[0],
        panel[1],
        documents.starts + 4 * first,
        documents.scales + 4 * first,
        documents.longest + 4 * (first // TILE),
        documents.widest + 4 * (first // TILE),
        panel[2],
        out,
    )


@inner
def _list(masks: Column, first: int, stop: int, query: int, rows: Column, docs: Column, end: int) -> int:
    """Write down what is marked; a document has as many bits as there are queries in a panel."""
    for place in range(len(masks)):
        word = masks[place]
        while word:
            bit = 64 * place + np.int64(lowest_bit(word))
            rows[end], docs[end] = query + bit % PANEL, first + bit // PANEL
            end += docs[end] < stop
            word &= word - np.uint64(1)
    return end


@compiled
def best_of_groups(whole: Whole, queries: Column, best: Column) -> None:
    """Fill `best` `[panels, groups, PANEL]` with the highest coarse score of each group of documents, in steps.

    Document i belongs to group i modulo the number of groups. `queries` are of `panels`.
    """
    documents, last = _addresses(whole.documents), _addresses(whole.last_tile)
    count, scales, groups = len(whole.documents.codes), whole.documents.scales, best.shape[1]
    sums = np.empty((TILE, PANEL), np.int32)
    best[:] = -np.inf
    for panel in range(len(queries)):
        compared = queries[panel].ctypes.data, queries.shape[1], 0
        for first in range(0, count, TILE):
            if first < count - TILE:
                _sums_of(documents, first, compared, sums)
            else:
                _sums_of(last, 0, compared, sums)
            for document in range(first, min(first + TILE, count)):
                highest, row = best[panel, document % groups], sums[document - first]
                for query in range(PANEL):
                    highest[query] = max(highest[query], np.float32(row[query]) * scales[document])


@compiled
def few(
    whole: Whole, queries: Column, weights: Column, low: int, high: int, rows: Column, docs: Column
) -> tuple[int, int]:
    """The same as `many`, query by query: `queries` are of `chunks`, `weights` `[queries, 3]`.

    `low` is a multiple of `GROUP`.
    """
    documents, last = _addresses(whole.documents), _addresses(whole.last_group)
    filled, end = len(whole.documents.codes) - GROUP, 0
    for document in range(low, high, GROUP):
        if end + GROUP * len(queries) > len(rows):
            return end, document
        for query in range(len(queries)):
            compared = queries[query].ctypes.data, queries.shape[1] // CHUNK, weights[query].ctypes.data
            if document < filled:
                mask = _group_of(documents, document, compared)
            else:
                mask = _group_of(last, 0, compared)
            for lane in range(min(GROUP, high - document) if mask else 0):
                rows[end], docs[end] = query, document + lane
                end += (mask >> lane) & 1
    return end, high


@compiled
def best_of_groups_for_few(whole: Whole, queries: Column, best: Column) -> None:
    """The same as `best_of_groups`, query by query: `queries` are of `chunks`, `best` is `[queries, groups]`."""
    documents, last = _addresses(whole.documents), _addresses(whole.last_group)
    count, scales, groups = len(whole.documents.codes), whole.documents.scales, best.shape[1]
    sums = np.empty(GROUP, np.int32)
    best[:] = -np.inf
    for query in range(len(queries)):
        compared, highest = (queries[query].ctypes.data, queries.shape[1] // CHUNK, 0), best[query]
        for first in range(0, count, GROUP):
            if first < count - GROUP:
                _multiply_group(_group(documents, first, compared), sums.ctypes.data)
            else:
                _multiply_group(_group(last, 0, compared), sums.ctypes.data)
            for document in range(first, min(first + GROUP, count)):
                place = document % groups
                highest[place] = max(highest[place], np.float32(sums[document - first]) * scales[document])


@inner
def _group_of(documents: _Addresses, first: int, query: tuple[int, int, int]) -> Any:
    return _compare_group(_group(documents, first, query))


@inner
def _group(documents: _Addresses, first: int, query: tuple[int, int, int]) -> Any:
    return _Group(
        documents.codes + first * documents.dim,
        documents.dim,
        query[0],
        query[1],
        documents.starts + 4 * first,
        documents.scales + 4 * first,
        documents.lengths + 4 * first,
        documents.errors + 4 * first,
        query[2],
    )


# Instructions that numba has no words for, in those of LLVM. All arguments are addresses, or counts.

#: Registers that the queries of a panel fill, and their places for each quad of a step.
_REGISTERS = range(PANEL // LANES)


@intrinsic
def _compare_tile(_context: Any, tile: Any) -> Any:
    """Compare `TILE` documents with `PANEL` queries; a mask of `LANES` bits for each document and register."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        make, tile = Instructions(builder), _Tile(*cgutils.unpack_tuple(builder, arguments[0]))
        sums = _sums_of_tile(make, tile)
        wanted = _wanted_of_panel(make, tile)
        for document in range(TILE):
            scale = make.spread(tile.scales, FLOAT, document)
            for register in _REGISTERS:
                mask = make.reached(builder.load(sums[document][register]), scale, wanted[register])
                make.store(mask, tile.out, document * len(_REGISTERS) + register)
        return context.get_dummy_value()

    return types.void(tile), emit


@intrinsic
def _multiply_tile(_context: Any, tile: Any) -> Any:
    """Write the products of `TILE` documents with `PANEL` queries, int32 `[TILE, PANEL]`."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        make, tile = Instructions(builder), _Tile(*cgutils.unpack_tuple(builder, arguments[0]))
        sums = [total for of_document in _sums_of_tile(make, tile) for total in of_document]
        for place, total in enumerate(sums):
            make.store(builder.load(total), tile.out, place)
        return context.get_dummy_value()

    return types.void(tile), emit


def _sums_of_tile(make: Instructions, tile: _Tile) -> list[list[Any]]:
    """Products of the codes of each document and each register of queries, added up in variables."""
    multiply, dim = make.builder.mul, tile.dim
    begins = [make.spread(tile.starts, INT32, document) for document in range(TILE)]
    sums = [[make.variable(begin) for _ in _REGISTERS] for begin in begins]
    rows = [make.after(tile.codes, multiply(dim, number(document))) for document in range(TILE)]
    next_tile = make.after(tile.codes, multiply(dim, number(TILE)))
    with cgutils.for_range(make.builder, tile.steps) as loop:
        make.fetch(make.after(next_tile, multiply(loop.index, number(4 * _QUADS * TILE))))
        place = make.after(tile.queries, multiply(loop.index, number(4 * _QUADS * PANEL)))
        queries = [
            [make.load(place, INTS, len(_REGISTERS) * quad + register) for quad in range(_QUADS)]
            for register in _REGISTERS
        ]
        offset = multiply(loop.index, number(4 * _QUADS))
        for row, of_row in zip(rows, sums, strict=True):
            codes = [make.spread(make.after(row, offset), INT32, quad) for quad in range(_QUADS)]
            for register, total in zip(queries, of_row, strict=True):
                make.add_products(total, register, codes)
    return sums


def _wanted_of_panel(make: Instructions, tile: _Tile) -> list[Any]:
    """The numbers that products of a tile have to reach, for each register of queries."""
    length, error = make.spread(tile.longest, FLOAT), make.spread(tile.widest, FLOAT)
    wanted = []
    for register in _REGISTERS:
        by_length, by_error, steps = (
            make.load(tile.weights, FLOATS, len(_REGISTERS) * row + register) for row in range(3)
        )
        wanted.append(make.wanted(by_length, length, by_error, error, steps))
    return wanted


@intrinsic
def _compare_group(_context: Any, group: Any) -> Any:
    """Compare `GROUP` documents with one query; returns a mask of as many bits."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        make, group = Instructions(builder), _Group(*cgutils.unpack_tuple(builder, arguments[0]))
        sums = _sums_of_group(make, group)
        scale, length, error = (make.load(column, FLOATS) for column in (group.scales, group.lengths, group.errors))
        by_length, by_error, steps = (make.spread(group.weights, FLOAT, row) for row in range(3))
        wanted = make.wanted(by_length, length, by_error, error, steps)
        return builder.zext(make.reached(sums, scale, wanted), INT32)

    return types.uint32(group), emit


@intrinsic
def _multiply_group(_context: Any, group: Any, out: Any) -> Any:
    """Write the products of `GROUP` documents with one query, int32."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        make, group = Instructions(builder), _Group(*cgutils.unpack_tuple(builder, arguments[0]))
        make.store(_sums_of_group(make, group), arguments[1], 0)
        return context.get_dummy_value()

    return types.void(group, out), emit


def _sums_of_group(make: Instructions, group: _Group) -> Any:
    """Products of the codes of each document of a group and of the query, added up in lanes."""
    multiply, after = make.builder.mul, make.after
    rows = [after(group.codes, multiply(group.dim, number(document))) for document in range(GROUP)]
    ahead = [after(row, multiply(group.dim, number(GROUP))) for row in rows]
    total = make.products(rows, ahead, group.query, group.chunks)
    return make.builder.add(total, make.load(group.starts, INTS)) if HAS_VNNI else total
