"""The compiled loops of late interaction on the CPU: MaxSim of pairs, and the search of a compressed index.

The products of a tile of document tokens with 32 query tokens stay in registers, and of these only the greatest is
written: the matrix of similarities never is. Each product is added up by rising dimension, in the same way wherever its
document stands, so that a score is the same in every batch, to the bit.

Instructions: those of the processor at hand. One that fuses a product with a sum (FMA: with AVX2, and on ARM) rounds
once where others round twice, so that the bits of MaxSim are those of all processors with FMA; without it they differ.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from nirank.kit import compiled

Column = NDArray[Any]


class QueryTiles(NamedTuple):
    """Tokens of queries in tiles, float32 `[tiles, dim, 32]`, zeros behind the last token of a query.

    Those of query `i` are in the tiles from `offsets[i]` up to `offsets[i + 1]`, and it has `lengths[i]`.
    """

    values: Column
    offsets: Column
    lengths: Column


class DocumentTokens(NamedTuple):
    """Tokens of documents, float32 `[tokens, dim]`; those of document `i` begin at `offsets[i]`."""

    values: Column
    offsets: Column


class Compared(NamedTuple):
    """Pairs of a query `rows[p]` and a document `columns[p]`, int64 `[pairs]`, and what is written about them.

    `scores` float32 `[pairs]` is filled with MaxSim. `chosen` int32, if it has any room, is filled with the document
    token that each query token chose, from `entries[p]` on.
    """

    rows: Column
    columns: Column
    scores: Column
    entries: Column
    chosen: Column


#: Numbers in a register of the widest kind.
_LANES = 16
#: Query tokens, and document tokens, in a tile.
QUERY_TILE, TOKEN_TILE = 2 * _LANES, 6
#: Tiles of document tokens between the one that is read and the one that is fetched.
_TILES_AHEAD = 4

_FLOAT, _INT, _LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_FLOATS, _INTS = ir.VectorType(_FLOAT, _LANES), ir.VectorType(_INT, _LANES)


def _at(builder: Any, base: Any, index: Any, kind: Any, of: Any) -> Any:
    """A pointer to `of`, `index` numbers of `kind` behind the address `base`."""
    pointer = builder.gep(builder.inttoptr(base, kind.as_pointer()), [index])
    return builder.bitcast(pointer, of.as_pointer())


def _everywhere(builder: Any, value: Any, kind: Any) -> Any:
    """A vector that has `value` in all lanes."""
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, _INT(0))
    return builder.shuffle_vector(first, first, ir.Constant(_INTS, [0] * _LANES))


def _fetch(builder: Any, address: Any) -> None:
    """Have memory brought into the cache that is read some tiles later: tokens lie too far apart to be foreseen."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, _INT, _INT, _INT])
    prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch")
    builder.call(prefetch, [builder.bitcast(address, byte), _INT(0), _INT(3), _INT(1)])  # to read, as near as can be


def _add_products(builder: Any, query: Any, tokens: Any, dim: Any, sums: list[list[Any]]) -> None:
    """Add to `sums[token][half]` the products of every token with both halves of the query tile.

    Meanwhile a tile of tokens that comes later is fetched, a little at each dimension: all at once would wait.
    """
    for row in sums:
        for total in row:
            builder.store(ir.Constant(_FLOATS, [0.0] * _LANES), total)
    ahead, tile = builder.mul(dim, _LONG(_TILES_AHEAD * len(sums))), _LONG(len(sums))
    with cgutils.for_range(builder, dim) as loop:
        place = builder.add(ahead, builder.mul(loop.index, tile))
        _fetch(builder, _at(builder, tokens, place, _FLOAT, _FLOAT))
        begin = builder.mul(loop.index, _LONG(QUERY_TILE))
        places = [builder.add(begin, _LONG(half * _LANES)) for half in range(2)]
        halves = [builder.load(_at(builder, query, place, _FLOAT, _FLOATS), align=4) for place in places]
        for token, row in enumerate(sums):
            place = builder.add(builder.mul(dim, _LONG(token)), loop.index)
            value = _everywhere(builder, builder.load(_at(builder, tokens, place, _FLOAT, _FLOAT), align=4), _FLOATS)
            for half, total in zip(halves, row, strict=True):
                product = builder.fmul(value, half, flags=("contract",))
                builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)


def _keep_greatest(builder: Any, first: Any, best: Any, where: Any, sums: list[list[Any]]) -> None:
    """Take each sum that is greater than what is in `best`, and note in `where` which token it is of."""
    for half in range(2):
        place = _LONG(half * _LANES)
        values, indexes = _at(builder, best, place, _FLOAT, _FLOATS), _at(builder, where, place, _INT, _INTS)
        greatest, index = builder.load(values, align=4), builder.load(indexes, align=4)
        for token, row in enumerate(sums):
            total = builder.load(row[half])
            more = builder.fcmp_ordered(">", total, greatest)
            greatest = builder.select(more, total, greatest)
            index = builder.select(more, _everywhere(builder, builder.add(first, _INT(token)), _INTS), index)
        builder.store(greatest, values, align=4)
        builder.store(index, indexes, align=4)


