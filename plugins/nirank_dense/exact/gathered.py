"""Documents here and there, compared with one query by their codes: those that the bounds of all do not rule out.

As many at once as a register has lanes, while the next are fetched from wherever they are.

Instructions: AVX2, or VNNI (`nirank_dense.exact.instructions`). Others do without this module.
"""

# ruff: noqa: ARG001 (numba hands types to the functions that emit instructions, and values to what these return)

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from nirank.kit import compiled, inner
from nirank_dense.exact.instructions import CHUNK, HAS_VNNI, INT64, Instructions
from nirank_dense.exact.kernels import Column
from nirank_dense.exact.tiles import GROUP, Whole


class _Rows(NamedTuple):
    """Addresses of `GROUP` addresses of documents, of as many to fetch, of a query, and of where sums go."""

    here: int
    ahead: int
    query: int
    chunks: int
    out: int


@compiled
def reaching(whole: Whole, query: Column, weights: Column, count: int, docs: Column) -> int:
    """Keep those of the first `count` documents that may reach a query's floor, judged by their codes: how many.

    `query` is one of `tiles.chunks`, `weights` are one of `tiles.rows`.
    """
    documents, kept = whole.documents, 0
    sums, here, ahead = np.empty(GROUP, np.int32), np.empty(GROUP, np.int64), np.empty(GROUP, np.int64)
    rows = _Rows(here.ctypes.data, ahead.ctypes.data, query.ctypes.data, len(query) // CHUNK, sums.ctypes.data)
    for first in range(0, count, GROUP):
        for lane in range(GROUP):
            here[lane] = _address_of(whole, docs[min(first + lane, count - 1)])
            ahead[lane] = _address_of(whole, docs[min(first + 2 * GROUP + lane, count - 1)])
        _multiply_rows(rows)
        for lane in range(min(GROUP, count - first)):
            document = docs[first + lane]
            product = np.float32(sums[lane] + (documents.starts[document] if HAS_VNNI else 0))
            allowed = weights[0] * documents.lengths[document] + weights[1] * documents.errors[document]
            docs[kept] = document
            kept += product * documents.scales[document] + allowed >= weights[2]
    return kept


@inner
def _address_of(whole: Whole, document: int) -> Any:
    """The address of a document's codes, with memory behind them."""
    documents, last = whole.documents.codes, whole.last_group.codes
    first = (len(documents) - 1) // GROUP * GROUP
    if document < first:
        return documents.ctypes.data + document * documents.shape[1]
    return last.ctypes.data + (document - first) * last.shape[1]


@intrinsic
def _multiply_rows(_context: Any, rows: Any) -> Any:
    """Write the products of `GROUP` documents, wherever they are, with one query, int32, without starts."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        make, rows = Instructions(builder), _Rows(*cgutils.unpack_tuple(builder, arguments[0]))
        here, ahead = ([make.load(at, INT64, place) for place in range(GROUP)] for at in (rows.here, rows.ahead))
        make.store(make.products(here, ahead, rows.query, rows.chunks), rows.out, 0)
        return context.get_dummy_value()

    return types.void(rows), emit
