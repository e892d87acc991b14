"""Regular files read as columns: all lines have as many, and a single blank or tab stands between two.

Separators are found by one comparison a byte, ids stay where they are, and Arrow parses numbers in their place. Its
reader of CSV, which copies every byte, and what has to be made of its columns take a third more time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.data.string_prints import MARGIN, ShortPrints, fingerprints_at, once_if_equal, short_prints
from nirank.formats.layouts import SUBTOPICS, Layout
from nirank.formats.slices import Places, Raw, Slices, with_gaps

Bytes: TypeAlias = NDArray[np.uint8]

_PART = 1 << 20  # bytes that are read together: the caches hold them, and what is made of them
_SPARE = 1.05  # lines may be shorter further down
_WORD = 8  # bytes that are compared at once


class Irregular(ValueError):
    """A file that has to be read line by line."""


@dataclass(frozen=True)
class Columns:
    """The columns of a file, in which lines of a query that follow one another are one stretch.

    `queries` and `lengths` are the query of each stretch and the number of its lines; `documents`, their
    fingerprints `prints`, `values` and, of judgments of subtopics, `subtopics` are those of each line.
    """

    lengths: NDArray[np.int64]
    prints: ShortPrints
    values: NDArray[np.float64]
    queries: Slices
    documents: Slices
    subtopics: Slices | None = None


def regular_columns(text: Raw, layout: Layout, delimiter: bytes, start: int = 0) -> Columns:
    """The columns of a text from its byte `start` on.

    Raises `Irregular`, `UnicodeDecodeError`, or `pyarrow.ArrowInvalid` for what is no number.
    """
    if layout.header:
        start = text.find(b"\n", start) + 1 or len(text)
    columns: list[_Growing] = []
    for part in _parts(text, layout, delimiter, start):
        found = _columns(part, layout)
        columns = columns or [_Growing(each, len(text), (len(text) - start) / part.bytes) for each in found]
        for column, each in zip(columns, found, strict=True):
            column.append(each)
    if not columns:
        raise Irregular
    lengths, prints, values, *cuts = (column.filled for column in columns)
    return Columns(lengths, prints, values, *(Slices(text, *pair) for pair in zip(cuts[::2], cuts[1::2], strict=True)))


class _Growing:
    """An array to which parts are appended, with room for as many as there are to be, each like the first.

    Joining them in the end would take memory twice, and it is memory which is new that costs. So places in a text of
    `size` bytes are int32 where these can be.
    """

    def __init__(self, first: NDArray[Any], size: int, parts: float) -> None:
        kind = np.int32 if first.dtype == np.int64 and size < 1 << 31 else first.dtype
        self._all = np.empty(int(len(first) * parts * _SPARE) + 1, kind)
        self._end = 0

    def append(self, part: NDArray[Any]) -> None:
        """Append a part."""
        start, self._end = self._end, self._end + len(part)
        if self._end > len(self._all):
            self._all = np.concatenate([self._all[:start], np.empty(self._end, self._all.dtype)])
        self._all[start : self._end] = part

    @property
    def filled(self) -> NDArray[Any]:
        """All that was appended."""
        return self._all[: self._end]


@dataclass(frozen=True)
class _Part:
    """Some lines: their bytes, after a margin, and the places among these at which columns end, `[columns, lines]`.

    `start` is the place of the first line in the text.
    """

    start: int
    padded: Bytes
    ends: Places

    @property
    def bytes(self) -> int:
        """The number of bytes."""
        return len(self.padded) - MARGIN

    @property
    def lines(self) -> int:
        """The number of lines."""
        return len(self.ends[0])

    def begins(self, column: int) -> Places:
        """The places at which a column begins, `[lines]`."""
        return self.ends[column - 1] + 1 if column else np.append(0, self.ends[-1, :-1] + 1)


def _parts(text: Raw, layout: Layout, delimiter: bytes, start: int) -> Iterator[_Part]:
    while start < len(text):
        stop = _stop(text, start)
        padded = _padded(text, start, stop)
        yield _Part(start, padded, _ends(padded[MARGIN:], layout, delimiter))
        start = stop


def _stop(text: Raw, start: int) -> int:
    """The place behind the last line that a part from `start` on has room for, or behind a line that is longer."""
    most = start + _PART
    if most >= len(text):
        return len(text)
    return text.rfind(b"\n", start, most) + 1 or text.find(b"\n", most) + 1 or len(text)


def _padded(text: Raw, start: int, stop: int) -> Bytes:
    """The bytes of some lines with a margin before them, and an end of line that the last of a file may lack."""
    if start >= MARGIN and text[stop - 1] == ord("\n"):
        return np.frombuffer(text, np.uint8, MARGIN + stop - start, start - MARGIN)
    lines = text[start:stop]
    return np.frombuffer(bytes(MARGIN) + (lines if lines.endswith(b"\n") else lines + b"\n"), np.uint8)


def _ends(lines: Bytes, layout: Layout, delimiter: bytes) -> Places:
    """The places at which columns end, `[columns, lines]`. Raises as `regular_columns`."""
    marks = lines <= ord("\r" if layout.tabs else " ")  # all that may separate columns or lines, and control characters
    ends, width = np.flatnonzero(marks), len(layout.columns)
    if marks[0] or len(ends) % width or np.any(marks[1:] & marks[:-1]):
        raise Irregular
    ends = np.ascontiguousarray(ends.reshape(-1, width).T)
    count = len(ends[0])
    if lines[ends.reshape(-1)].tobytes() != delimiter * (count * (width - 1)) + b"\n" * count:
        raise Irregular
    if lines.max() > 127:  # beyond ASCII
        lines.tobytes().decode()
    return ends


def _columns(part: _Part, layout: Layout) -> tuple[NDArray[Any], ...]:
    """The arrays of `Columns` for a part: numbers, and the begins and ends in the text of strings of each column."""
    query, document = layout.columns.index("query"), layout.columns.index("document")
    firsts = _firsts(part, query)
    lengths = np.diff(firsts, append=part.lines)
    begins, ends = part.begins(document), part.ends[document]
    prints = short_prints(fingerprints_at(part.padded, ends, ends - begins))
    cuts = [part.begins(query)[firsts], part.ends[query][firsts], begins, ends]
    if layout is SUBTOPICS:
        cuts += [part.begins(1), part.ends[1]]
    return lengths, prints, _numbers(part, layout.columns.index(layout.value)), *(part.start + cut for cut in cuts)


def _numbers(part: _Part, column: int) -> NDArray[np.float64]:
    import pyarrow as pa

    doubles = with_gaps(part.padded[MARGIN:], part.begins(column), part.ends[column]).cast(pa.float64())
    return np.frombuffer(doubles.buffers()[1], np.float64)[: len(doubles) : 2]


def _firsts(part: _Part, column: int) -> Places:
    """The lines in which a column is not what it is in the line before."""
    ends = part.ends[column]
    lengths = once_if_equal(ends - part.begins(column))
    changed = np.ones(part.lines, bool)
    changed[1:] = lengths[1:] != lengths[:-1] if len(lengths) > 1 else False
    words = np.ndarray(len(part.padded) - _WORD + 1, np.dtype("<u8"), part.padded, strides=(1,))[MARGIN - _WORD :]
    for read in range(0, int(lengths.max()), _WORD):  # from the last bytes of a string to its first
        word = words[ends - np.minimum(read, lengths) if read else ends]
        word >>= (8 * np.clip(_WORD + read - lengths, 0, _WORD)).astype(np.uint64)  # those of the column before
        changed[1:] |= word[1:] != word[:-1]
    return np.flatnonzero(changed)
