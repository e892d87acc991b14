"""The first pass over codes, on processors with AVX512-VNNI: 64 products of bytes, added up, in one instruction.

A tile is 12 documents by 32 queries, whose 384 sums stay in registers while the dimensions go by four at a time; the
next tile is fetched from memory meanwhile. Sums are compared with what they have to reach before they leave the
registers: nothing is written but which pairs do. Of 100,000 x 384 codes, on one core of an AMD EPYC (Zen 4) whose limit
is 472 billion operations a second, 32 or 1,000 queries run at 440 and 434; torch's product alone at 215 and 416. Few
queries are taken one by one, document after document, as fast as memory gives these.

The instruction multiplies bytes without a sign (queries, raised by 128) with bytes that have one (documents); what is
too much by that, 128 times the sum of a document's codes, is where its sums begin. Queries that are shorter than what
is read at once are filled up with 0, so that it does not matter what lies behind the codes of a document. Behind the
last one there may be no memory: the last few are copied, and all are where one is shorter than a register.

Nothing here decides what is right: the bounds come from `nirank_dense.exact.quantised`.

Instructions: `NEEDED`, of x86-64. Other processors do without this module (`nirank_dense.exact.code_products`).
"""

# ruff: noqa: ARG001 (numba hands types to the functions that emit instructions, and values to what these return)

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numpy.typing import NDArray

from nirank.kit import compiled, inner
from nirank_dense.exact.kernels import Weights, read_only
from nirank_dense.exact.quantised import Quantised

Column = NDArray[Any]

#: Documents and queries of a tile; a register holds `_LANES` sums.
TILE, PANEL, _LANES = 12, 32, 16
#: Documents that are compared at once with few queries.
GROUP = 16
#: Bytes of a register.
_CHUNK = 64
#: Instructions without which nothing here can be compiled, as LLVM calls them.
NEEDED = ("avx512vnni", "avx512f", "avx512bw", "avx512vl")


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


@functools.cache
def available() -> bool:
    """True if numba compiles for a processor that has the instructions."""
    features = str(cpu_target.target_context.codegen().magic_tuple()[2]).split(",")
    return all(f"+{name}" in features for name in NEEDED)


def whole(quantised: Quantised) -> Whole:
    """Documents as the functions here read them; there is at least one."""
    short = max(0, _CHUNK - quantised.codes.shape[1])  # what is read at once must not reach beyond the next document
    codes = read_only(np.pad(quantised.codes, ((0, 0), (0, short))) if short else quantised.codes)
    starts = np.empty(len(codes), np.int32)
    sum_up(codes, starts)
    columns = [starts, quantised.scales, quantised.lengths, quantised.errors]
    return Whole(_documents(codes, columns), *(_last(codes, columns, size) for size in (TILE, GROUP)))


def _last(codes: Column, columns: list[Column], size: int) -> DocumentCodes:
    """The last 1 to `size` documents, filled up to `size`, with room for reading behind each."""
    first = (len(codes) - 1) // size * size
    room = np.zeros((size, codes.shape[1] + _CHUNK), np.int8)
    room[: len(codes) - first, : codes.shape[1]] = codes[first:]
    return _documents(room, [np.pad(column[first:], (0, first + size - len(codes))) for column in columns])


def _documents(codes: Column, columns: list[Column]) -> DocumentCodes:
    tiles = range(0, len(codes), TILE)
    most = (np.maximum.reduceat(column, tiles) for column in columns[2:])
    return DocumentCodes(*map(read_only, (codes, *columns, *most)))


