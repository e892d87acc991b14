"""Exact dense search of 100,000 vectors of 384 dimensions, beside faiss's flat index and the bare matrix product."""

# ruff: noqa: ARG002, D102 (what the methods of engines do, and take, is said once, in the class they share)

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from speed_run import Run
from speed_table import OURS, Report
from speed_worker import Engine, contest, each, working

DIM = 384
WANTED = {"faiss flat": 0.5}
_PRODUCTS = ["numpy, product only", "torch, product only"]


def compare(run: Run, report: Report) -> None:
    """Time batches of 1, 32 and 1,000 queries, for the best 10 and 1,000."""
    documents = run.size(100_000, 3_000)
    settings = {"documents": documents, "threads": run.threads}
    engines = [
        Engine(OURS, "speed_dense:Nirank", ["torch"], settings | {"folder": str(run.folder / "dense")}),
        Engine("faiss flat", "speed_dense:Faiss", ["faiss"], settings),
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
                report.times(work, laps, WANTED, dict.fromkeys(laps, flops), "GF")
        searchers = {name: worker for name, worker in workers.items() if name not in _PRODUCTS}
        found = each(searchers, report.note, lambda worker: worker.call("found", 32, 10))
        report.sizes("dense search, peak memory", each(searchers, report.note, lambda worker: [worker.peak()]))
    for name, docs in found.items():
        if name != OURS and OURS in found:
            same = np.mean([len(set(own) & set(other)) / 10 for own, other in zip(found[OURS], docs, strict=True)])
            report.note(f"dense: {name} shares {same:.4f} of nirank's first 10.")


class Vectors:
    """Random vectors of length one, the same in every process."""

    def __init__(self, documents: int, threads: int = 1, queries: int = 1000) -> None:
        random = np.random.default_rng(0)
        self.threads = threads
        self.documents, self.queries = (_unit(random.standard_normal((n, DIM))) for n in (documents, queries))

    def open(self) -> None:
        """Make ready to search."""

    def search(self, batch: int, k: int) -> Any:
        """The best `k` documents of the first `batch` queries, ranked, in the engine's own form."""
        raise NotImplementedError

    def found(self, batch: int, k: int) -> list[list[int]]:
        """The same as lists of document numbers."""
        docs: list[list[int]] = self.search(batch, k).tolist()
        return docs


class Nirank(Vectors):
    """The pipeline `given >> exact`: queries are numbers as texts, which the encoder looks up."""

    def __init__(self, folder: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.folder = Path(folder)

    def open(self) -> None:
        import torch

        import nirank

        torch.set_num_threads(self.threads)
        names = list(map(str, range(len(self.documents))))
        self.corpus = nirank.Documents(names, names)
        self.pipeline = nirank.load(_Lookup(self.queries, self.documents)) >> nirank.load("exact", device="cpu")
        self.pipeline.index(self.corpus, self.folder)

    def search(self, batch: int, k: int) -> Any:
        return (self.pipeline % k).search(list(map(str, range(batch))), self.corpus)

    def found(self, batch: int, k: int) -> list[list[int]]:
        found = self.search(batch, k)
        return [found[query][0].tolist() for query in range(batch)]


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
    """faiss's IndexFlatIP."""

    def open(self) -> None:
        import faiss

        faiss.omp_set_num_threads(self.threads)
        self.index = faiss.IndexFlatIP(DIM)
        self.index.add(self.documents)

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
