"""Exact dense search of 100,000 vectors of 384 dimensions, beside faiss's flat index and the bare matrix product."""

# ruff: noqa: ARG002, D102 (what the methods of engines do, and take, is said once, in the class they share)

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from speed_run import Run
from speed_table import OURS, Report
from speed_worker import Engine, Worker, contest, each, working

DIM = 384
#: How many times the speed of faiss is wanted, by how many documents are.
WANTED = {10: 4.0, 1000: 1.5}
#: faiss multiplies query by query up to some size of batch, and above by its BLAS. Both ways are tried for every batch.
_FAISS = {"faiss flat, by query": 2**30, "faiss flat, by BLAS": 1}
#: So many queries are compared with a search in float64.
_CHECKED = 100
_PRODUCTS = ["numpy, product only", "torch, product only"]


def compare(run: Run, report: Report) -> None:
    """Time batches of 1, 32 and 1,000 queries, for the best 10 and 1,000."""
    documents = run.size(100_000, 3_000)
    settings = {"documents": documents, "threads": run.threads}
    common, environment = settings | {"path": str(run.folder / "faiss")}, _kernels()
    searchers = [
        Engine(OURS, "speed_dense:Nirank", ["torch"], settings | {"folder": str(run.folder / "dense")}),
        *(
            Engine(name, "speed_dense:Faiss", ["faiss"], common | {"blas": blas}, environment)
            for name, blas in _FAISS.items()
        ),
    ]
    engines = [
        *searchers,
        Engine(_PRODUCTS[0], "speed_dense:Product", settings=settings),
        Engine(_PRODUCTS[1], "speed_dense:TorchProduct", ["torch"], settings),
    ]
    with working(engines, report.note) as workers:
        each(workers, report.note, lambda worker: worker.call("open"))
        for batch in (1, 32, 1000):
            for k in (10, 1000):
                laps = contest(workers, report.note, run.rounds, "search", batch, k)
                flops = 2e-9 * batch * documents * DIM
                work = f"dense {documents:,} x {DIM}, batch {batch:,}, k={k}"
                wanted = dict.fromkeys(_FAISS, WANTED[k])
                report.times(work, laps, wanted, dict.fromkeys(laps, flops), "GF")
        ready = {name: worker for name, worker in workers.items() if name not in _PRODUCTS}
        found = each(ready, report.note, lambda worker: worker.call("found", 32, 10))
        report.sizes("dense search, peak memory", each(ready, report.note, lambda worker: [worker.peak()]))
        if OURS in workers:
            report.note(f"dense: {workers[OURS].call('passes')}.")
            _require_exact(workers[OURS], report)
    with working(searchers, report.note) as workers:
        laps = each(workers, report.note, lambda worker: [worker.time_once("first")])
        report.times("dense, first answer of a new process to one query", laps)
    for name, docs in found.items():
        if name != OURS and OURS in found:
            same = np.mean([len(set(own) & set(other)) / 10 for own, other in zip(found[OURS], docs, strict=True)])
            report.note(f"dense: {name} shares {same:.4f} of nirank's first 10.")


