"""Codes: a document is a row of small whole numbers, a query a table with a number for every code at every position.

Documents are uint8 or uint16 `[documents, positions]`, queries float32 `[queries, positions, codes]`: the kind of
vectors called "codes". The score of a pair is the sum of what the query's table says of the document's code at each
position.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.data.arrays import to_numpy
from nirank.data.types import Floats, Ints
from nirank.errors import BadInput

#: Pairs that are looked up at once.
_PAIRS = 1 << 14

#: uint8, or uint16.
Codes: TypeAlias = NDArray[np.unsignedinteger[Any]]


def narrow(codes: Any, kinds: int) -> Codes:
    """Codes of so many kinds as bytes, or as two bytes each where there are more than 256."""
    return to_numpy(codes).astype(np.uint8) if kinds <= 1 << 8 else to_numpy(codes).astype(np.uint16)


def as_codes(vectors: Any) -> Codes:
    """Codes of documents as numpy has them. Raises `BadInput` for what is no matrix of bytes, or of two each."""
    codes = to_numpy(vectors)
    if codes.ndim != 2 or codes.dtype not in (np.uint8, np.uint16):
        raise BadInput(
            f"codes of documents are {codes.dtype} of the shape {codes.shape}; uint8 or uint16 [documents, positions] "
            "is expected."
        )
    return codes


def as_tables(vectors: Any, positions: int, largest: int) -> Floats:
    """Tables of queries, float32 `[queries, positions, codes]`, for documents of so many positions and such codes.

    Raises `BadInput` for tables of another shape, or with numbers that are not finite.
    """
    tables = np.ascontiguousarray(to_numpy(vectors), np.float32)
    if tables.ndim != 3 or tables.shape[1] != positions or (tables.shape[2] <= largest and len(tables)):
        raise BadInput(
            f"queries have tables of the shape {tables.shape}, and documents {positions} positions with codes up to "
            f"{largest}: [queries, {positions}, more than {largest}] is expected. Search with the encoder of the index."
        )
    if not np.isfinite(tables).all():
        raise BadInput("some tables of queries contain NaN or infinity: check the model that made them.")
    return tables


def looked_up(tables: Any, codes: Any, rows: Ints, columns: Ints) -> Floats:
    """The score of `tables[rows]` and `codes[columns]` for each pair, float32 `[pairs]`.

    Each is added up in float64, position by position, and rounded once, so that it does not depend on its batch.
    """
    codes = as_codes(codes)
    tables = as_tables(tables, codes.shape[1], int(codes.max(initial=0)))
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _PAIRS):
        row, column = rows[start : start + _PAIRS], columns[start : start + _PAIRS]
        added = np.zeros(len(row))
        for position in range(codes.shape[1]):
            added += tables[row, position, codes[column, position]]
        scores[start : start + _PAIRS] = added
    return scores
