"""Matrices that are read and written some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray


def blocks(matrix: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
    """`size` rows at a time, and then what is left."""
    return (matrix[start : start + size] for start in range(0, len(matrix), size))


def write_header(file: BinaryIO, shape: tuple[int, ...], kind: DTypeLike) -> None:
    """Begin a file of numpy's; rows follow in plain writes: on a full disk these raise, where a mapping would kill."""
    descr = np.lib.format.dtype_to_descr(np.dtype(kind))
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
