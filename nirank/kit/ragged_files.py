"""Ragged vectors of a corpus on disk, written chunk by chunk, so that an interrupted build goes on where it stopped.

Each column is a file of plain numbers, row after row; `lengths` says how many rows of the others each document has, and
is written last of a chunk: rows without a length are those of an interrupted chunk, and are cut off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nirank.data.batches import concatenate
from nirank.data.offsets import offsets_of
from nirank.data.types import Content, Corpus
from nirank.data.vectors import Vectors, on_host
from nirank.errors import BadInput, StaleIndex
from nirank.files import small_text
from nirank.kit import bounded, chunks
from nirank.progress import progress

ABOUT, LENGTHS = "columns.json", "lengths"
_LENGTH = np.dtype("<i4")

#: From the vectors of a chunk to how many rows each of its documents has, and the columns of these.
Split = Callable[[Any], tuple[NDArray[Any], Mapping[str, NDArray[Any]]]]


@dataclass(frozen=True)
class Known:
    """Vectors of an earlier state of a corpus, picked by an array of places.

    `ordinals` say where each document stood in it, `[documents now]`; -1 for a new one.
    """

    vectors: Vectors
    ordinals: NDArray[np.int64]


def write(
    corpus: Corpus,
    folder: Path,
    encode: Callable[[Sequence[Content]], Vectors],
    split: Split,
    chunk: int,
    known: Known | None = None,
) -> None:
    """Encode the corpus into `folder`, `chunk` documents at a time, after those that are there already.

    Documents whose vectors are `known` are not encoded again.
    """
    done = _whole_chunks(folder, chunk)
    with ExitStack() as stack, progress("Encoding the corpus", len(corpus)) as advance:
        advance(done)
        files: dict[str, BinaryIO] = {}
        described = json.loads(small_text(folder / ABOUT)) if done else None
        encode = _partly(corpus, encode, known) if known else encode
        for start, found in chunks.in_order(corpus, encode, chunk, folder, lambda made: _columns(*split(made)), done):
            lengths = found[LENGTHS]
            rows_of = {name: rows for name, rows in found.items() if name != LENGTHS}
            described = _described(folder, rows_of, described, start)
            for name, rows in found.items():  # lengths are the last
                if name not in files:
                    files[name] = stack.enter_context((folder / name).open("ab" if done else "wb"))
                _append(files[name], rows)
            advance(len(lengths))


def read(
    folder: Path, expected: Mapping[str, type[np.generic]] | None = None
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """The offsets of each document's rows, `[documents + 1]`, and the columns, mapped.

    Raises `StaleIndex` where they are incomplete, or not of the types `expected`.
    """
    kinds = _kinds(folder)
    if expected and {name: kind.base for name, kind in kinds.items()} != {
        name: np.dtype(kind) for name, kind in expected.items()
    }:
        raise bounded.fault(folder / ABOUT, f"it names {kinds}, and {', '.join(expected)} were written")
    try:
        lengths = np.fromfile(folder / LENGTHS, _LENGTH)
        bounded.within(folder / LENGTHS, lengths, np.iinfo(np.int32).max)
        offsets = offsets_of(lengths)
        short = [name for name, kind in kinds.items() if _rows(folder / name, kind) != offsets[-1]]
    except OSError as error:
        raise StaleIndex(f"The vectors in {folder} are incomplete ({error}); build the index again.") from error
    if short or not kinds:
        raise StaleIndex(f"The vectors in {folder} are incomplete ({short or ABOUT}); build the index again.")
    return offsets, {name: _mapped(folder / name, kind, int(offsets[-1])) for name, kind in kinds.items()}


def remove(folder: Path) -> None:
    """Remove what `write` wrote, for an index that was made of it and needs it no more."""
    for name in (*_kinds(folder), LENGTHS, ABOUT):
        (folder / name).unlink(missing_ok=True)


def _columns(lengths: NDArray[Any], columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {**columns, LENGTHS: lengths.astype(_LENGTH)}


def _partly(corpus: Corpus, encode: chunks.Encode, known: Known) -> chunks.Partly:
    """The encoding of a corpus of which some vectors are known."""

    def mixed(one: range) -> Vectors:
        places, some = known.ordinals[one.start : one.stop], np.arange(one.start, one.stop)
        new = some[places < 0]
        made = [on_host(encode(corpus[new]))] if len(new) else []
        both = concatenate([known.vectors[places[places >= 0]], *made])
        return both[np.argsort(np.argsort(places < 0, kind="stable"))]

    return chunks.Partly(encode, known.ordinals < 0, mixed)


def _append(file: BinaryIO, rows: NDArray[Any]) -> None:
    file.write(np.ascontiguousarray(rows).tobytes())
    file.flush()
    os.fsync(file.fileno())


def _described(folder: Path, columns: chunks.Columns, before: Any, start: int) -> Any:
    """Describe a row of each column, and write that of the first chunk.

    Raises `BadInput` for a later one that has other rows than those `before`.
    """
    kinds = {name: [rows.dtype.newbyteorder("<").str, list(rows.shape[1:])] for name, rows in columns.items()}
    if before is None:
        (folder / ABOUT).write_text(json.dumps(kinds), encoding="utf-8")
    elif kinds != before:
        raise BadInput(
            f"the encoder returned vectors of another shape or type from document {start + 1:,} on: {kinds}."
        )
    return kinds


def _kinds(folder: Path) -> dict[str, np.dtype[Any]]:
    """The type of one row of each column; empty where nothing was written yet."""
    try:
        described = json.loads(small_text(folder / ABOUT))
        kinds = {name: np.dtype((kind, tuple(shape))) for name, (kind, shape) in described.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, SyntaxError):
        return {}
    return kinds if all(map(_plain, kinds.values())) else {}


def _plain(kind: np.dtype[Any]) -> bool:
    """Tell whether a row is some numbers: an address (of an object) must never come from a file."""
    return kind.base.kind in "iuf" and kind.itemsize > 0


def _whole_chunks(folder: Path, chunk: int) -> int:
    """Cut off all after the last whole chunk of an interrupted build; the number of documents that are left."""
    kinds, path = _kinds(folder), folder / LENGTHS
    if not kinds or not path.exists() or not all((folder / name).exists() for name in kinds):
        return 0
    lengths = np.fromfile(path, _LENGTH)
    lengths = lengths[: len(lengths) // chunk * chunk]
    if any(_rows(folder / name, kind) < lengths.sum() for name, kind in kinds.items()):
        return 0
    for name, kind in kinds.items():
        os.truncate(folder / name, int(lengths.sum()) * kind.itemsize)
    os.truncate(path, lengths.nbytes)
    return len(lengths)


def _rows(path: Path, kind: np.dtype[Any]) -> int:
    """The number of whole rows of a file."""
    return path.stat().st_size // kind.itemsize


def _mapped(path: Path, kind: np.dtype[Any], rows: int) -> NDArray[Any]:
    scalar, shape = kind.subdtype or (kind, ())
    if not rows * prod(shape):  # nothing can be mapped of an empty file
        return np.empty((rows, *shape), scalar)
    return np.memmap(path, scalar, "r", shape=(rows, *shape)).view(np.ndarray)
