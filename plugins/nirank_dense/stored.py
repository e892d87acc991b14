"""The vectors of a corpus in one file, float32 `[documents, dim]`: written while they are encoded, mapped afterwards.

An interrupted writing goes on after the last whole chunk. Vectors that are known from an earlier state of the corpus
are copied instead of encoded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Content, Corpus, Floats, Ints, Queries, Vectors, to_numpy
from nirank.errors import BadInput
from nirank.kit import Former, bounded, chunks, progress, write_header

VECTORS = "vectors.npy"
_VECTORS = "vectors"
#: The largest square of a vector's length: distances stay within float32 as well.
_LARGEST = 1e36

Encode = Callable[[Sequence[Content]], Vectors]


@dataclass(frozen=True)
class KnownVectors:
    """Vectors of an earlier state of the corpus, and for each document its row among them, or -1."""

    vectors: Floats
    rows: NDArray[np.int64]


def write(corpus: Corpus, folder: Path, encode: Encode | None, chunk: int, known: KnownVectors | None = None) -> Floats:
    """Write the vectors of a corpus into a folder, `chunk` of them at a time, and map them.

    Raises `BadInput` without `encode`, and for vectors that hold what is no finite number.
    """
    if encode is None:
        raise BadInput("an index of vectors is built with an encoder: write `encoder >> index`.")
    path = folder / VECTORS
    done = _whole_chunks(path, chunk)
    with path.open("r+b" if done else "wb") as file, progress("Encoding the corpus", len(corpus)) as advance:
        file.seek(0, os.SEEK_END)
        advance(done)
        encode = _partly(corpus, encode, known) if known else encode
        dim = _dim(path) if done else None
        for start, columns in chunks.in_order(corpus, encode, chunk, folder, _column, done):
            vectors = columns[_VECTORS]
            dim = _same_dim(vectors, dim, start)
            check_finite(vectors, "document", start)
            _append(file, vectors, (len(corpus), vectors.shape[1]))
            advance(len(vectors))
    return mapped(folder, len(corpus))


def mapped(folder: Path, documents: int) -> Floats:
    """The vectors in a folder; raises `BadInput` where there is not one for each document."""
    # Mapped copy-on-write, because torch wants memory it may write to; nothing is ever written.
    vectors: Floats = bounded.column(folder / VECTORS, np.float32, None, None, mode="c")
    if len(vectors) != documents:
        raise BadInput(
            f"has {len(vectors)} vectors, but the corpus has {documents} documents: build the index again.",
            folder / VECTORS,
        )
    return vectors


def known(former: Former) -> KnownVectors:
    """The vectors of an index of an earlier state of the corpus."""
    vectors = bounded.column(former.folder / VECTORS, np.float32, None, None)
    return KnownVectors(vectors, former.ordinals)


def query_vectors(queries: Queries, dim: int) -> Floats:
    """The vectors of queries, float32 `[queries, dim]`.

    Raises `BadInput` where they are missing, not finite or of another dimension.
    """
    if queries.vectors is None:
        raise BadInput("these queries have no vectors: write `encoder >> index`.")
    wanted = as_float32(queries.vectors)
    if wanted.ndim != 2 or wanted.shape[1] != dim:
        raise BadInput(
            f"query vectors have the shape {wanted.shape}, the index has {dim} dimensions: search with its own encoder."
        )
    check_finite(wanted, "query")
    return wanted


def pairs(queries: Queries, candidates: Candidates, documents: int, dim: int) -> tuple[Floats, Ints, Ints]:
    """The vectors of queries, and of each pair its row among these and its document.

    Raises `BadInput` as `query_vectors` does, and for documents that the index does not have.
    """
    least, last = candidates.extent
    if least < 0 or last >= documents:
        raise BadInput(f"there is no document {least if least < 0 else last} in an index of {documents} documents.")
    return query_vectors(queries, dim), candidates.rows, candidates.docs


def check_finite(vectors: Floats, what: str, first: int = 0) -> None:
    """Raise `BadInput` for vectors with numbers that are not finite, or so large that products of them are not.

    `first` is the number of the first vector.
    """
    squares = np.einsum("ij,ij->i", vectors, vectors)  # of which numpy does not warn
    wrong = np.flatnonzero(~(squares <= _LARGEST))
    if len(wrong):
        place = f"the first is {what} {first + wrong[0] + 1}"
        finite = np.isfinite(vectors[wrong]).all()
        kind = (
            "are so long that products of float32 overflow" if finite else "hold numbers that are not finite in float32"
        )
        raise BadInput(f"{len(wrong)} of {len(vectors)} {what} vectors {kind}; {place}.")


def as_float32(vectors: Any) -> Floats:
    """Vectors as float32; what is beyond its range becomes infinite, for `check_finite` to tell.

    Raises `BadInput` for complex numbers.
    """
    given = to_numpy(vectors)
    if given.dtype == np.float32:
        return given
    if np.iscomplexobj(given):
        raise BadInput("an encoder returned vectors of complex numbers; real ones are expected.")
    with np.errstate(over="ignore"):
        return given.astype(np.float32, copy=False)


def _partly(corpus: Corpus, encode: Encode, known: KnownVectors) -> chunks.Partly:
    """The encoding of a corpus of which some vectors are known."""

    def mixed(one: range) -> Floats:
        rows = known.rows[one.start : one.stop]
        vectors, new = known.vectors[np.maximum(rows, 0)], np.flatnonzero(rows < 0)
        if len(new):
            vectors[new] = as_float32(encode(corpus[one.start + new]))
        return vectors

    return chunks.Partly(encode, known.rows < 0, mixed)


def _column(vectors: Any) -> dict[str, Floats]:
    return {_VECTORS: as_float32(vectors)}


def _same_dim(vectors: Floats, dim: int | None, start: int) -> int:
    """The dimensions of a chunk. Raises `BadInput` for other ones than those of the chunks before it."""
    if vectors.ndim != 2 or vectors.shape[1] != (vectors.shape[1] if dim is None else dim):
        before = f"; those before it have {dim} dimensions" if dim else ""
        raise BadInput(
            f"the encoder returned vectors of the shape {vectors.shape} from document {start + 1:,} on{before}: "
            "[documents, dim] is expected, with one dim for a whole corpus."
        )
    return int(vectors.shape[1])


def _dim(path: Path) -> int:
    """The dimensions of the vectors in a file whose header is whole."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        return int(np.lib.format.read_array_header_1_0(file)[0][1])


def _append(file: BinaryIO, vectors: Floats, shape: tuple[int, int]) -> None:
    """Write one chunk, after the header where it is the first."""
    if not file.tell():
        write_header(file, shape, np.float32)
    file.write(vectors.tobytes())
    file.flush()
    os.fsync(file.fileno())


def _whole_chunks(path: Path, chunk: int) -> int:
    """The number of vectors that an interrupted build left; cut off what comes after the last whole chunk."""
    try:
        with path.open("r+b") as file:
            np.lib.format.read_magic(file)
            (_, dim), _, _ = np.lib.format.read_array_header_1_0(file)
            start, row = file.tell(), 4 * dim
            done = (path.stat().st_size - start) // row // chunk * chunk
            file.truncate(start + done * row)
            return int(done)
    except (OSError, ValueError):  # no file yet, or not even a whole header: from the beginning
        return 0
