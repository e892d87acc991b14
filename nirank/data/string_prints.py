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

#: An odd number with bits everywhere, for mixing.
ODD = 0xD6E8FEB86659FD93
_KEYS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)


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


def not_alone(prints: Prints) -> NDArray[np.int64]:
    """The places of the numbers that come more than once, rising."""
    ordered = np.sort(prints)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return np.empty(0, np.int64)
    places = np.searchsorted(twice, prints)
    return np.flatnonzero(twice[np.minimum(places, len(twice) - 1)] == prints)


def fingerprints(strings: pa.Array) -> Prints:
    """A number for each string, made from its first and last eight bytes: equal strings have equal ones.

    `strings` are large strings. The eight bytes may reach into a neighbour, so those of a shorter string are shifted
    out.
    """
    _, offsets, data = strings.buffers()
    cuts = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    padded = np.zeros(cuts[-1] - cuts[0] + 16, np.uint8)
    padded[8:-8] = np.frombuffer(data or b"", np.uint8)[cuts[0] : cuts[-1]]
    cuts = cuts - cuts[0]
    lengths = np.diff(cuts).view(np.uint64)
    least, most = lengths.min(initial=len(padded)), lengths.max(initial=0)
    step = int(least) if least == most else None
    first, last = _words(padded[8:], cuts[:-1], step), _words(padded, cuts[1:], step)
    if least < 8:
        unused = 8 * (8 - np.minimum(lengths, 8))
        first <<= unused
        last >>= unused
    mixed = _scaled(first, _KEYS[0])
    mixed += _scaled(last, _KEYS[1])
    mixed += lengths
    mixed ^= mixed >> np.uint64(29)  # so that ids which differ by little do not differ by a multiple of anything
    mixed = _scaled(mixed, ODD)
    mixed ^= mixed >> np.uint64(32)
    return mixed


def _words(data: NDArray[np.uint8], starts: NDArray[np.int64], step: int | None) -> Prints:
    """The eight bytes from each of some places on, as numbers; places `step` apart are read in a tenth of the time."""
    kind = np.dtype("<u8")
    if step is not None:
        return np.ndarray(len(starts), kind, data, int(starts[0]), (step,)).copy()
    return np.ndarray(len(data) - 7, kind, data, strides=(1,))[starts]


def _scaled(numbers: Prints, key: int) -> Prints:
    """The numbers times a key, in place: memory that is new costs more than the product."""
    numbers *= np.uint64(key)
    return numbers
