"""How exact dense search grows: random vectors of each number are indexed, and then searched in a fresh process."""

# ruff: noqa: D102 (what the methods of engines do is said in `speed_bm25_engines.Lexical`)

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from speed_dense import DIM
from speed_table import OURS
from speed_worker import Engine, Worker

TITLE = "exact dense search"
COMPLEXITY = (
    "Of n vectors of d dimensions a query reads n d bytes and multiplies as many, O(n d), and scores some hundred in "
    "float64; an index takes O(n d) time and space. To open it reads all codes once, to add them up."
)
SIZES = (100_000, 1_000_000)

_BATCHES = (1, 32, 1000)
_LAPS = 5


def described() -> str:
    """What is indexed and asked."""
    return f"Random vectors of length one, {DIM} dimensions."


def measure(folder: Path, size: int, threads: int) -> dict[tuple[str, str], float]:
    """Index and search so many vectors; the figures by name and unit."""
    settings = {"folder": str(folder / "index"), "documents": size, "threads": threads}
    engine = Engine(OURS, "growth_dense:Nirank", settings=settings)
    found: dict[tuple[str, str], float] = {}
    worker = Worker(engine)
    found["index, processor time", "s"] = worker.time_once("open").cpu
    found["index, peak memory", "MB"] = worker.peak() / 1e6
    found["index, on disk", "MB"] = worker.call("size") / 1e6
    worker.close()
    worker = Worker(engine)
    found["open, processor time", "s"] = worker.time_once("open").cpu
    for batch in _BATCHES:
        for k in (10, 1000):
            worker.call("search", batch, k)
            least = min(worker.time("search", batch, k).cpu for _ in range(_LAPS))
            found[f"k={k}, batches of {batch:,}", "queries/s"] = batch / least
    found["search, peak memory", "MB"] = worker.peak() / 1e6
    found["search, memory of its own", "MB"] = worker.own() / 1e6
    worker.close()
    return found


class Nirank:
    """The pipeline `given >> exact`, whose index is made where there is none."""

    def __init__(self, folder: str, documents: int, threads: int) -> None:
        self.folder, self.documents, self.threads = Path(folder), documents, threads

    def open(self) -> None:
        import torch

        import nirank

        torch.set_num_threads(self.threads)
        names = list(map(str, range(self.documents)))
        self.corpus = nirank.Documents(names, names)
        exact = nirank.load("exact", device="cpu", precision="int8")
        self.pipeline = nirank.load(_Random()) >> exact
        self.pipeline.index(self.corpus, self.folder)

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def search(self, batch: int, k: int) -> None:
        (self.pipeline % k).search(list(map(str, range(batch))), self.corpus)


class _Random:
    """An encoder that makes up vectors, the same ones for the same contents."""

    vectors = "dense"
    fingerprint = "the vectors of benchmarks/growth_dense.py"

    def encode(self, queries: Any) -> NDArray[np.float32]:
        return _vectors(queries.contents, 1)

    def encode_documents(self, contents: Sequence[str]) -> NDArray[np.float32]:
        return _vectors(contents, 2)


def _vectors(contents: Sequence[str], seed: int) -> NDArray[np.float32]:
    """Of a sequence that begins with one content there is one matrix."""
    random = np.random.default_rng([seed, int(contents[0])])
    vectors = random.standard_normal((len(contents), DIM), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