def panels(codes: Column) -> Column:
    """Codes of queries for `many`: uint8 `[panels, dim / 4, PANEL, 4]`."""
    queries, dim = codes.shape
    raised = np.zeros((-(-queries // PANEL) * PANEL, -(-dim // 4) * 4), np.uint8)
    raised[:queries, :dim] = codes.view(np.uint8) ^ 128
    return np.ascontiguousarray(raised.reshape(-1, PANEL, raised.shape[1] // 4, 4).transpose(0, 2, 1, 3))


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
    """Codes of queries for `few`: uint8 `[queries, dim]`, filled up to whole registers."""
    queries, dim = codes.shape
    raised = np.zeros((queries, -(-dim // _CHUNK) * _CHUNK), np.uint8)
    raised[:, :dim] = codes.view(np.uint8) ^ 128
    return raised


@compiled
def sum_up(codes: Column, starts: Column) -> None:
    """Fill `starts` with -128 times the sum of each document's codes."""
    for document in range(len(codes)):
        total = np.int32(0)
        for code in codes[document]:
            total += np.int32(code)
        starts[document] = -128 * total


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
    """Addresses of what a tile of documents is compared with and by; a query has `quads` times four bytes."""

    codes: int
    dim: int
    queries: int
    quads: int
    starts: int
    scales: int
    longest: int
    widest: int
    weights: int
    masks: int


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
    masks, end = np.zeros(TILE * PANEL // _LANES, np.uint16), 0
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
    _compare_tile(
        _Tile(
            documents.codes + first * documents.dim,
            documents.dim,
            panel[0],
            panel[1],
            documents.starts + 4 * first,
            documents.scales + 4 * first,
            documents.longest + 4 * (first // TILE),
            documents.widest + 4 * (first // TILE),
            panel[2],
            masks.ctypes.data,
        )
    )


@inner
def _list(masks: Column, first: int, stop: int, query: int, rows: Column, docs: Column, end: int) -> int:
    """Write down what is marked; a document has as many bits as there are queries in a panel."""
    words = masks.view(np.uint64)
    for place in range(len(words)):
        word = words[place]
        while word:
            bit = 64 * place + np.int64(_lowest_bit(word))
            rows[end], docs[end] = query + bit % PANEL, first + bit // PANEL
            end += docs[end] < stop
            word &= word - np.uint64(1)
    return end


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
            compared = queries[query].ctypes.data, queries.shape[1] // _CHUNK, weights[query].ctypes.data
            if document < filled:
                mask = _group_of(documents, document, compared)
            else:
                mask = _group_of(last, 0, compared)
            for lane in range(min(GROUP, high - document) if mask else 0):
                rows[end], docs[end] = query, document + lane
                end += (mask >> lane) & 1
    return end, high


@inner
def _group_of(documents: _Addresses, first: int, query: tuple[int, int, int]) -> Any:
    return _compare_group(
        _Group(
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
    )


# Instructions that numba has no words for, in those of LLVM. All arguments are addresses, or counts.

_INT8, _INT16, _INT32, _INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_FLOAT = ir.FloatType()
_INTS, _FLOATS = ir.VectorType(_INT32, _LANES), ir.VectorType(_FLOAT, _LANES)


#: Registers that the queries of a panel fill.
_REGISTERS = range(PANEL // _LANES)


@intrinsic
def _compare_tile(_context: Any, tile: Any) -> Any:
    """Compare `TILE` documents with `PANEL` queries; a mask, uint16, for each document and register of queries."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        make, tile = _Instructions(builder), _Tile(*cgutils.unpack_tuple(builder, arguments[0]))
        sums = _sums_of_tile(make, tile)
        wanted = _wanted_of_panel(make, tile)
        for document in range(TILE):
            scale = make.spread(tile.scales, _FLOAT, document)
            for register in _REGISTERS:
                mask = make.reached(builder.load(sums[document][register]), scale, wanted[register])
                make.store(mask, tile.masks, document * len(_REGISTERS) + register)
        return context.get_dummy_value()

    return types.void(tile), emit


def _sums_of_tile(make: _Instructions, tile: _Tile) -> list[list[Any]]:
    """Products of the codes of each document and each register of queries, added up in variables."""
    multiply, dim = make.builder.mul, tile.dim
    begins = [make.spread(tile.starts, _INT32, document) for document in range(TILE)]
    sums = [[make.variable(begin) for _ in _REGISTERS] for begin in begins]
    rows = [make.after(tile.codes, multiply(dim, _number(document))) for document in range(TILE)]
    next_tile = make.after(tile.codes, multiply(dim, _number(TILE)))
    with cgutils.for_range(make.builder, tile.quads) as loop:
        make.fetch(make.after(next_tile, multiply(loop.index, _number(4 * TILE))))
        place = make.after(tile.queries, multiply(loop.index, _number(4 * PANEL)))
        queries = [make.load(place, _INTS, register) for register in _REGISTERS]
        offset = multiply(loop.index, _number(4))
        for row, of_row in zip(rows, sums, strict=True):
            code = make.spread(make.after(row, offset), _INT32)
            for query, total in zip(queries, of_row, strict=True):
                make.add_products(total, query, code)
    return sums


def _wanted_of_panel(make: _Instructions, tile: _Tile) -> list[Any]:
    """The numbers that products of a tile have to reach, for each register of queries."""
    length, error = make.spread(tile.longest, _FLOAT), make.spread(tile.widest, _FLOAT)
    wanted = []
    for register in _REGISTERS:
        by_length, by_error, steps = (
            make.load(tile.weights, _FLOATS, len(_REGISTERS) * row + register) for row in range(3)
        )
        wanted.append(make.wanted(by_length, length, by_error, error, steps))
    return wanted


@intrinsic
def _compare_group(_context: Any, group: Any) -> Any:
    """Compare `GROUP` documents with one query; returns a mask, uint16."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        make, group = _Instructions(builder), _Group(*cgutils.unpack_tuple(builder, arguments[0]))
        sums = make.load(group.starts, _INTS)
        for document in range(GROUP):
            lane = ir.Constant(_INT32, document)
            total = builder.add(builder.extract_element(sums, lane), _sum_of_document(make, group, document))
            sums = builder.insert_element(sums, total, lane)
        scale, length, error = (make.load(column, _FLOATS) for column in (group.scales, group.lengths, group.errors))
        by_length, by_error, steps = (make.spread(group.weights, _FLOAT, row) for row in range(3))
        return make.reached(sums, scale, make.wanted(by_length, length, by_error, error, steps))

    return types.uint16(group), emit


def _sum_of_document(make: _Instructions, group: _Group, document: int) -> Any:
    """Products of the codes of one document of a group and of the query, added up."""
    total = make.variable(ir.Constant(_INTS, [0] * _LANES))
    row = make.after(group.codes, make.builder.mul(group.dim, _number(document)))
    with cgutils.for_range(make.builder, group.chunks) as loop:
        offset = make.builder.mul(loop.index, _number(_CHUNK))
        codes = (make.load(make.after(column, offset), _INTS) for column in (group.query, row))
        make.add_products(total, *codes)
    return make.in_all(make.builder.load(total))


@intrinsic
def _lowest_bit(_context: Any, word: Any) -> Any:
    """The place of the lowest bit that is set, of one at least."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), emit


class _Instructions:
    """The instructions that the two comparisons above are made of."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def after(self, address: Any, offset: Any) -> Any:
        """The address `offset` bytes further."""
        return self.builder.add(address, offset)

    def load(self, address: Any, kind: Any, place: int = 0) -> Any:
        """The element at a place of an array of `kind`, aligned as its parts are."""
        size = 4 if kind in (_INT32, _FLOAT) else 4 * _LANES
        pointer = self.builder.inttoptr(self.after(address, _number(size * place)), kind.as_pointer())
        loaded = self.builder.load(pointer)
        loaded.align = 1
        return loaded

    def store(self, mask: Any, address: Any, place: int) -> None:
        """Write a mask to a place of an array of uint16."""
        self.builder.store(mask, self.builder.inttoptr(self.after(address, _number(2 * place)), _INT16.as_pointer()))

    def spread(self, address: Any, kind: Any, place: int = 0) -> Any:
        """An element in every lane of a register."""
        empty = ir.Constant(ir.VectorType(kind, _LANES), ir.Undefined)
        one = self.builder.insert_element(empty, self.load(address, kind, place), ir.Constant(_INT32, 0))
        return self.builder.shuffle_vector(one, empty, ir.Constant(_INTS, [0] * _LANES))

    def variable(self, value: Any) -> Any:
        """Something to add to, which ends up in a register."""
        place = cgutils.alloca_once(self.builder, value.type)
        self.builder.store(value, place)
        return place

    def fetch(self, address: Any) -> None:
        """Ask for memory that is to be read soon; there need not be any."""
        pointer = self.builder.inttoptr(address, _INT8.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [_INT8.as_pointer(), _INT32, _INT32, _INT32])
        settings = (ir.Constant(_INT32, setting) for setting in (0, 3, 1))  # to read, to keep, as data
        self.builder.call(self._called("llvm.prefetch.p0", kind), [pointer, *settings])

    def add_products(self, total: Any, unsigned: Any, signed: Any) -> None:
        """Add four products of bytes to each lane of a variable."""
        add = self._called("llvm.x86.avx512.vpdpbusd.512", ir.FunctionType(_INTS, [_INTS] * 3))
        self.builder.store(self.builder.call(add, [self.builder.load(total), unsigned, signed]), total)

    def in_all(self, sums: Any) -> Any:
        """The lanes added up."""
        return self.builder.call(
            self._called("llvm.vector.reduce.add.v16i32", ir.FunctionType(_INT32, [_INTS])), [sums]
        )

    def wanted(self, by_length: Any, length: Any, by_error: Any, error: Any, steps: Any) -> Any:
        """The number that a product, times the scale of its document, has to reach."""
        allowed = self.builder.fadd(self.builder.fmul(by_length, length), self.builder.fmul(by_error, error))
        return self.builder.fsub(steps, allowed)

    def reached(self, sums: Any, scale: Any, wanted: Any) -> Any:
        """A mask of the lanes whose product reaches it."""
        scaled = self.builder.fmul(self.builder.sitofp(sums, _FLOATS), scale)
        return self.builder.bitcast(self.builder.fcmp_ordered(">=", scaled, wanted), _INT16)

    def _called(self, name: str, kind: Any) -> Any:
        return cgutils.get_or_insert_function(self.builder.module, kind, name)


def _number(value: int) -> Any:
    return ir.Constant(_INT64, value)
