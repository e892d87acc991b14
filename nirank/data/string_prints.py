"""Numbers for strings, by which repeated ones among millions are found without interning them.

Interning three million ids takes seven times as long, and as much more memory: 333 MB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.data.columns import gather, integers_to_numpy

if TYPE_CHECKING:
    import pyarrow as pa

Prints: TypeAlias = NDArray[np.uint64]
ShortPrints: TypeAlias = NDArray[np.uint32]

#: An odd number with bits everywhere, for mixing.
ODD = 0xD6E8FEB86659FD93
_KEYS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)
_WORD = np.uint64(64)  # bits
#: Bytes that must stand before the first string.
MARGIN = 16


def first_repeated(strings: pa.ChunkedArray) -> tuple[int, int] | None:
    """The places of the first string that stood before, the earlier one first; None where all differ.

    Only strings whose numbers are equal are compared.
    """
    prints = np.concatenate([np.empty(0, np.uint64), *(fingerprints(chunk) for chunk in strings.chunks if len(chunk))])
    suspects = not_alone(prints)
    if not len(suspects):
        return None
    codes = integers_to_numpy(gather(strings, suspects).dictionary_encode().indices)
    _, firsts, inverse = np.unique(codes, return_index=True, return_inverse=True)
    again = np.flatnonzero(firsts[inverse] != np.arange(len(codes)))
    return (int(suspects[firsts[inverse[again[0]]]]), int(suspects[again[0]])) if len(again) else None


def not_alone(prints: NDArray[np.unsignedinteger]) -> NDArray[np.int64]:
    """The places of the numbers that come more than once, rising."""
    ordered = np.sort(prints)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return np.empty(0, np.int64)
    places = np.searchsorted(twice, prints)
    return np.flatnonzero(twice[np.minimum(places, len(twice) - 1)] == prints)


def short_prints(fingerprints: Prints) -> ShortPrints:
    """The upper half of fingerprints: shorter, and by a few suspects in a million less certain."""
    return (fingerprints >> np.uint64(32)).astype(np.uint32)


def fingerprints(strings: pa.Array) -> Prints:
    """A number for each string, made from its length and its last sixteen bytes: equal strings have equal ones.

    `strings` are large strings.
    """
    _, offsets, data = strings.buffers()
    cuts = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    padded = np.zeros(MARGIN + cuts[-1] - cuts[0], np.uint8)
    padded[MARGIN:] = np.frombuffer(data or b"", np.uint8)[cuts[0] : cuts[-1]]
    lengths = once_if_equal(np.diff(cuts))
    if len(lengths) != 1:
        return fingerprints_at(padded, cuts[1:] - cuts[0], lengths)
    step = int(lengths[0])  # places in equal steps are read in a tenth of the time
    return _mixed(np.ndarray((len(strings), 2), np.dtype("<u8"), padded, step, (step, 8)), lengths)


def fingerprints_at(padded: NDArray[np.uint8], ends: NDArray[np.integer], lengths: NDArray[np.int64]) -> Prints:
    """The `fingerprints` of strings that end at `ends` among some bytes, before which stand `MARGIN` others."""
    sixteens = np.ndarray(len(padded) - MARGIN + 1, np.dtype("V16"), padded, strides=(1,))
    return _mixed(sixteens[ends].view(np.dtype("<u8")).reshape(-1, 2), once_if_equal(lengths))


def once_if_equal(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers, or the first of them where all are the same, as they mostly are: it is taken for each of them."""
    return numbers[:1] if len(numbers) and numbers.min() == numbers.max() else numbers


def _mixed(pairs: Prints, lengths: NDArray[np.int64]) -> Prints:
    """A number for each string from the sixteen bytes before its end, which may reach into another, and its length."""
    before, last = pairs.T
    if (shortest := lengths.min(initial=MARGIN)) < MARGIN:
        unused = (8 * (MARGIN - np.minimum(lengths, MARGIN))).astype(np.uint64)
        before = before >> np.minimum(unused, _WORD)
        last = last >> np.maximum(unused, _WORD) - _WORD if shortest < MARGIN // 2 else last
    mixed = before * np.uint64(_KEYS[0])
    mixed += last * np.uint64(_KEYS[1])
    mixed += lengths.astype(np.uint64)
    mixed ^= mixed >> np.uint64(29)  # so that ids which differ by little do not differ by a multiple of anything
    mixed *= np.uint64(ODD)  # now the upper bits depend on all
    return mixed
