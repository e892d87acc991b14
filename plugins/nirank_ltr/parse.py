"""The compiled reader of LETOR's lines, `LABEL qid:QUERY INDEX:VALUE INDEX:VALUE ... # COMMENT`.

A file is read twice, byte by byte: once to see how large it is and whether every line is as it should be, once to fill
columns of that size. Importing this module imports numba; functions are compiled when first used, and kept on disk.
Columns that belong together are a named tuple, which compiled functions take.

Instructions: those of the processor at hand, none in particular; a number is read from two whole ones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nirank.kit import compiled, inner

Column = NDArray[Any]

#: Larger numbers of features are taken for mistakes.
LARGEST = 1_000_000
#: Faults of a line, in the order of the numbers that stand for them.
FAULTS = (
    "",
    "the label at the beginning is not a number",
    "a feature is expected to be INDEX:VALUE",
    "the index of a feature has to be larger than the one before it",
    f"the index of a feature is beyond {LARGEST:,}",
    "the value of a feature is not a number",
)
_LABEL, _PAIR, _ORDER, _BEYOND, _VALUE = range(1, 6)
_TAB, _END, _RETURN, _BLANK, _HASH, _COLON, _EQUALS = (ord(letter) for letter in "\t\n\r #:=")
_ZERO, _NINE, _POINT, _PLUS, _MINUS, _E = (ord(letter) for letter in "09.+-e")
_MISSING = tuple(np.frombuffer(word, np.uint8) for word in (b"nan", b"null"))
_QID, _DOCID = (np.frombuffer(word, np.uint8) for word in (b"qid:", b"docid"))
_DIGITS = 10**17  # a mantissa that is larger takes no further digits


class Size(NamedTuple):
    """The size of a file: its lines with a label, the least and the largest index of a feature (-1: none).

    `fault` is the place in `FAULTS` of the first fault, `line` its line, from 1.
    """

    rows: int
    least: int
    largest: int
    fault: int
    line: int


class LetorColumns(NamedTuple):
    """Of each line with a label: that, its number in the file, its features, and the ends of its ids, `[rows, 2]`.

    An id that is not there begins and ends at the same place.
    """

    labels: Column
    lines: Column
    values: Column
    queries: Column
    documents: Column


def room(rows: int, features: int, absent: float) -> LetorColumns:
    """Columns for a number of lines and features, whose values are `absent`."""
    return LetorColumns(
        np.empty(rows, np.float32),
        np.empty(rows, np.int64),
        np.full((rows, features), absent, np.float32),
        *np.zeros((2, rows, 2), np.int64),
    )


@compiled
def measure(raw: Column) -> tuple[int, int, int, int, int]:
    """The `Size` of a file."""
    at, line, rows, least, largest = 0, 0, 0, -1, -1
    while at < len(raw):
        line += 1
        end = _line_end(raw, at)
        at = _skip(raw, at, end)
        if at < end and raw[at] != _HASH:
            fault, first, last = _check(raw, at, end)
            if fault:
                return rows, least, largest, fault, line
            if first >= 0:
                least = first if least < 0 else min(least, first)
            largest, rows = max(largest, last), rows + 1
        at = end + 1
    return rows, least, largest, 0, 0


@compiled
def fill(raw: Column, least: int, columns: LetorColumns) -> None:
    """Read a file that was measured; the feature `least` is the first column of the values."""
    at, line, row = 0, 0, 0
    while at < len(raw):
        line += 1
        end = _line_end(raw, at)
        at = _skip(raw, at, end)
        if at < end and raw[at] != _HASH:
            columns.lines[row] = line
            at, columns.labels[row], _ = _number(raw, at, end)
            _read(raw, at, end, least, row, columns)
            row += 1
        at = end + 1


@inner
def _check(raw: Column, at: int, end: int) -> tuple[int, int, int]:
    """The fault of a line, and its first and last index."""
    first, last = -1, -1
    at, label, good = _number(raw, at, end)
    if not good or np.isnan(label):
        return _LABEL, first, last
    at = _skip(raw, at, end)
    while at < end and raw[at] != _HASH:
        if _begins(raw, at, end, _QID):
            at = _word_end(raw, at, end)
        else:
            at, index = _index(raw, at, end)
            if index < 0:
                return _PAIR, first, last
            if index <= last:
                return _ORDER, first, last
            if index > LARGEST:
                return _BEYOND, first, last
            first, last = index if first < 0 else first, index
            at, _, good = _number(raw, at, end)
            if not good:
                return _VALUE, first, last
        at = _skip(raw, at, end)
    return 0, first, last


@inner
def _read(raw: Column, at: int, end: int, least: int, row: int, columns: LetorColumns) -> None:
    at = _skip(raw, at, end)
    while at < end and raw[at] != _HASH:
        if _begins(raw, at, end, _QID):
            stop = _word_end(raw, at, end)
            columns.queries[row, 0], columns.queries[row, 1] = at + len(_QID), stop
            at = stop
        else:
            at, index = _index(raw, at, end)
            at, columns.values[row, index - least], _ = _number(raw, at, end)
        at = _skip(raw, at, end)
    columns.documents[row, 0], columns.documents[row, 1] = _document(raw, at + 1, end)


@inner
def _document(raw: Column, at: int, end: int) -> tuple[int, int]:
    """The ends of the name of a document in a comment: behind `docid =`, or the comment if it is one word."""
    at = _skip(raw, at, end)
    if at >= end:
        return 0, 0
    named = _begins(raw, at, end, _DOCID)
    if named:
        at = _skip(raw, at + len(_DOCID), end)
        named = at < end and raw[at] == _EQUALS
        at = _skip(raw, min(at + 1, end), end)  # the comment may end here, and the file with it
    stop = max(at, _word_end(raw, at, end))
    return (at, stop) if named or _skip(raw, stop, end) >= end else (0, 0)


@inner
def _line_end(raw: Column, at: int) -> int:
    while at < len(raw) and raw[at] != _END:
        at += 1
    return at


@inner
def _is_blank(letter: int) -> bool:
    return letter in (_BLANK, _TAB, _RETURN)


@inner
def _skip(raw: Column, at: int, end: int) -> int:
    while at < end and _is_blank(raw[at]):
        at += 1
    return at


@inner
def _word_end(raw: Column, at: int, end: int) -> int:
    while at < end and not _is_blank(raw[at]) and raw[at] != _HASH:
        at += 1
    return at


@inner
def _begins(raw: Column, at: int, end: int, word: Column) -> bool:
    """True where `word` stands here, in letters of either case."""
    if at + len(word) > end:
        return False
    for place in range(len(word)):  # noqa: SIM110 (numba knows no `all`)
        if raw[at + place] | 32 != word[place] | 32:
            return False
    return True


@inner
def _index(raw: Column, at: int, end: int) -> tuple[int, int]:
    """The number before a colon, and where what follows it begins; -1 where there is no such thing."""
    start, index = at, 0
    while at < end and _ZERO <= raw[at] <= _NINE and index <= LARGEST:
        index = 10 * index + raw[at] - _ZERO
        at += 1
    if at == start or at >= end or (raw[at] != _COLON and index <= LARGEST):
        return at, -1
    return at + 1, index


@inner
def _number(raw: Column, at: int, end: int) -> tuple[int, float, bool]:
    """A number up to the next blank: where it ends, its value, and whether it is one; a missing one is NaN."""
    stop = _word_end(raw, at, end)
    for word in _MISSING:
        if stop - at == len(word) and _begins(raw, at, stop, word):
            return stop, np.nan, True
    negative = at < stop and raw[at] == _MINUS
    if at < stop and (raw[at] == _MINUS or raw[at] == _PLUS):
        at += 1
    at, mantissa, exponent, digits = _mantissa(raw, at, stop)
    good = digits > 0
    if at < stop and raw[at] | 32 == _E:
        at, power, some = _exponent(raw, at + 1, stop)
        exponent, good = exponent + power, good and some
    value = float(mantissa) / 10.0**-exponent if exponent < 0 else float(mantissa) * 10.0**exponent
    return stop, -value if negative else value, good and at == stop and np.isfinite(value)


@inner
def _mantissa(raw: Column, at: int, stop: int) -> tuple[int, int, int, int]:
    """Digits with a point: where they end, their number, the power of ten to take it times, and how many there are."""
    mantissa, exponent, digits, pointed = 0, 0, 0, False
    while at < stop and (_ZERO <= raw[at] <= _NINE or (raw[at] == _POINT and not pointed)):
        if raw[at] == _POINT:
            pointed = True
        else:
            digits += 1
            if mantissa < _DIGITS:
                mantissa = 10 * mantissa + int(raw[at]) - _ZERO
                exponent -= pointed
            else:
                exponent += not pointed
        at += 1
    return at, mantissa, exponent, digits


@inner
def _exponent(raw: Column, at: int, stop: int) -> tuple[int, int, bool]:
    negative = at < stop and raw[at] == _MINUS
    if at < stop and (raw[at] == _MINUS or raw[at] == _PLUS):
        at += 1
    start, power = at, 0
    while at < stop and _ZERO <= raw[at] <= _NINE:
        power = min(10 * power + int(raw[at]) - _ZERO, 999)
        at += 1
    return at, -power if negative else power, at > start
