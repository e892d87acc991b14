"""The lengths of documents as a weighting takes them: exact, or as Lucene keeps them.

Lucene keeps a length in one byte (`SmallFloat.intToByte4`): exact below 40, then with four significant bits above 24. A
document without terms is none of those that it counts: neither in N nor in the mean, which is that of exact lengths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nirank.errors import UnknownName

#: How lengths are taken.
Lengths = Literal["exact", "byte"]
#: Marks a field that weightings got later on: at its default, files named by settings have the names they had before.
LATER: Mapping[str, bool] = {"later": True}
_FREE = 24  # lengths that the byte has values of their own for, before it begins to round
_BITS = 4


@dataclass(frozen=True, eq=False)
class Counted:
    """The `lengths` of all documents, `[documents]`, how many `documents` count, and their `mean` length."""

    lengths: NDArray[Any]
    documents: int
    mean: float

    @classmethod
    def of(cls, lengths: NDArray[Any], kind: Lengths) -> Counted:
        """From exact lengths."""
        if kind == "exact":
            return cls(lengths, len(lengths), float(lengths.mean()) if lengths.any() else 1.0)
        documents = int(np.count_nonzero(lengths))
        return cls(in_a_byte(lengths), documents, float(lengths.sum(dtype=np.int64)) / documents if documents else 1.0)

    @staticmethod
    def check(kind: str) -> None:
        """Raise `UnknownName` for lengths that are taken in no such way."""
        if kind not in get_args(Lengths):
            raise UnknownName("kind of lengths", kind, get_args(Lengths))


def in_a_byte(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Lengths as they come back from Lucene's byte, `[documents]`: rounded down, to an eighth at most."""
    rest = np.maximum(lengths.astype(np.int64) - _FREE, 0)
    dropped = np.maximum(np.frexp(rest)[1] - _BITS, 0)  # frexp's exponent is the number of bits of a whole number
    return np.where(lengths < _FREE, lengths, _FREE + (rest >> dropped << dropped))
