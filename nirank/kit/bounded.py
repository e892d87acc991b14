"""Columns of numbers on disk, bounded before compiled code indexes by them.

Compiled loops, scipy and faiss read wherever a number says. So type, shape and layout of a column are compared with
what the index needs whenever it is opened; that offsets rise, and that numbers lie where they should, is looked at once
for files in one state (`nirank.seals.once`), because it reads all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank import seals
from nirank.errors import DamagedFile

#: Numbers that are compared at once.
_BLOCK = 1 << 20
#: Of the checks of contents: files that passed those of another version are looked at again.
_VERSION = 1


def column(path: Path, kind: type[np.generic], *shape: int | None, mode: Any = "r") -> NDArray[Any]:
    """Map a `.npy` file. Raises `DamagedFile` unless it holds `kind`, of this shape (None: any length), row by row."""
    try:
        mapped = np.load(path, mmap_mode=mode).view(np.ndarray)
    except Exception as error:  # of numpy, which parses the header as Python
        reason = error.strerror if isinstance(error, OSError) else error
        raise DamagedFile(f"is incomplete ({reason}); build the index again.", path) from error
    _expect(path, mapped.dtype, mapped.shape, kind, *shape)
    if not mapped.flags.c_contiguous:
        raise fault(path, "its numbers do not lie row by row")
    return mapped


def _expect(
    path: Path, dtype: np.dtype[Any], found: tuple[int, ...], kind: type[np.generic], *shape: int | None
) -> None:
    """Raise `DamagedFile` unless what was found in a file is of this kind and shape."""
    if not (np.issubdtype(dtype, kind) and dtype.isnative):
        raise fault(path, f"it holds {dtype}, and {kind.__name__} was written")
    fits = len(found) == len(shape) and all(wanted in (None, size) for wanted, size in zip(shape, found, strict=True))
    if not fits:
        wanted = ", ".join("any" if size is None else f"{size}" for size in shape)
        raise fault(path, f"it has the shape {found}, and [{wanted}] fits the other files")


def once(folder: Path, names: Sequence[str], check: Callable[[], None]) -> None:
    """Run a check of the contents of files in a folder, unless they passed it in this very state before."""
    seals.once(folder, f"bounds/{_VERSION}/{'+'.join(names)}", names, check)


def rising(path: Path, offsets: NDArray[Any], end: int) -> None:
    """Raise `DamagedFile` unless offsets go from 0 up to `end`, and never down."""
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != end:
        ends = f"from {offsets[0]} to {offsets[-1]}" if len(offsets) else "nowhere"
        raise fault(path, f"its offsets go {ends}, and should go from 0 to {end:,}")
    if _falls(offsets, lambda before, after: after < before).size:
        raise fault(path, "its offsets do not rise")


def within(path: Path, numbers: NDArray[Any], below: int, least: int = 0) -> None:
    """Raise `DamagedFile` for a number under `least`, or not below `below`."""
    for block in _blocks(numbers.ravel()):
        low, high = int(block.min()), int(block.max())
        if low < least or high >= below:
            raise fault(path, f"it has the number {low if low < least else high}; {least} to {below - 1} are expected")


def rows_rising(path: Path, numbers: NDArray[Any], offsets: NDArray[Any]) -> None:
    """Raise `DamagedFile` unless the numbers of each row, from an offset up to the next, rise."""
    falls = _falls(numbers, lambda before, after: after <= before)
    if not (offsets[np.searchsorted(offsets, falls)] == falls).all():
        raise fault(path, "the numbers of a row do not rise")


def fault(path: Path, what: str) -> DamagedFile:
    """The error for a file in which something cannot be."""
    return DamagedFile(f"is damaged: {what}. Remove {path.parent} to have it built again.", path)


def _blocks(numbers: NDArray[Any]) -> Iterable[NDArray[Any]]:
    return (numbers[start : start + _BLOCK] for start in range(0, len(numbers), _BLOCK))


def _falls(numbers: NDArray[Any], compare: Callable[[NDArray[Any], NDArray[Any]], Any]) -> NDArray[np.int64]:
    """The places of those numbers that compare so with the one before."""
    found = [np.empty(0, np.int64)]
    for start in range(0, len(numbers) - 1, _BLOCK):
        block = numbers[start : start + _BLOCK + 1]
        found.append(np.flatnonzero(compare(block[:-1], block[1:])) + start + 1)
    return np.concatenate(found)
