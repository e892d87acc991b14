"""MaxSim of one query of 32 tokens and 1,000 documents of 40 to 180 tokens, 128 dimensions, beside PyLate's scoring.

    pip install --no-deps pylate

brings PyLate, which pins versions of its dependencies that are not those of the other engines; its scoring runs with
any torch. Where it is not installed its formula stands in for it: documents padded to the longest, one einsum, the
mask, the maximum over tokens and the sum over those of the query.
"""

# ruff: noqa: D102 (what the methods of engines do is said once, in the class they share)

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from speed_run import Run
from speed_table import OURS, Report, agreement
from speed_worker import Engine, contest, each, working

DIM, QUERY = 128, 32
#: The tokens of a document: 40 to 180, 110 in the mean.
SHORTEST, LONGEST = 40, 180
#: How many times the speed of PyLate is wanted.
WANTED = 4.0
_RERANK, _SCORES, _PADDED = "PyLate rerank", "PyLate colbert_scores", "padded einsum, max and sum"
_BARE = "torch, padded product only"


def compare(run: Run, report: Report) -> None:
    """Time one query, and 16 at once, with the same documents."""
    documents = run.size(1000, 60)
    settings = {"documents": documents, "threads": run.threads}
    engines = [
        Engine(OURS, "speed_maxsim:Nirank", ["torch", "numba"], settings),
        Engine(_RERANK, "speed_maxsim:Rerank", ["torch", "pylate"], settings),
        Engine(_SCORES, "speed_maxsim:Scores", ["torch", "pylate"], settings),
        Engine(_PADDED, "speed_maxsim:Padded", ["torch"], settings),
        Engine(_BARE, "speed_maxsim:Product", ["torch"], settings),
    ]
    wanted = {_RERANK: WANTED, _SCORES: WANTED} if importlib.util.find_spec("pylate") else {_PADDED: WANTED}
    with working(engines, report.note) as workers:
        for queries in (1, 16):
            laps = contest(workers, report.note, run.rounds, "score", queries)
            flops = 2e-9 * queries * QUERY * DIM * _lengths(documents).sum()
            work = f"MaxSim of {queries} x {QUERY} and {documents:,} x {SHORTEST}-{LONGEST} tokens, {DIM} dimensions"
            report.times(work, laps, wanted if queries == 1 else None, dict.fromkeys(laps, flops), "GF")
        report.sizes("MaxSim, peak memory", each(workers, report.note, lambda worker: [worker.peak()]))
        del workers[_BARE]
        found = each(workers, report.note, lambda worker: worker.call("found", 2))
    for name, apart in agreement(found).items():
        report.note(
            f"MaxSim: {name} is at most {apart:.1e} from nirank's scores, which are about {np.mean(found[OURS]):.1f}."
        )


def _lengths(documents: int) -> Any:
    return np.random.default_rng(1).integers(SHORTEST, LONGEST + 1, documents)


class Tokens:
    """Random unit vectors, the same in every process: documents packed, and as one tensor each."""

    def __init__(self, documents: int, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        random, lengths = np.random.default_rng(0), _lengths(documents)
        packed = torch.from_numpy(random.standard_normal((lengths.sum(), DIM), dtype=np.float32))
        asked = torch.from_numpy(random.standard_normal((16, QUERY, DIM), dtype=np.float32))
        self.packed, self.asked = (torch.nn.functional.normalize(values, dim=-1) for values in (packed, asked))
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])
        self.each = list(self.packed.split(lengths.tolist()))

    def score(self, queries: int) -> Any:
        """The scores of the first queries and all documents, `[queries, documents]`, in the engine's own form."""
        raise NotImplementedError

    def found(self, queries: int) -> list[float]:
        """The same as one list."""
        scores: list[float] = np.asarray(self.score(queries), np.float64).ravel().tolist()
        return scores


class Nirank(Tokens):
    """`nirank_late.maxsim`, over packed documents."""

    def score(self, queries: int) -> Any:
        from nirank.data import TokenVectors
        from nirank_late.maxsim import maxsim

        documents = len(self.each)
        asked = TokenVectors(np.arange(queries + 1) * QUERY, self.asked[:queries].reshape(-1, DIM))
        rows, columns = np.tile(np.arange(queries), documents), np.repeat(np.arange(documents), queries)
        return maxsim(asked, TokenVectors(self.offsets, self.packed), rows, columns).view(documents, queries).T


class Rerank(Tokens):
    """PyLate's `rank.rerank`, which pads the documents of each query and sorts them."""

    def score(self, queries: int) -> Any:
        from pylate.rank import rerank

        numbers = [list(range(len(self.each)))] * queries
        return rerank(numbers, list(self.asked[:queries]), [self.each] * queries)

    def found(self, queries: int) -> list[float]:
        rows = [{found["id"]: found["score"] for found in row} for row in self.score(queries)]
        return [row[document] for row in rows for document in range(len(self.each))]


class Padded(Tokens):
    """The formula over documents that are padded as they come."""

    def score(self, queries: int) -> Any:
        import torch

        documents, mask = self._padded()
        scores = torch.einsum("ash,bth->abst", self.asked[:queries], documents) * mask[None, :, None]
        return scores.max(axis=-1).values.sum(axis=-1)

    def _padded(self) -> tuple[Any, Any]:
        import torch

        pad = torch.nn.utils.rnn.pad_sequence
        return pad(self.each, batch_first=True), pad([each.new_ones(len(each)) for each in self.each], batch_first=True)


class Scores(Padded):
    """PyLate's `colbert_scores` with a mask, over documents that were padded before."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.documents, self.mask = self._padded()

    def score(self, queries: int) -> Any:
        from pylate.scores import colbert_scores

        return colbert_scores(self.asked[:queries], self.documents, documents_mask=self.mask)


class Product(Padded):
    """The product alone, over documents that were padded before: nothing is made of it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.documents, _ = self._padded()

    def score(self, queries: int) -> Any:
        return self.documents.flatten(0, 1) @ self.asked[:queries].flatten(0, 1).T
