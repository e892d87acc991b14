"""The string ids of documents, kept by Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirank.data.columns import Strings, gather, integers_to_numpy, to_column
from nirank.data.string_prints import first_repeated
from nirank.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

Ordinals: TypeAlias = NDArray[np.int64]
_COPIED = 1 << 28  # bytes of ids: so many are worth a copy in memory
_COUNTED = 1 << 20  # ids in Python: so many are compared there
_READ = 64  # so few ids are read one by one: to call Arrow costs as much
#: Documents that are fetched at a time by iteration.
ITERATED = 4096


class RepeatedId(BadInput):
    """An id that two documents have. `ordinals` are those of the two, the earlier one first."""

    def __init__(self, repeated: str, ordinals: tuple[int, int]) -> None:
        first, second = (f"{ordinal + 1:,}" for ordinal in ordinals)
        super().__init__(f"documents {first} and {second} both have the id {repeated!r}; ids must be unique.")
        self.repeated = repeated
        self.ordinals = ordinals


class Ids(Sequence[str]):
    """The string ids of documents: ordinal to id by `ids[i]` and `take`, id to ordinal by `find`.

    They are kept as an Arrow column, so that millions of ids cost no Python objects. Raises `RepeatedId` (a
    `BadInput`) for the first id that comes twice; `unique=True` says that this is known not to happen.
    """

    def __init__(self, values: Strings, *, unique: bool = False) -> None:
        self._values = _in_one_piece(to_column(values))
        if self._values.null_count:
            raise BadInput(f"{self._values.null_count} of {len(self._values)} ids are null; every id must be a string.")
        if not unique and not _differ(values):
            refuse_repeated(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, which: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, which: slice) -> list[str]: ...
    def __getitem__(self, which: SupportsIndex | slice) -> str | list[str]:
        if isinstance(which, str):
            raise BadInput(
                f"ids are taken by the ordinals of their documents; `ids.find([{which!r}])` has that of an id."
            )
        chosen = range(len(self))[which]
        if isinstance(chosen, range):
            return self.take(np.arange(chosen.start, chosen.stop, chosen.step))
        text: str = self._values[chosen].as_py()
        return text

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), ITERATED):
            yield from self[start : start + ITERATED]

    def __getstate__(self) -> dict[str, Any]:
        return {"_values": self._values}

    def __repr__(self) -> str:
        return f"<{len(self):,} ids: {', '.join(self[:3])}{', ...' if len(self) > 3 else ''}>"

    def take(self, ordinals: ArrayLike) -> list[str]:
        """The ids at `ordinals`. Raises `IndexError` for one that is not from 0 to `len(ids) - 1`."""
        chosen = as_ordinals(ordinals, len(self))
        if self._bytes is not None and len(chosen) <= _READ:
            ends, text = self._bytes
            return [str(text[ends[place] : ends[place + 1]], "utf-8") for place in chosen.tolist()]
        ids: list[str] = gather(self._values, chosen).to_pylist()
        return ids

    @cached_property
    def _bytes(self) -> tuple[memoryview, memoryview] | None:
        """The begin and end of each id, and the text of all; None of ids in several pieces."""
        if self._values.num_chunks != 1 or not len(self):
            return None
        column = self._values.chunk(0)
        _, ends, text = column.buffers()
        return memoryview(ends).cast("q")[column.offset :], memoryview(text or b"")

    def gather(self, ordinals: ArrayLike) -> pa.Array:
        """The ids that `take` returns, as an Arrow array of large strings: for output that needs no Python strings."""
        return gather(self._values, as_ordinals(ordinals, len(self)))

    def find(self, strings: Strings) -> Ordinals:
        """The ordinal of each string, or -1 where no document has it as its id."""
        import pyarrow.compute as pc

        codes = to_column(strings).combine_chunks().dictionary_encode()
        distinct = codes.dictionary
        ordinals = np.full(len(distinct) + 1, -1)  # the last for null, whose code is -1
        if len(distinct) < len(self):  # the smaller side becomes the hash table, the other one is streamed past it
            places = integers_to_numpy(pc.index_in(self._values, value_set=distinct))
            known = np.flatnonzero(places >= 0)
            ordinals[places[known]] = known
        else:
            ordinals[:-1] = integers_to_numpy(pc.index_in(distinct, value_set=self._values))
        found: Ordinals = ordinals[integers_to_numpy(codes.indices)]
        return found


def _differ(values: Strings) -> bool:
    """True for some Python strings that are seen to differ without Arrow's functions, which take long to import."""
    return isinstance(values, (list, tuple)) and len(values) <= _COUNTED and len(set(values)) == len(values)


def _in_one_piece(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of many chunks as one, where the copy is small: ids are then taken in a tenth of the time."""
    import pyarrow as pa

    if column.num_chunks < 2 or column.nbytes > _COPIED:
        return column
    return pa.chunked_array([column.combine_chunks()])


def refuse_repeated(ids: pa.ChunkedArray) -> None:
    """Raise `RepeatedId` for the first id that comes twice."""
    if places := first_repeated(ids):
        raise RepeatedId(ids[places[1]].as_py(), places)


def as_ordinals(which: Any, size: int) -> Ordinals:
    """The ordinals that a slice or a column of integers picks of `size` documents. Raises `IndexError` beyond them."""
    if isinstance(which, slice):
        return np.arange(*which.indices(size))
    ordinals = np.asarray(which)
    if ordinals.size == 0:
        return np.empty(0, np.int64)
    if ordinals.ndim != 1 or ordinals.dtype.kind not in "iu":
        raise IndexError(f"ordinals must be a column of integers, not {ordinals.dtype} of shape {ordinals.shape}.")
    ordered = sorted(ordinals.tolist()) if len(ordinals) <= _READ else (int(ordinals.min()), int(ordinals.max()))
    for extreme in (ordered[0], ordered[-1]):
        if not 0 <= extreme < size:
            raise IndexError(f"there is no document {extreme}: ordinals go from 0 to {size - 1}.")
    return ordinals.astype(np.int64, copy=False)
