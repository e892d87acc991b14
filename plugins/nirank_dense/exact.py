"""Exact search over dense vectors: every document is compared with every query.

Vectors lie in one memory-mapped float32 file and are read block by block. A block's scores are compared with
the k-th best score seen so far, and only what beats it is kept: sorting each block whole would cost as much as
the products.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from nirank.batches import to_numpy
from nirank.data import Candidates, Content, Corpus, Floats, Queries, Vectors
from nirank.errors import BadInput
from nirank.progress import progress
from nirank_dense.best import RunningBest

VECTORS = "vectors.npy"
#: How many queries are compared at once.
QUERIES = 1024


class ExactSearch:
    """The `k` documents of highest dot product with a query, exactly.

    `device` is CUDA where there is one, else the CPU; on a GPU the vectors stay there if they fit in half of
    its free memory. `block` is the number of documents compared at once (chosen for the number of queries
    unless given), `chunk` the number encoded between two writes while the index is built: an interrupted
    build goes on from the last whole chunk.
    """

    searches = "dense"
    resumes = True

    def __init__(self, device: str | None = None, block: int | None = None, chunk: int = 1024) -> None:
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.block, self.chunk = block, chunk
        self.vectors: torch.Tensor | None = None

    @property
    def index_key(self) -> dict[str, object]:
        """The layout of the files; how they are searched does not matter to them."""
        return {"index": "vectors", "version": 1, "precision": "float32"}

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
                _append(file, vectors, (len(corpus), vectors.shape[1]))
                advance(len(vectors))

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Map the vectors; raises `BadInput` where there is not one for each document."""
        # Mapped copy-on-write, because torch wants memory it may write to; nothing is ever written.
        vectors = np.load(folder / VECTORS, mmap_mode="c")
        if len(vectors) != len(corpus):
            raise BadInput(f"{len(vectors)} vectors for {len(corpus)} documents.", folder / VECTORS)
        self.vectors = torch.from_numpy(vectors)
        if self.device != "cpu" and _fits(self.vectors):
            self.vectors = self.vectors.to(self.device)

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The `k` documents of highest dot product for each query; needs dense `queries.vectors`."""
        vectors = self._opened()
        if queries.vectors is None:
            raise BadInput("these queries have no vectors: write `encoder >> exact`.")
        wanted = torch.as_tensor(queries.vectors, dtype=torch.float32)
        if wanted.ndim != 2 or wanted.shape[1] != vectors.shape[1]:
            raise BadInput(f"query vectors {tuple(wanted.shape)} for an index of {vectors.shape[1]} dimensions.")
        return Candidates.stack([self._search(part.to(self.device), k) for part in wanted.split(QUERIES) if len(part)])

    def _search(self, queries: torch.Tensor, k: int) -> Candidates:
        best = RunningBest(len(queries), k)
        for start, block in self._blocks(len(queries)):
            scores = queries @ block.T  # (queries, documents of the block)
            if start == 0 and k < scores.shape[1]:
                best.raise_floor(to_numpy(scores.topk(k, sorted=False).values.amin(dim=1)))
            floor = torch.from_numpy(best.floor).to(self.device)
            rows, columns = (scores >= floor[:, None]).nonzero(as_tuple=True)
            best.add(to_numpy(rows), to_numpy(columns) + start, to_numpy(scores[rows, columns]))
        return best.candidates()

    def _blocks(self, queries: int) -> Iterator[tuple[int, torch.Tensor]]:
        vectors = self._opened()
        # Scores of a block of 16 MB stay in the processor's cache; a GPU wants more at once.
        budget = 2**22 if self.device == "cpu" else 2**28
        size = self.block or min(65536, max(1024, budget // max(queries, 1)))
        for start in range(0, len(vectors), size):
            yield start, vectors[start : start + size].to(self.device)

    def _opened(self) -> torch.Tensor:
        if self.vectors is None:
            raise BadInput("the index is not open: search through a pipeline, or call open first.")
        return self.vectors


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


def _fits(vectors: torch.Tensor) -> bool:
    free, _ = torch.cuda.mem_get_info()
    return vectors.nbytes < free // 2
