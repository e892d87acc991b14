"""Sums of look-ups over a block of documents, compiled.

Instructions: those of the processor at hand, none in particular; sums are added up in one order, with any.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nirank.data import Codes, Floats
from nirank.kit import compiled


def every_sum(tables: Floats, codes: Codes) -> Floats:
    """`sum_i tables[q, i, codes[d, i]]` for every query and document, float32 `[queries, documents]`.

    Each is added up in float64, position by position, and rounded once: the number that `nirank.data.looked_up` gives
    the pair. The caller sees to it that there is a column for every code.
    """
    sums = np.empty((len(tables), len(codes)), np.float32)
    _add_up(tables, np.ascontiguousarray(codes), sums)
    return sums


@compiled
def _add_up(tables: Floats, codes: NDArray[np.integer], sums: Floats) -> None:
    queries, positions, _ = tables.shape
    for query in range(queries):
        table = tables[query]
        for document in range(codes.shape[0]):
            added = 0.0
            for position in range(positions):
                added += table[position, codes[document, position]]
            sums[query, document] = added