def _compare(count: int) -> Any:
    """Compiled comparison of `count` tokens in a row with a tile of the query.

    It is called with addresses: of the query tile, float32 `[dim, 32]`, and of the first token, float32 `[count, dim]`;
    then the dimension, the number of the first token, and the addresses of `best` and `where`, `[32]`.
    """

    @intrinsic
    def compare(typing, query, tokens, dim, first, best, where):  # type: ignore[no-untyped-def]  # noqa: ARG001
        address = types.intp

        def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
            query, tokens, dim, first, best, where = arguments
            sums = [[cgutils.alloca_once(builder, _FLOATS) for _ in range(2)] for _ in range(count)]
            _add_products(builder, query, tokens, dim, sums)
            _keep_greatest(builder, first, best, where, sums)
            return context.get_dummy_value()

        return types.void(address, address, address, types.int32, address, address), generate

    return compare


_compare_many, _compare_one = _compare(TOKEN_TILE), _compare(1)


@compiled
def _compare_document(tile: Column, tokens: Column, best: Column, where: Column) -> None:
    """Fill `best` and `where` with the greatest product of each query token in a tile `[dim, 32]`."""
    best[:] = -np.inf
    where[:] = 0
    dim, count = tokens.shape[1], len(tokens)
    query, first, to, place = tile.ctypes.data, tokens.ctypes.data, best.ctypes.data, where.ctypes.data
    if count < TOKEN_TILE:
        for token in range(count):
            _compare_one(query, first + 4 * token * dim, dim, np.int32(token), to, place)
        return
    token = 0
    while token < count:
        token = min(token, count - TOKEN_TILE)  # the last tile overlaps the one before: a maximum does not mind
        _compare_many(query, first + 4 * token * dim, dim, np.int32(token), to, place)
        token += TOKEN_TILE


@compiled
def maxsim(queries: QueryTiles, documents: DocumentTokens, pairs: Compared) -> None:
    """Fill the scores of pairs, and the tokens that were chosen, with MaxSim."""
    # Taken apart at once: an array that is read from a tuple inside a loop is counted as used each time.
    (tiles, starts, lengths), (tokens, offsets) = queries, documents
    rows, columns, scores, entries, where = pairs
    best, chosen = np.empty(QUERY_TILE, np.float32), np.empty(QUERY_TILE, np.int32)
    for pair in range(len(rows)):
        row, document = rows[pair], columns[pair]
        total = np.float32(0)
        for tile in range(starts[row], starts[row + 1]):
            _compare_document(tiles[tile], tokens[offsets[document] : offsets[document + 1]], best, chosen)
            done = (tile - starts[row]) * QUERY_TILE
            wanted = min(QUERY_TILE, lengths[row] - done)
            for place in range(wanted):
                total += best[place]
            if len(where):
                begin = entries[pair] + done
                where[begin : begin + wanted] = chosen[:wanted]
        scores[pair] = total


@compiled
def interact(
    similarities: Column, kept: Column, codes: Column, offsets: Column, docs: Column, least: float, scores: Column
) -> None:
    """Fill `scores` `[docs]` with MaxSim of one query and documents of which only the centroids are known.

    `similarities` float32 `[centroids, query tokens]`; the tokens of document `d` are of the centroids
    `codes[offsets[d]:offsets[d + 1]]`, of which those not `kept` are passed over. No similarity counts below `least`.
    """
    best = np.empty(similarities.shape[1], np.float32)
    for place in range(len(docs)):
        best[:] = least
        for token in range(offsets[docs[place]], offsets[docs[place] + 1]):
            if kept[codes[token]]:
                _raise(best, similarities[codes[token]])
        total = np.float32(0)
        for value in best:
            total += value
        scores[place] = total


@compiled
def _raise(best: Column, row: Column) -> None:
    for place in range(len(best)):
        best[place] = row[place] if row[place] > best[place] else best[place]


class Decoded(NamedTuple):
    """The numbers that compressed tokens stand for, float32.

    `centroids` and `scales` are `[centroids, dim]` and `[dim]`; `steps` `[256, numbers in a byte]` are the levels that
    each byte stands for, and `gains` `[256]` what the last byte of a token does.
    """

    centroids: Column
    scales: Column
    steps: Column
    gains: Column


@compiled
def decompress(codes: Column, packed: Column, decoded: Decoded, values: Column) -> None:
    """Fill `values` float32 `[tokens, dim]` with the unit vectors of compressed tokens.

    `packed` uint8 `[tokens, bytes]` are residuals, each a level times the scale of its dimension and the token's gain.
    """
    centroids, scales, steps, gains = decoded
    each, dim, last = steps.shape[1], values.shape[1], packed.shape[1] - 1
    for token in range(len(codes)):
        row, centroid, gain = values[token], centroids[codes[token]], gains[packed[token, last]]
        for byte in range(last):
            step = steps[packed[token, byte]]
            for place in range(min(each, dim - byte * each)):
                at = byte * each + place
                row[at] = centroid[at] + gain * scales[at] * step[place]
        _shorten(row)


@compiled
def _shorten(row: Column) -> None:
    square = np.float32(0)
    for value in row:
        square += value * value
    row /= np.float32(np.sqrt(max(square, np.float32(1e-24))))