def _kernels() -> dict[str, str]:
    """What faiss's OpenBLAS is to be told, which is older than some processors: to multiply as numpy's does here.

    A process of its own says how: this one may have been told to do with less, before it forgot that.
    """
    program = (
        "import numpy, threadpoolctl; print(*[pool.get('architecture') for pool in threadpoolctl.threadpool_info()])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    known = {"Cooperlake": "SkylakeX", "SapphireRapids": "SkylakeX"}
    return {"OPENBLAS_CORETYPE": known.get(found[0], found[0])} if found else {}


def _require_exact(worker: Worker, report: Report) -> None:
    """Raise where what is found is not what a search in float64 finds."""
    for k in (10, 1000):
        if differing := worker.call("differing", _CHECKED, k):
            raise AssertionError(f"dense, k={k}: {differing} of {_CHECKED} queries find other documents in float64.")
    report.note(f"dense: nirank's first 10 and 1,000 for {_CHECKED} queries are those of products in float64.")


class Vectors:
    """Random vectors of length one, the same in every process."""

    def __init__(self, documents: int, threads: int = 1, queries: int = 1000) -> None:
        random = np.random.default_rng(0)
        self.threads = threads
        self.documents, self.queries = (_unit(random.standard_normal((n, DIM))) for n in (documents, queries))

    def open(self) -> None:
        """Make ready to search."""

    def first(self) -> None:
        """Load what the packages and the index need, and answer one query."""
        self.open()
        self.search(1, 10)

    def search(self, batch: int, k: int) -> Any:
        """The best `k` documents of the first `batch` queries, ranked, in the engine's own form."""
        raise NotImplementedError

    def found(self, batch: int, k: int) -> list[list[int]]:
        """The same as lists of document numbers."""
        docs: list[list[int]] = self.search(batch, k).tolist()
        return docs


class Nirank(Vectors):
    """The pipeline `given >> exact`: queries are numbers as texts, which the encoder looks up.

    It searches in two passes from the start, which by default it does once so much was asked that loading them pays;
    but for its first answer, which is that of the default.
    """

    precision: str | None = "int8"

    def __init__(self, folder: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.folder = Path(folder)

    def open(self) -> None:
        import nirank

        if self.precision == "int8":  # as searches it alone that has been loaded to search much
            import torch

            torch.set_num_threads(self.threads)
        names = list(map(str, range(len(self.documents))))
        self.corpus = nirank.Documents(names, names)
        self.exact = nirank.load("exact", device="cpu" if self.precision else None, precision=self.precision)
        self.pipeline = nirank.load(_Lookup(self.queries, self.documents)) >> self.exact
        self.pipeline.index(self.corpus, self.folder)

    def first(self) -> None:
        self.precision = None
        super().first()

    def search(self, batch: int, k: int) -> Any:
        return (self.pipeline % k).search(list(map(str, range(batch))), self.corpus)

    def found(self, batch: int, k: int) -> list[list[int]]:
        found = self.search(batch, k)
        return [found[query][0].tolist() for query in range(batch)]

    def differing(self, batch: int, k: int) -> int:
        """How many of the first queries find other documents than by float64, where one number in float32 is a tie."""
        found = self.search(batch, k)
        scores = (self.queries[:batch].astype(np.float64) @ self.documents.T.astype(np.float64)).astype(np.float32)
        expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return sum(not np.array_equal(found[query][0], expected[query]) for query in range(batch))

    def passes(self) -> str:
        """How often the first of two passes was not enough."""
        return repr(self.exact.component.target.passes)


class _Lookup:
    """An encoder that knows its vectors already."""

    vectors = "dense"
    fingerprint = "the vectors of benchmarks/speed_dense.py"

    def __init__(self, queries: NDArray[np.float32], documents: NDArray[np.float32]) -> None:
        self._queries, self._documents = queries, documents

    def encode(self, queries: Any) -> NDArray[np.float32]:
        return self._queries[list(map(int, queries.contents))]

    def encode_documents(self, contents: Sequence[str]) -> NDArray[np.float32]:
        return self._documents[list(map(int, contents))]


class Faiss(Vectors):
    """faiss's IndexFlatIP, which uses BLAS for batches of `blas` queries and more."""

    def __init__(self, path: str, blas: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.path, self.blas = Path(path), blas

    def open(self) -> None:
        import faiss

        faiss.omp_set_num_threads(self.threads)
        faiss.cvar.distance_compute_blas_threshold = self.blas
        if not self.path.exists():
            index = faiss.IndexFlatIP(DIM)
            index.add(self.documents)
            faiss.write_index(index, str(self.path))
        self.index = faiss.read_index(str(self.path))

    def search(self, batch: int, k: int) -> Any:
        return self.index.search(self.queries[:batch], k)[1]


class Product(Vectors):
    """Nothing but the product, in blocks that fit the cache, into memory that is there already: what is possible."""

    def search(self, batch: int, k: int) -> None:
        size = min(len(self.documents), max(1024, 2**22 // batch))
        scores = np.empty((batch, size), np.float32)
        for start in range(0, len(self.documents), size):
            block = self.documents[start : start + size]
            np.matmul(self.queries[:batch], block.T, out=scores[:, : len(block)])


class TorchProduct(Vectors):
    """The same in torch."""

    def open(self) -> None:
        import torch

        torch.set_num_threads(self.threads)
        self.tensors = torch.from_numpy(self.documents), torch.from_numpy(self.queries)

    def search(self, batch: int, k: int) -> None:
        import torch

        documents, queries = self.tensors
        size = min(len(documents), max(1024, 2**22 // batch))
        scores = torch.empty((batch, size))
        for start in range(0, len(documents), size):
            block = documents[start : start + size]
            torch.mm(queries[:batch], block.T, out=scores[:, : len(block)])


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
