"""Exact search over dense vectors: every document is compared with every query.

Vectors lie in one memory-mapped float32 file, and beside it in a byte a dimension. On the CPU the bytes are read, and
of the vectors only those that may be among the best (`nirank_dense.exact.two_pass`); on a device, or where bytes do not
pay, all vectors are, block by block (`nirank_dense.exact.one_pass`). Both find the same.

A matrix product in float32 rounds a score by its place in the block, so that equal documents need not score alike.
What is kept is therefore scored again in float64 and rounded once (`nirank_dense.exact.rounded`): rankings are those of
exact dot products, equal only where these are the same number in float32, and the same on every machine.
"""

from __future__ import annotations

import copy
import ctypes
import functools
import importlib.util
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Corpus, Floats, Ints, Queries, to_numpy
from nirank.errors import BadInput, MissingDependency
from nirank.kit import Former, bounded
from nirank_dense import stored
from nirank_dense.exact import quantised
from nirank_dense.exact.blocks import blocks
from nirank_dense.exact.one_pass import Scan
from nirank_dense.exact.quantised import Quantised
from nirank_dense.exact.scores_on_device import OnDevice, OnHost
from nirank_dense.stored import Encode

if TYPE_CHECKING:
    from nirank_dense.exact.code_products import Processor
    from nirank_dense.exact.two_pass import Passes, TwoPass

LONGEST = "longest.npy"
#: Queries that are compared at once.
QUERIES = 1024
#: Fewer documents are always scanned: the sample that the first of two passes begins with would be most of them.
_MANY_DOCUMENTS = 8192
#: Products of two numbers that take a scan about as long as loading the code for two passes, and torch: 3 s.
#: Of 100,000 x 384 vectors a score took 17 ns in a batch, 85 ns and more one query at a time (AMD EPYC, one core).
_WORTH_LOADING = 80_000_000_000
#: Of the documents, and numbers of their vectors (256 MiB): so many are gathered where only some may be found.
_GATHERED_SHARE, _GATHERED = 1 / 4, 2**26
#: Queries that all vectors can be compared with in the time that it takes to read them.
_READING_QUERIES = 4


