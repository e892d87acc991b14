"""Columns of strings, kept by Arrow: made, gathered and joined without a Python loop over them.

pyarrow is imported on first use. Its `array`, `scalar` and `to_numpy` import pandas wherever that is installed,
which costs half a second, so the buffers of numpy and Arrow are handed over directly here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nirank.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

#: Strings as Python or as Arrow holds them.
Strings: TypeAlias = "Sequence[str] | pa.Array | pa.ChunkedArray"


def to_column(values: Strings) -> pa.ChunkedArray:
    """A column of large strings (64-bit offsets, so that it may pass 2 GiB). Raises `BadInput` for other types."""
    import pyarrow as pa

    if isinstance(values, pa.Array):
        values = pa.chunked_array([values])
    elif not isinstance(values, pa.ChunkedArray):
        values = pa.chunked_array([to_array(values)])
    if values.type == pa.large_string():
        return values
    strings = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if strings not in (pa.string(), pa.large_string(), pa.null()):
        raise BadInput(f"strings are expected, not a column of {values.type}.")
    return values.cast(pa.large_string())


def to_array(texts: Sequence[str]) -> pa.Array:
    """An array of large strings. Raises `BadInput` for what is no string, or is one that UTF-8 cannot hold."""
    import pyarrow as pa

    try:
        encoded = list(map(str.encode, texts))
    except (TypeError, UnicodeEncodeError) as fault:
        odd = [each for each in texts if not isinstance(each, str)][:1]
        what = f"here is {odd[0]!r:.80}, of the type {type(odd[0]).__name__}" if odd else str(fault)
        raise BadInput(f"texts must be strings of valid Unicode: {what}.") from fault
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.large_string(), len(encoded), buffers)


def integers_to_numpy(integers: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """A column of Arrow integers as numpy has them, with -1 for null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(integers, pa.ChunkedArray):
        integers = integers.combine_chunks()
    if integers.null_count:
        none = np.array([-1], integers.type.to_pandas_dtype())
        integers = pc.fill_null(integers, numbers_to_array(none)[0])
    return np.from_dlpack(integers)


def gather(column: pa.ChunkedArray, ordinals: NDArray[np.int64]) -> pa.Array:
    """The strings, or other values, at `ordinals`, taken chunk by chunk.

    Arrow's own `take` first copies all chunks into one, and so would read the whole of a mapped file.
    """
    import pyarrow as pa

    if (run := _run(column, ordinals)) is not None:
        return run
    if column.num_chunks == 1:
        return column.chunk(0).take(numbers_to_array(ordinals))
    order = np.argsort(ordinals, kind="stable") if np.any(ordinals[1:] < ordinals[:-1]) else None
    rising = ordinals if order is None else ordinals[order]
    starts = np.cumsum([0, *map(len, column.chunks)])
    cuts = np.searchsorted(rising, starts)
    parts = [pa.nulls(0, column.type)]
    for chunk in np.flatnonzero(np.diff(cuts)):
        within = rising[cuts[chunk] : cuts[chunk + 1]] - starts[chunk]
        parts.append(column.chunk(chunk).take(numbers_to_array(within)))
    found = pa.concat_arrays(parts)
    if order is None:
        return found
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return found.take(numbers_to_array(places))


def _run(column: pa.ChunkedArray, ordinals: NDArray[np.int64]) -> pa.Array | None:
    """The strings at ordinals that follow one another: nothing is copied unless they lie in several chunks."""
    if not len(ordinals) or ordinals[-1] - ordinals[0] != len(ordinals) - 1 or (np.diff(ordinals) != 1).any():
        return None
    run = column.slice(int(ordinals[0]), len(ordinals))
    return run.chunk(0) if run.num_chunks == 1 else run.combine_chunks()


def join_texts(columns: Sequence[pa.Array]) -> pa.Array:
    """Row by row the strings that are not empty (nor null), joined by blanks."""
    import pyarrow.compute as pc

    empty, blank = to_array(["", " "])
    joined, *others = [pc.coalesce(column, empty) for column in columns]
    for column in others:
        both = pc.and_(pc.not_equal(joined, empty), pc.not_equal(column, empty))
        joined = pc.binary_join_element_wise(joined, column, pc.if_else(both, blank, empty))
    return joined


def numbered(strings: pa.Array, numbers: NDArray[np.int64]) -> pa.Array:
    """Row by row a string, `#` and a number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(strings, numbers_to_array(numbers).cast(pa.large_string()), to_array(["#"])[0])


def numbers_to_array(numbers: NDArray[Any]) -> pa.Array:
    """Numbers of numpy as an array of Arrow, which shares their memory where they lie together."""
    import pyarrow as pa

    kind = pa.from_numpy_dtype(numbers.dtype)
    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(np.ascontiguousarray(numbers))])
