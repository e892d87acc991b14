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

Instructions: `NEEDED`, of x86-64, or VNNI. Others do without this module (`nirank_dense.exact.code_products`).
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


def _compiles_for(*instructions: str) -> bool:
    """True if numba compiles for a processor that has these."""
    features = str(cpu_target.target_context.codegen().magic_tuple()[2]).split(",")
    return all(f"+{name}" in features for name in instructions)


#: Instructions without which nothing here can be compiled, as LLVM calls them.
NEEDED = ("avx2",)
#: Whether there are those of VNNI, which are taken before these.
HAS_VNNI = _compiles_for("avx512vnni", "avx512f", "avx512bw", "avx512vl")
#: Documents and queries of a tile; a register holds `_LANES` sums, and `_QUADS` times four dimensions are a step.
TILE, PANEL, _LANES, _QUADS = (12, 32, 16, 1) if HAS_VNNI else (4, 24, 8, 2)
#: Steps of queries in tiles are so many times as long as elsewhere; and what is added to codes so that none has a sign.
COARSER, _RAISED = (1, 128) if HAS_VNNI else (4, 32)
#: Documents that are compared at once with few queries.
GROUP = _LANES
#: Bytes of a register.
_CHUNK = 4 * _LANES


def available() -> bool:
    """True if numba compiles for a processor that has such instructions."""
    return HAS_VNNI or _compiles_for(*NEEDED)


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
    short = max(0, _CHUNK - quantised.codes.shape[1])  # what is read at once must not reach beyond the next document
    codes = read_only(np.pad(quantised.codes, ((0, 0), (0, short))) if short else quantised.codes)
    starts = np.empty(len(codes), np.int32)
    sum_up(codes, -_RAISED, starts)
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
    return _raised(codes, 1, _CHUNK, _RAISED if HAS_VNNI else 0)


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
            bit = 64 * place + np.int64(_lowest_bit(word))
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
            compared = queries[query].ctypes.data, queries.shape[1] // _CHUNK, weights[query].ctypes.data
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
        compared, highest = (queries[query].ctypes.data, queries.shape[1] // _CHUNK, 0), best[query]
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

_INT8, _INT16, _INT32, _INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_FLOAT = ir.FloatType()
_INTS, _FLOATS = ir.VectorType(_INT32, _LANES), ir.VectorType(_FLOAT, _LANES)
_BYTES, _PAIRS = ir.VectorType(_INT8, 4 * _LANES), ir.VectorType(_INT16, 2 * _LANES)


#: Registers that the queries of a panel fill, and their places for each quad of a step.
_REGISTERS = range(PANEL // _LANES)


@intrinsic
def _compare_tile(_context: Any, tile: Any) -> Any:
    """Compare `TILE` documents with `PANEL` queries; a mask of `_LANES` bits for each document and register."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        make, tile = _Instructions(builder), _Tile(*cgutils.unpack_tuple(builder, arguments[0]))
        sums = _sums_of_tile(make, tile)
        wanted = _wanted_of_panel(make, tile)
        for document in range(TILE):
            scale = make.spread(tile.scales, _FLOAT, document)
            for register in _REGISTERS:
                mask = make.reached(builder.load(sums[document][register]), scale, wanted[register])
                make.store(mask, tile.out, document * len(_REGISTERS) + register)
        return context.get_dummy_value()

    return types.void(tile), emit


@intrinsic
def _multiply_tile(_context: Any, tile: Any) -> Any:
    """Write the products of `TILE` documents with `PANEL` queries, int32 `[TILE, PANEL]`."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        make, tile = _Instructions(builder), _Tile(*cgutils.unpack_tuple(builder, arguments[0]))
        sums = [total for of_document in _sums_of_tile(make, tile) for total in of_document]
        for place, total in enumerate(sums):
            make.store(builder.load(total), tile.out, place)
        return context.get_dummy_value()

    return types.void(tile), emit


def _sums_of_tile(make: _Instructions, tile: _Tile) -> list[list[Any]]:
    """Products of the codes of each document and each register of queries, added up in variables."""
    multiply, dim = make.builder.mul, tile.dim
    begins = [make.spread(tile.starts, _INT32, document) for document in range(TILE)]
    sums = [[make.variable(begin) for _ in _REGISTERS] for begin in begins]
    rows = [make.after(tile.codes, multiply(dim, _number(document))) for document in range(TILE)]
    next_tile = make.after(tile.codes, multiply(dim, _number(TILE)))
    with cgutils.for_range(make.builder, tile.steps) as loop:
        make.fetch(make.after(next_tile, multiply(loop.index, _number(4 * _QUADS * TILE))))
        place = make.after(tile.queries, multiply(loop.index, _number(4 * _QUADS * PANEL)))
        queries = [
            [make.load(place, _INTS, len(_REGISTERS) * quad + register) for quad in range(_QUADS)]
            for register in _REGISTERS
        ]
        offset = multiply(loop.index, _number(4 * _QUADS))
        for row, of_row in zip(rows, sums, strict=True):
            codes = [make.spread(make.after(row, offset), _INT32, quad) for quad in range(_QUADS)]
            for register, total in zip(queries, of_row, strict=True):
                make.add_products(total, register, codes)
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
    """Compare `GROUP` documents with one query; returns a mask of as many bits."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        make, group = _Instructions(builder), _Group(*cgutils.unpack_tuple(builder, arguments[0]))
        sums = _sums_of_group(make, group)
        scale, length, error = (make.load(column, _FLOATS) for column in (group.scales, group.lengths, group.errors))
        by_length, by_error, steps = (make.spread(group.weights, _FLOAT, row) for row in range(3))
        wanted = make.wanted(by_length, length, by_error, error, steps)
        return builder.zext(make.reached(sums, scale, wanted), _INT32)

    return types.uint32(group), emit


@intrinsic
def _multiply_group(_context: Any, group: Any, out: Any) -> Any:
    """Write the products of `GROUP` documents with one query, int32."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        make, group = _Instructions(builder), _Group(*cgutils.unpack_tuple(builder, arguments[0]))
        make.store(_sums_of_group(make, group), arguments[1], 0)
        return context.get_dummy_value()

    return types.void(group, out), emit


def _sums_of_group(make: _Instructions, group: _Group) -> Any:
    """Products of the codes of each document of a group and of the query, added up in lanes."""
    multiply, sums = make.builder.mul, [make.variable(ir.Constant(_INTS, [0] * _LANES)) for _ in range(GROUP)]
    rows = [make.after(group.codes, multiply(group.dim, _number(document))) for document in range(GROUP)]
    next_group = multiply(group.dim, _number(GROUP))
    with cgutils.for_range(make.builder, group.chunks) as loop:
        offset = multiply(loop.index, _number(_CHUNK))
        query = make.load(make.after(group.query, offset), _INTS)
        for row, total in zip(rows, sums, strict=True):
            place = make.after(row, offset)
            make.fetch(make.after(place, next_group))
            if HAS_VNNI:
                make.add_products(total, [query], [make.load(place, _INTS)])
            else:
                make.add_signed_products(total, query, make.load(place, _INTS))
    total = make.each_in_a_lane([make.builder.load(of_document) for of_document in sums])
    return make.builder.add(total, make.load(group.starts, _INTS)) if HAS_VNNI else total


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

    def store(self, value: Any, address: Any, place: int) -> None:
        """Write a mask, or sums, to a place of an array of such, aligned as its parts are."""
        size = 4 * _LANES if value.type == _INTS else _LANES // 8
        pointer = self.builder.inttoptr(self.after(address, _number(size * place)), value.type.as_pointer())
        self.builder.store(value, pointer).align = 1

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

    def add_products(self, total: Any, unsigned: list[Any], signed: list[Any]) -> None:
        """Add products of bytes, four for each register given, to each lane of a variable."""
        add = self._by_vnni if HAS_VNNI else self._by_avx2
        self.builder.store(add(self.builder.load(total), unsigned, signed), total)

    def _by_vnni(self, total: Any, unsigned: list[Any], signed: list[Any]) -> Any:
        add = self._called("llvm.x86.avx512.vpdpbusd.512", ir.FunctionType(_INTS, [_INTS] * 3))
        for left, right in zip(unsigned, signed, strict=True):
            total = self.builder.call(add, [total, left, right])
        return total

    def _by_avx2(self, total: Any, unsigned: list[Any], signed: list[Any]) -> Any:
        multiply = self._called("llvm.x86.avx2.pmadd.ub.sw", ir.FunctionType(_PAIRS, [_BYTES] * 2))
        widen = self._called("llvm.x86.avx2.pmadd.wd", ir.FunctionType(_INTS, [_PAIRS] * 2))
        both = [
            self.builder.call(multiply, [self.builder.bitcast(register, _BYTES) for register in pair])
            for pair in zip(unsigned, signed, strict=True)
        ]
        sums = functools.reduce(self.builder.add, both)
        ones = ir.Constant(_PAIRS, [1] * 2 * _LANES)
        return self.builder.add(total, self.builder.call(widen, [sums, ones]))

    def add_signed_products(self, total: Any, left: Any, right: Any) -> None:
        """The same by AVX2 where both have signs: |right| times left with the sign of right, codes from -127 to 127."""
        take_sign = self._called("llvm.x86.avx2.psign.b", ir.FunctionType(_BYTES, [_BYTES] * 2))
        codes = self.builder.bitcast(right, _BYTES)
        signed = self.builder.call(take_sign, [self.builder.bitcast(left, _BYTES), codes])
        lengths = self.builder.call(take_sign, [codes, codes])
        self.add_products(total, [lengths], [signed])

    def each_in_a_lane(self, registers: list[Any]) -> Any:
        """The lanes of each of `_LANES` registers added up, those of the first in the first lane, and so on."""
        while len(registers) > 1:
            registers = [self._by_neighbours(*pair) for pair in zip(registers[::2], registers[1::2], strict=True)]
        return registers[0]

    def _by_neighbours(self, first: Any, second: Any) -> Any:
        """Every two lanes that lie together added up, those of the first register before those of the second."""
        parts = (ir.Constant(_INTS, list(range(start, 2 * _LANES, 2))) for start in (0, 1))
        return self.builder.add(*(self.builder.shuffle_vector(first, second, part) for part in parts))

    def wanted(self, by_length: Any, length: Any, by_error: Any, error: Any, steps: Any) -> Any:
        """The number that a product, times the scale of its document, has to reach."""
        allowed = self.builder.fadd(self.builder.fmul(by_length, length), self.builder.fmul(by_error, error))
        return self.builder.fsub(steps, allowed)

    def reached(self, sums: Any, scale: Any, wanted: Any) -> Any:
        """A mask of the lanes whose product reaches it."""
        scaled = self.builder.fmul(self.builder.sitofp(sums, _FLOATS), scale)
        return self.builder.bitcast(self.builder.fcmp_ordered(">=", scaled, wanted), ir.IntType(_LANES))

    def _called(self, name: str, kind: Any) -> Any:
        return cgutils.get_or_insert_function(self.builder.module, kind, name)


def _number(value: int) -> Any:
    return ir.Constant(_INT64, value)