class ExactSearch:
    """The `k` documents of highest dot product with a query, exactly: each product is rounded once, to float32.

    `device` is CUDA where there is one, else the CPU. `block` is the number of documents compared at once (chosen
    for the number of queries unless given), `chunk` the number encoded between two writes while the index is
    built: an interrupted build goes on from the last whole chunk. `precision` says what is read first: "int8", bytes
    that spare most of the vectors, or "float32", the vectors. By default it is the vectors until so much has been
    searched that loading the code for bytes pays, then bytes, on the CPU and where there are many documents. What is
    found is the same.

    Threads are as many as torch may use. Raises `MissingDependency` for "int8" without numba.
    """

    known_as = "nirank_dense.exact:ExactSearch"  # where it was when indexes were first made with it

    searches = "dense"
    prefixes = True
    separable = True
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
            raise MissingDependency("precision = 'int8' needs the package numba. Run: pip install 'nirank[dense]'")
        self._products: OnHost | OnDevice | None = None
        self._scan: Scan | None = None
        self._two_pass: _InTime | None = None
        self._allowed: NDArray[np.bool_] | None = None

    @property
    def index_key(self) -> dict[str, object]:
        """The layout of the files; how they are searched does not matter to them."""
        return {"index": "vectors", "version": 3, "precision": "float32", "codes": "int8"}

    def build(self, corpus: Corpus, folder: Path, encode: Encode | None = None) -> None:
        """Encode the corpus into `folder`, going on where an interrupted build of the same index stopped."""
        self._write(stored.write(corpus, folder, encode, self.chunk), folder)

    def update(self, corpus: Corpus, folder: Path, former: Former, encode: Encode | None = None) -> None:
        """The same from the index of an earlier state of the corpus: only what is new is encoded."""
        self._write(stored.write(corpus, folder, encode, self.chunk, stored.known(former)), folder)

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Map the vectors; raises `BadInput` where there is not one for each document."""
        vectors = stored.mapped(folder, len(corpus))
        documents = Quantised.open(folder, *vectors.shape)  # now: later the folder may be gone
        self._search_in(vectors, float(bounded.column(folder / LONGEST, np.float64)), lambda: documents)

    def search_in(self, vectors: Floats, processor: Processor | None = None) -> None:
        """Search vectors in memory, float32 `[documents, dim]`.

        `processor` says how their bytes are multiplied; unless given that is found out by trying.
        """
        self._search_in(vectors, quantised.longest(vectors), lambda: Quantised.of(vectors), processor)

    def within(self, allowed: NDArray[np.bool_]) -> ExactSearch:
        """The same search, among the documents that a mask `[documents]` allows.

        Few of them are gathered and searched; of more, all vectors are read, and what is not allowed is left out.
        """
        documents = len(self._opened()[0].vectors)
        if allowed.dtype != bool or allowed.shape != (documents,):
            raise BadInput(f"the mask has the shape {allowed.shape}; {documents}, one entry a document, is expected.")
        copied = copy.copy(self)
        copied._allowed = allowed if self._allowed is None else allowed & self._allowed
        return copied

    @property
    def passes(self) -> Passes | None:
        """Counts of how the first of two passes went since it was loaded; None before, or without."""
        return self._two_pass.loaded.passes if self._two_pass and self._two_pass.loaded else None

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The `k` documents of highest dot product for each query; needs dense `queries.vectors`.

        Raises `BadInput` for k below 0, and for vectors that are missing, not finite or of another dimension.
        """
        products, scan = self._opened()
        if k < 0:
            raise BadInput(f"k = {k}; it must be 0 or more.")
        documents, dim = products.vectors.shape
        wanted = stored.query_vectors(queries, dim)
        if self._allowed is not None:
            return self._among(wanted, min(k, int(self._allowed.sum())), self._allowed)
        work = (len(wanted) + _READING_QUERIES) * documents * dim
        two_pass = self._two_pass.after(work) if self._two_pass else None
        parts = [_search(scan, two_pass, part, k) for part in blocks(wanted, QUERIES)]
        return parts[0] if len(parts) == 1 else Candidates.stack(parts)

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The dot product of each pair, `[pairs]`: the number that `generate` gives it. Raises as that does."""
        products, _ = self._opened()
        wanted, rows, docs = stored.pairs(queries, candidates, *products.vectors.shape)
        return products.each(products.queries(wanted), rows, docs)

    def vectors_of(self, docs: Ints) -> Floats:
        """The vectors of some documents as the encoder made them, float32 `[docs, dim]`."""
        products, _ = self._opened()
        return to_numpy(products.vectors[docs])

    def _opened(self) -> tuple[OnHost | OnDevice, Scan]:
        if self._products is None or self._scan is None:
            raise BadInput(f"{type(self).__name__} has no open index: search through a pipeline, or call open first.")
        return self._products, self._scan

    def _among(self, queries: Floats, k: int, allowed: NDArray[np.bool_]) -> Candidates:
        """The best `k` of the allowed documents, of which there are as many."""
        if not k:
            return Candidates.empty(len(queries))
        docs, (products, scan) = np.flatnonzero(allowed), self._opened()
        documents, dim = products.vectors.shape
        if isinstance(products, OnHost) and len(docs) <= _GATHERED_SHARE * documents and len(docs) * dim <= _GATHERED:
            few = scan.over(OnHost(np.ascontiguousarray(products.vectors[docs])))
            found = Candidates.stack([few.search(part, k) for part in blocks(queries, QUERIES)])
            return Candidates(found.offsets, docs[found.docs], found.scores)
        return Candidates.stack([scan.search(part, k, allowed) for part in blocks(queries, QUERIES)])

    def _write(self, vectors: Floats, folder: Path) -> None:
        np.save(folder / LONGEST, quantised.longest(vectors))
        quantised.write(vectors, folder)

    def _search_in(
        self,
        vectors: Floats,
        longest: float,
        documents: Callable[[], Quantised],
        processor: Processor | None = None,
    ) -> None:
        self._products = OnHost(vectors) if self.device == "cpu" else OnDevice(vectors, self.device)
        self._scan, self._two_pass = Scan(self._products, longest, self.block), None
        if self._reads_bytes(len(vectors)) and quantised.fits(longest, vectors.shape[1]):
            load = functools.partial(_load, vectors, documents, self._scan, self.block, processor)
            self._two_pass = _InTime(load, 0 if self.precision == "int8" else _WORTH_LOADING)
            self._two_pass.after(0)

    def _reads_bytes(self, documents: int) -> bool:
        if self.device != "cpu" or self.precision == "float32":
            return False
        return self.precision == "int8" or (documents >= _MANY_DOCUMENTS and _compiles())


class _InTime:
    """A search in two passes that is loaded once the `work` done comes to `enough`."""

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


def _load(
    vectors: Floats,
    documents: Callable[[], Quantised],
    scan: Scan,
    block: int | None,
    processor: Processor | None,
) -> TwoPass:
    from nirank_dense.exact.code_products import THIS_PROCESSOR
    from nirank_dense.exact.two_pass import TwoPass

    return TwoPass(vectors, documents(), scan.search, block, processor or THIS_PROCESSOR)


def _search(scan: Scan, two_pass: TwoPass | None, queries: Floats, k: int) -> Candidates:
    if two_pass and two_pass.suits(len(queries), k):
        return two_pass.search(queries, k)
    return scan.search(queries, k)


def _compiles() -> bool:
    """True where the code for bytes can be loaded."""
    return all(importlib.util.find_spec(package) for package in ("numba", "torch"))


def _best_device() -> str:
    """CUDA where there is such a device; torch takes a second to import, and is asked only where there may be one."""
    if "torch" not in sys.modules and not _may_have_cuda():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _may_have_cuda() -> bool:
    """False where torch was built for no such device (CUDA's or ROCm's), or where CUDA's driver is not installed."""
    spec = importlib.util.find_spec("torch")
    version = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    if version is None or not version.is_file():
        return True
    lacks = {name: _is_none(name, version.read_text(encoding="utf-8")) for name in ("cuda", "hip")}
    return not lacks["hip"] or not (lacks["cuda"] or _has_no_driver())


def _is_none(name: str, text: str) -> bool:
    return re.search(rf"^{name}\b[^=]*= *None *$", text, re.MULTILINE) is not None


def _has_no_driver() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return True
    return False
