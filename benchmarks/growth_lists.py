"""How lists grow: runs of each number of lines cut, fused, written, read and evaluated."""

# ruff: noqa: D102 (the names of the methods say what they do, and the table what is measured)

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from growth_work import Figures, Work, least
from speed_table import OURS
from speed_worker import Engine, Worker

if TYPE_CHECKING:
    from nirank.data import Candidates

_QUERIES, _JUDGED, _DOCUMENTS = 1_000, 20, 1_000_000
_MEASURES = ["nDCG@10", "AP", "RR", "R@1000"]
_WAYS = {
    "cut to 10": "cut",
    "fused with another, RRF": "ranks",
    "fused with another, CombSUM": "scores",
    "evaluated": "evaluate",
    "written to a file": "write",
    "read from a file": "read",
    "evaluated from files": "evaluate_files",
}


def measure(folder: Path, size: int, threads: int) -> Figures:  # noqa: ARG001 (all of it is done in one thread)
    """Do everything that is done to lists with so many lines of one run."""
    worker = Worker(Engine(OURS, "growth_lists:Nirank", settings={"folder": str(folder), "lines": size}))
    found: Figures = {(name, "s"): least(worker, method) for name, method in _WAYS.items()}
    found["peak memory", "MB"] = worker.peak() / 1e6
    worker.close()
    return found


class Nirank:
    """Two runs of the same queries over one corpus, and judgments of some that are in the first."""

    def __init__(self, folder: str, lines: int) -> None:
        from nirank.data import Ids, Queries
        from nirank.formats.trec import write_qrels

        self.run, self.qrels = Path(folder) / "run.txt", Path(folder) / "qrels.txt"
        self.ids = Ids([f"doc-{row:09}" for row in range(_DOCUMENTS)], unique=True)
        self.queries = Queries.of([f"q{row:04}" for row in range(_QUERIES)])
        self.first, self.second = (_drawn(lines // _QUERIES, seed) for seed in (0, 1))
        every = max(1, self.first.longest // _JUDGED)
        self.judged = self.first.where(np.arange(self.first.pairs) % every == 0)
        self.judged = self.judged.with_scores(np.arange(self.judged.pairs) % 3)
        write_qrels(self.qrels, self.queries, self.judged, self.ids)

    def cut(self) -> None:
        self.first.top(10)

    def ranks(self) -> None:
        from nirank.pipeline.fusion import rrf

        rrf([self.first, self.second], np.ones(2))

    def scores(self) -> None:
        from nirank.pipeline.fusion import combsum

        combsum([self.first, self.second], np.ones(2))

    def evaluate(self) -> None:
        import nirank

        nirank.evaluate(self.first, self.judged, _MEASURES)

    def write(self) -> None:
        from nirank.formats.trec import write_run

        write_run(self.run, self.queries, self.first, ids=self.ids)

    def read(self) -> None:
        from nirank.formats.trec import read_run

        read_run(self.run)

    def evaluate_files(self) -> None:
        from nirank.evaluation.evaluating import evaluate_files

        evaluate_files(self.run, self.qrels, _MEASURES)


def _drawn(depth: int, seed: int) -> Candidates:
    """A list of `depth` documents for each query."""
    from nirank.data import Candidates, offsets_of

    random = np.random.default_rng(seed)
    stride = _DOCUMENTS // depth
    order = np.argsort(random.random((_QUERIES, depth)), axis=1)
    docs = (order * stride + random.integers(0, stride, order.shape)).astype(np.int32)
    scores = np.sort(random.gamma(2, 4, order.shape).astype(np.float32), axis=1)[:, ::-1]
    return Candidates(offsets_of([depth] * _QUERIES), docs.ravel(), scores.ravel()).ranked()


WORK = Work(
    "lists",
    f"Runs of {_QUERIES:,} queries over {_DOCUMENTS:,} documents; {_JUDGED} of each list are judged, or all where it "
    "has fewer.",
    "Cutting, fusing, reading, writing and evaluating n lines take O(n log d) time for lists of d lines, for they are "
    "sorted, and O(n) memory.",
    (10_000, 100_000, 1_000_000, 10_000_000),
    measure,
    "lines",
)
