"""Exact search over dense vectors: every document is compared with every query.

Vectors lie in one memory-mapped float32 file and are read block by block. A block's scores are compared with
the k-th best score seen so far, and only what comes near it is kept: sorting each block whole would cost as much as
the products.

A matrix product rounds a score by its place in the block, so that equal documents need not score alike. What is kept
is therefore scored again, each pair by itself and always in the same way: rankings and ties are those scores', and do
not depend on the batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nirank.batches import to_numpy
from nirank.data import Candidates, Content, Corpus, Floats, Queries, Vectors
from nirank.errors import BadInput
from nirank.progress import progress
from nirank_dense.best import RunningBest
from nirank_dense.products import OnDevice, OnHost

VECTORS, LONGEST = "vectors.npy", "longest.npy"
#: How many queries are compared at once.
QUERIES = 1024


class ExactSearch:
    """The `k` documents of highest dot product with a query, exactly.

    `device` is CUDA where there is one, else the CPU. `block` is the number of documents compared at once (chosen
    for the number of queries unless given), `chunk` the number encoded between two writes while the index is
    built: an interrupted build goes on from the last whole chunk.
    """

    searches = "dense"
    resumes = True

    def __init__(self, device: str | None = None, block: int | None = None, chunk: int = 1024) -> None:
        self.device = device or _best_device()
        self.block, self.chunk = block, chunk
        self._products: OnHost | OnDevice | None = None
        self._longest = 0.0

    @property
    def index_key(self) -> dict[str, object]:
        """The layout of the files; how they are searched does not matter to them."""
        return {"index": "vectors", "version": 2, "precision": "float32"}

    def build(self, corpus: Corpus, folder: Path, encode: Callable[[Sequence[Content]], Vectors] | None = None) -> None:
        """Encode the corpus into `folder`, going on where an interrupted build of the same index stopped."""
        if encode is None:
            raise BadInput("an index of vectors is built with an encoder: write `encoder >> exact`.")
        path = folder / VECTORS
        done = _whole_chunks(path, self.chunk)
        with path.open("r+b" if done else "wb") as file, progress("Encoding the corpus", len(corpus)) as advance:
            file.seek(0, os.SEEK_END)
            advance(done)
            for start in range(done, len(corpus), self.chunk):
                vectors = to_numpy(encode(corpus[start : start + self.chunk])).astype(np.float32, copy=False)
                _check_finite(vectors, "document", start)
                _append(file, vectors, (len(corpus), vectors.shape[1]))
                advance(len(vectors))
        np.save(folder / LONGEST, _longest(np.load(path, mmap_mode="r")))

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Map the vectors; raises `BadInput` where there is not one for each document."""
        # Mapped copy-on-write, because torch wants memory it may write to; nothing is ever written.
        vectors = np.load(folder / VECTORS, mmap_mode="c")
        if len(vectors) != len(corpus):
            raise BadInput(f"{len(vectors)} vectors for {len(corpus)} documents.", folder / VECTORS)
        self.search_in(vectors, float(np.load(folder / LONGEST)))

    def search_in(self, vectors: Floats, longest: float | None = None) -> None:
        """Search the given vectors, float32 `[documents, dim]`, of which the longest has the length `longest`."""
        self._longest = _longest(vectors) if longest is None else longest
        self._products = OnHost(vectors) if self.device == "cpu" else OnDevice(vectors, self.device)

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The `k` documents of highest dot product for each query; needs dense `queries.vectors`."""
        if self._products is None:
            raise BadInput("the index is not open: search through a pipeline, or call open first.")
        if queries.vectors is None:
            raise BadInput("these queries have no vectors: write `encoder >> exact`.")
        wanted = to_numpy(queries.vectors).astype(np.float32, copy=False)
        dim = self._products.vectors.shape[1]
        if wanted.ndim != 2 or wanted.shape[1] != dim:
            raise BadInput(f"query vectors {wanted.shape} for an index of {dim} dimensions.")
        _check_finite(wanted, "query")
        starts = range(0, len(wanted), QUERIES)
        return Candidates.stack([self._search(self._products, wanted[start : start + QUERIES], k) for start in starts])

    def _search(self, products: OnHost | OnDevice, vectors: Floats, k: int) -> Candidates:
        best = RunningBest(k, _slack(vectors, self._longest))
        queries = products.queries(vectors)
        documents = len(products.vectors)
        size = self.block or min(65536, max(1024, products.budget // len(vectors)))
        for start in range(0, documents, size):
            stop = min(start + size, documents)
            scores = products.scores(queries, start, stop)  # (queries, documents of the block)
            if start == 0 and k <= stop:
                best.reached(products.kth_best(scores, k))
            rows, columns, found = products.reaching(scores, best.floor)
            best.add(rows, columns + start, found)
        kept = best.candidates()
        return kept.with_scores(products.each(queries, kept.rows, kept.docs)).top(k)


def tiny() -> ExactSearch:
    """An index on the CPU with small blocks, so that checks cross their borders."""
    return ExactSearch(device="cpu", block=3, chunk=4)


def _append(file: BinaryIO, vectors: Floats, shape: tuple[int, int]) -> None:
    """Write one chunk, after the header where it is the first.

    Plain writes, not a mapping: on a full disk a write raises, a mapping kills the process.
    """
    if not file.tell():
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
    file.write(vectors.tobytes())
    file.flush()
    os.fsync(file.fileno())


def _whole_chunks(path: Path, chunk: int) -> int:
    """How many vectors an interrupted build left; what comes after the last whole chunk is cut off."""
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


def _check_finite(vectors: Floats, what: str, first: int = 0) -> None:
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(wrong):
        place = f"the first is {what} {first + wrong[0] + 1}"
        raise BadInput(f"{len(wrong)} of {len(vectors)} {what} vectors hold what is no finite number; {place}.")


def _longest(vectors: Floats) -> float:
    """The length of the longest vector, read in blocks."""
    squares = (np.einsum("ij,ij->i", block, block).max() for block in _in_blocks(vectors))
    return float(np.sqrt(max(squares, default=0.0)))


def _in_blocks(vectors: Floats, size: int = 65536) -> Iterator[Floats]:
    return (vectors[start : start + size] for start in range(0, len(vectors), size))


def _slack(queries: Floats, longest: float) -> Floats:
    """How far two ways of adding up a dot product can lie apart, `[queries]`, twice over.

    Each is within `dim * 2**-24 * |q| |d|` of the true one, whatever the order of the sum (Higham 2002, eq. 3.5).
    """
    dim = queries.shape[1]
    lengths = np.sqrt(np.einsum("ij,ij->i", queries, queries))
    return (4 * dim * 2.0**-24 * longest * lengths).astype(np.float32)


def _best_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
