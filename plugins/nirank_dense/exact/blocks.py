"""Matrices that are read some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray


def blocks(matrix: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
    """`size` rows at a time, and then what is left."""
    return (matrix[start : start + size] for start in range(0, len(matrix), size))
