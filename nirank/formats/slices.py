"""Columns of strings from files: copied into Arrow's memory, or left in the text of the file until they are wanted."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.data.columns import gather, integers_to_numpy

if TYPE_CHECKING:
    import pyarrow as pa

Raw: TypeAlias = bytes | mmap.mmap
Places: TypeAlias = NDArray[np.int64]


class Names(Protocol):
    """A column of strings."""

    def take(self, rising: Places) -> pa.Array:
        """The strings at places that rise, each once, as an array of large strings."""

    def encoded(self) -> tuple[pa.Array, NDArray[Any]]:
        """The distinct strings in order of first appearance, and the number of that of each, `[strings]`."""


@dataclass(frozen=True)
class Copied:
    """Strings in an Arrow column of large strings."""

    column: pa.ChunkedArray

    def take(self, rising: Places) -> pa.Array:
        """The strings at places that rise."""
        return gather(self.column, rising)

    def encoded(self) -> tuple[pa.Array, NDArray[Any]]:
        """The distinct strings, and the number of that of each."""
        codes = self.column.dictionary_encode()  # all chunks share one dictionary
        return codes.chunk(0).dictionary, np.concatenate([integers_to_numpy(chunk.indices) for chunk in codes.chunks])


@dataclass(frozen=True)
class Slices:
    """Strings that stand one after the other in a text, which is UTF-8: where each begins and ends, `[strings]`."""

    text: Raw
    begins: NDArray[np.integer]
    ends: NDArray[np.integer]

    def take(self, rising: Places) -> pa.Array:
        """The strings at places that rise, each once."""
        return with_gaps(self.text, self.begins[rising], self.ends[rising]).drop_null()

    def encoded(self) -> tuple[pa.Array, NDArray[Any]]:
        """The distinct strings, and the number of that of each."""
        codes = with_gaps(self.text, self.begins, self.ends).dictionary_encode()
        return codes.dictionary, np.frombuffer(codes.indices.buffers()[1], np.int32)[: 2 * len(self.begins) : 2]


def with_gaps(text: Any, begins: NDArray[np.integer], ends: NDArray[np.integer]) -> pa.Array:
    """Slices of a text as an array of large strings that shares its memory: what stands between two is a null."""
    import pyarrow as pa

    cuts = np.stack([begins, ends], axis=1, dtype=np.int64)
    count = max(cuts.size - 1, 0)
    every_second = pa.py_buffer(b"\x55" * (count // 8 + 1))
    return pa.Array.from_buffers(pa.large_string(), count, [every_second, pa.py_buffer(cuts), pa.py_buffer(text)])
