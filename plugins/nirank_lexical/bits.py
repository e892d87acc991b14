"""Streams of bits on disk: numbers of any width, one after the other, in words of 64 bits.

The first bit of a word is its lowest. A stream has a word or two more than it needs, so that whatever begins in a word
may be read from it and the next.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nirank.kit import bounded, write_header

Words = NDArray[np.uint64]
Places = NDArray[np.int64]

_SHIFT, _WORD = 6, 64


def stream(path: Path, bits: int) -> Words:
    """Map a stream of some bits. Raises `DamagedFile` where the file has more or fewer."""
    return bounded.column(path, np.uint64, _words(bits))


def ones(words: Words, begin: int, end: int) -> Places:
    """The places of the bits that are set from `begin` up to `end`, counted from `begin`."""
    first, last = begin >> _SHIFT, -(-end // _WORD)
    bits = np.unpackbits(words[first:last].view(np.uint8), bitorder="little")
    return np.flatnonzero(bits[begin - _WORD * first : end - _WORD * first].view(bool))


def numbers(words: Words, places: Places, widths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers that begin at some places, each with its width in bits, at most 32; a width may serve all."""
    at, shift = places >> _SHIFT, (places & (_WORD - 1)).view(np.uint64)
    found = words[at]
    found >>= shift  # in place, as all here: to take memory costs more than to compute
    at += 1
    shift ^= np.uint64(_WORD - 1)
    further = words[at]
    further <<= shift
    further <<= np.uint64(1)
    found |= further
    read: NDArray[np.int64] = found.view(np.int64)
    read &= (1 << widths) - 1
    return read


class BitWriter:
    """A stream of so many bits that is written from its first to its last; the last word is added at the end."""

    def __init__(self, path: Path, bits: int) -> None:
        self._file, self._left = path.open("wb"), _words(bits)
        write_header(self._file, (self._left,), np.uint64)
        self._begun, self._first = np.uint64(0), 0

    def __enter__(self) -> BitWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file:
            if kind is None:
                self._put(np.array([self._begun, *[0] * (self._left - 1)], np.uint64))

    def ones(self, places: Places, end: int) -> None:
        """Set bits at places that rise; the stream is written up to `end`."""
        each = np.ones(len(places), np.int64)
        self.numbers(places, each, each, end)

    def numbers(self, places: Places, values: NDArray[np.int64], widths: NDArray[np.int64], end: int) -> None:
        """Write numbers at places that rise, each in its width of at most 32 bits; then the stream reaches `end`."""
        words = np.zeros((end >> _SHIFT) - self._first + 1, np.uint64)
        words[0] = self._begun
        at, shift, values = (places >> _SHIFT) - self._first, places & (_WORD - 1), values.view(np.uint64)
        heads = np.flatnonzero(np.diff(at, prepend=-1))
        if len(heads):
            words[at[heads]] |= np.bitwise_or.reduceat(values << shift.view(np.uint64), heads)
        over = np.flatnonzero(shift + widths > _WORD)
        words[at[over] + 1] |= values[over] >> (_WORD - shift[over]).view(np.uint64)
        self._begun = words[-1]
        self._put(words[:-1])

    def _put(self, words: Words) -> None:
        self._file.write(words.data)
        self._first += len(words)
        self._left -= len(words)


def _words(bits: int) -> int:
    return (bits >> _SHIFT) + 2
