"""Exact search over dense vectors: every document is compared with every query.

Vectors lie in one memory-mapped float32 file, and beside it in a byte a dimension. On the CPU the bytes are read, and
of the vectors only those that may be among the best (`nirank_dense.two_pass`); on a device, or where bytes do not
pay, all vectors are, block by block (`nirank_dense.scan`). Both find the same.

A matrix product rounds a score by its place in the block, so that equal documents need not score alike. What is kept
is therefore scored again, each pair by itself and always in the same way: rankings and ties are those scores', and do
not depend on the batch.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from nirank.batches import to_numpy
from nirank.data import Candidates, Content, Corpus, Floats, Queries, Vectors
from nirank.errors import BadInput, MissingDependency
from nirank.files import write_header
from nirank.progress import progress
from nirank_dense import quantised
from nirank_dense.products import OnDevice, OnHost
from nirank_dense.quantised import Quantised
from nirank_dense.rows import blocks
from nirank_dense.scan import Scan

if TYPE_CHECKING:
    from nirank_dense.two_pass import Passes, TwoPass

VECTORS, LONGEST = "vectors.npy", "longest.npy"
#: How many queries are compared at once.
QUERIES = 1024
#: Fewer documents are always scanned: the sample that the first of two passes begins with would be all of them.
_MANY = 8192
#: Products of two numbers that take a scan about as long as loading the code for two passes, and torch: 3 s.
#: Of 100,000 x 384 vectors a score took 17 ns in a batch, 85 ns and more one query at a time (AMD EPYC, one core).
_WORTH_LOADING = 80_000_000_000
#: To read all vectors takes as long as to compare them with so many queries.
_READING = 4


class ExactSearch:
    """The `k` documents of highest dot product with a query, exactly.

    `device` is CUDA where there is one, else the CPU. `block` is the number of documents compared at once (chosen
    for the number of queries unless given), `chunk` the number encoded between two writes while the index is
    built: an interrupted build goes on from the last whole chunk. `precision` says what is read first: "int8", bytes
    that spare most of the vectors, or "float32", the vectors. By default it is the vectors until so much was asked for
    that loading the code for bytes pays, then bytes, on the CPU and where there are many documents. What is found is
    the same.

    Threads are as many as torch may use. Raises `MissingDependency` for "int8" without numba.
    """

    searches = "dense"
    resumes = True

    def __init__(
        self,
        device: str | None = None,
        block: int | None = None,
        chunk: int = 1024,
        precision: Literal["int8", "float32"] | None = None,
    ) -> None:
        self.device = device or _best_device()
        self.block, self.chunk, self.precision = block, chunk, precision
        if precision == "int8" and not _compiles():
            raise MissingDependency("exact search over bytes needs numba. Run: pip install 'nirank[dense]'")
        self._products: OnHost | OnDevice | None = None
        self._scan: Scan | None = None
        self._two_pass: _InTime | None = None

    @property
    def index_key(self) -> dict[str, object]:
        """The layout of the files; how they are searched does not matter to them."""
        return {"index": "vectors", "version": 3, "precision": "float32", "codes": "int8"}

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
        whole = np.load(path, mmap_mode="r")
        np.save(folder / LONGEST, _longest(whole))
        quantised.write(whole, folder)

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Map the vectors; raises `BadInput` where there is not one for each document."""
        # Mapped copy-on-write, because torch wants memory it may write to; nothing is ever written.
        vectors = np.load(folder / VECTORS, mmap_mode="c")
        if len(vectors) != len(corpus):
            raise BadInput(f"{len(vectors)} vectors for {len(corpus)} documents.", folder / VECTORS)
        documents = Quantised.open(folder)  # now: later the folder may be gone
        self._search_in(vectors, float(np.load(folder / LONGEST)), lambda: documents)

    def search_in(self, vectors: Floats) -> None:
        """Search the given vectors, float32 `[documents, dim]`."""
        self._search_in(vectors, _longest(vectors), lambda: Quantised.of(vectors))

    @property
    def passes(self) -> Passes | None:
        """How often the first of two passes was repeated or given up, since it was loaded; None before, or without."""
        return self._two_pass.loaded.passes if self._two_pass and self._two_pass.loaded else None

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The `k` documents of highest dot product for each query; needs dense `queries.vectors`.

        Raises `BadInput` for k below 0, and for vectors that are missing, not finite or of another dimension.
        """
        if self._products is None or self._scan is None:
            raise BadInput("the index is not open: search through a pipeline, or call open first.")
        if k < 0:
            raise BadInput(f"k is {k}; it must be 0 or more.")
        if queries.vectors is None:
            raise BadInput("these queries have no vectors: write `encoder >> exact`.")
        wanted = to_numpy(queries.vectors).astype(np.float32, copy=False)
        dim = self._products.vectors.shape[1]
        if wanted.ndim != 2 or wanted.shape[1] != dim:
            raise BadInput(f"query vectors {wanted.shape} for an index of {dim} dimensions.")
        _check_finite(wanted, "query")
        work = (len(wanted) + _READING) * len(self._products.vectors) * dim
        two_pass = self._two_pass.after(work) if self._two_pass else None
        return Candidates.stack([_search(self._scan, two_pass, part, k) for part in blocks(wanted, QUERIES)])

    def _search_in(self, vectors: Floats, longest: float, documents: Callable[[], Quantised]) -> None:
        self._products = OnHost(vectors) if self.device == "cpu" else OnDevice(vectors, self.device)
        self._scan, self._two_pass = Scan(self._products, longest, self.block), None
        if self._reads_bytes(len(vectors)) and quantised.fits(longest, vectors.shape[1]):
            load = functools.partial(_load, vectors, documents, self._scan, self.block)
            self._two_pass = _InTime(load, 0 if self.precision == "int8" else _WORTH_LOADING)
            self._two_pass.after(0)

    def _reads_bytes(self, documents: int) -> bool:
        if self.device != "cpu" or self.precision == "float32":
            return False
        return self.precision == "int8" or (documents >= _MANY and _compiles())


class _InTime:
    """A search in two passes that is loaded once the `work` asked for comes to `enough`."""

    def __init__(self, load: Callable[[], TwoPass], enough: int) -> None:
        self.loaded: TwoPass | None = None
        self._load, self._enough, self._work, self._lock = load, enough, 0, threading.Lock()

    def after(self, work: int) -> TwoPass | None:
        """The search if, with this work, it is worth loading; threads that come meanwhile wait for it."""
        with self._lock:
            self._work += work
            if self.loaded is None and self._work >= self._enough:
                self.loaded = self._load()
            return self.loaded


def tiny() -> ExactSearch:
    """An index on the CPU with small blocks, so that checks cross their borders."""
    return ExactSearch(device="cpu", block=3, chunk=4)


def _load(vectors: Floats, documents: Callable[[], Quantised], scan: Scan, block: int | None) -> TwoPass:
    from nirank_dense.two_pass import TwoPass

    return TwoPass(vectors, documents(), scan.search, block)


def _search(scan: Scan, two_pass: TwoPass | None, queries: Floats, k: int) -> Candidates:
    if two_pass and two_pass.suits(len(queries), k):
        return two_pass.search(queries, k)
    return scan.search(queries, k)


def _append(file: BinaryIO, vectors: Floats, shape: tuple[int, int]) -> None:
    """Write one chunk, after the header where it is the first."""
    if not file.tell():
        write_header(file, shape, np.float32)
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
    return max((float(quantised.lengths_of(block).max()) for block in blocks(vectors, 4096)), default=0.0)


def _compiles() -> bool:
    return importlib.util.find_spec("numba") is not None


def _best_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
