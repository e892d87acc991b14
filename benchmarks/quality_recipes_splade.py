"""SPLADE-tiny trained on NFCorpus: without a penalty, with the whole FLOPS penalty in every step, and with a ramp.

Once it is trained by in-batch negatives, and once distilled from RM3, whose run of the training queries is stored: RM3
finds more on NFCorpus than SPLADE-tiny does. FLOPS are the products that a query and a document have in the mean: the
sum over terms of the share of queries that have it times the share of documents that do (Paria et al., ICLR 2020).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from losses_cells import Cells, Outcome
from losses_columns import outcome
from quality_fusion import few
from quality_rows import Row
from quality_table import Cell, Table

import nirank
from nirank.data import Collection, SparseVectors
from nirank.execution import stages
from nirank.pipeline import Stage

MEASURES = ("nDCG@10", "R@100", "AP")
_TERMS = {"document": "terms a document", "query": "terms a query"}
_FLOPS = "FLOPS"
#: How many documents, spread over the collection, tell how many terms a document has.
_COUNTED = 600
#: The weight of the penalty at the end, of queries and of documents.
END = {"flops_queries": 3e-2, "flops_documents": 3e-2}


@dataclass(frozen=True)
class Recipe:
    """The settings of SPLADE, and how they change; without a `way` of training it is taken as it is."""

    way: str | None
    settings: Mapping[str, float] = field(default_factory=dict)
    anneal: Mapping[str, Any] | None = None

    def told(self) -> str:
        """Settings and schedules, in a line."""
        return ", ".join(f"{name} = {value}" for name, value in {**self.settings, **(self.anneal or {})}.items())


@dataclass(frozen=True)
class Way:
    """How SPLADE is trained: a loss, a sampler, the length of texts, and options of `nirank.fit`.

    The scores of the stored run, where it is `distilled`, count `_SHARPENED` times.
    """

    loss: str
    sampler: str
    length: int
    options: Mapping[str, Any]
    distilled: bool = False


_OPTIONS = {"steps": 150, "batch_size": 16, "learning_rate": 5e-5, "precision": "bfloat16"}
_IN_BATCH, _DISTILLED = "in batch", "distilled"
WAYS = {
    _IN_BATCH: Way("softmax_cross_entropy", "in_batch", 128, _OPTIONS),
    _DISTILLED: Way(
        "kl",
        "in_batch + mined(bm25 % 50, negatives=1)",
        64,
        {"steps": 80, "batch_size": 16, "learning_rate": 5e-5},
        distilled=True,
    ),
}
_LENGTH, _SHARPENED = 128, 4.0


def _ramp(end: float, share: float) -> dict[str, Any]:
    return {f"component.{name}": {"to": end, "shape": "quadratic", "share": share} for name in END}


_PLAIN, _CONSTANT = "SPLADE-tiny", "trained, the whole penalty throughout"
RECIPES = {
    _PLAIN: Recipe(None),
    "trained, no penalty": Recipe(_IN_BATCH),
    _CONSTANT: Recipe(_IN_BATCH, END),
    "trained, a ramp over a third": Recipe(_IN_BATCH, anneal=_ramp(3e-2, 0.33)),
}
FROM_RM3 = {
    _PLAIN: Recipe(None),
    "distilled, no penalty": Recipe(_DISTILLED),
    "distilled, a ramp to .003": Recipe(_DISTILLED, anneal=_ramp(3e-3, 0.5)),
    "distilled, a ramp to .01": Recipe(_DISTILLED, anneal=_ramp(1e-2, 0.5)),
    "distilled, a ramp to .05": Recipe(_DISTILLED, anneal=_ramp(5e-2, 0.5)),
    "distilled, .01 throughout": Recipe(_DISTILLED, dict.fromkeys(END, 1e-2)),
}


def tables(asked: argparse.Namespace) -> list[Table]:
    """A table for each way of training, of those that rows are asked of."""
    by_way = {
        "NFCorpus, from SPLADE-tiny": (_IN_BATCH, RECIPES, _CONSTANT),
        "NFCorpus, from SPLADE-tiny, distilled from RM3": (_DISTILLED, FROM_RM3, _PLAIN),
    }
    asked_of = [title for title, (_, recipes, _) in by_way.items() if not asked.only or {*asked.only} & {*recipes}]
    return [_table(title, *by_way[title], asked) for title in asked_of]


def _table(title: str, way: str, recipes: Mapping[str, Recipe], base: str, asked: argparse.Namespace) -> Table:
    chosen = {name: recipe for name, recipe in recipes.items() if not asked.only or name in {*asked.only, base}}
    rows, told = {name: _row(name, recipe, asked) for name, recipe in chosen.items()}, WAYS[way]
    return Table(
        title=title,
        about=(
            f"`{told.sampler}`, `{told.loss}`; {dict(told.options)}; {told.length} tokens of each text in training, "
            f"{_LENGTH} after it. Means over seeds ± their standard deviation, 95 % bootstrap intervals over queries, "
            f"and the significance of the difference from `{base}` (randomisation test, two-sided, not corrected). "
            f"Terms and FLOPS are those of all queries of test and of {_COUNTED} documents."
        ),
        columns=["system", *MEASURES, *_TERMS.values(), _FLOPS, "on dev", "seconds", "penalty"],
        rows=[_cells(row, rows[base]) for row in rows.values()],
    )


def _row(name: str, recipe: Recipe, asked: argparse.Namespace) -> Row:
    limits = {"steps": 2, "batch_size": 2} if asked.quick else {}
    way = asdict(WAYS[recipe.way]) | {"sharpened": _SHARPENED} if recipe.way else None
    told = {"recipe": asdict(recipe), "limits": limits, "way": way, "length": _LENGTH, "counted": _COUNTED}
    seeds = range(asked.seeds if recipe.way and not asked.quick else 1)
    make, cells = partial(measured, recipe, limits, asked), Cells(asked.cells)
    found = [cells.get("recipes-splade", name, told | {"seed": seed}, partial(make, seed)) for seed in seeds]
    return Row(name, found, recipe.told())


def measured(recipe: Recipe, limits: Mapping[str, Any], asked: argparse.Namespace, seed: int) -> Outcome:
    """One system on the queries of test, trained before, with how many terms its vectors have."""
    start, model = time.perf_counter(), str(asked.data / "weights" / "splade-tiny")
    splade = nirank.load("splade", "splade", model=model, max_length=_LENGTH, **recipe.settings)
    if recipe.way:
        with tempfile.TemporaryDirectory() as folder:
            _fit(splade, WAYS[recipe.way], recipe.anneal, limits, asked, seed, Path(folder) / "rm3.run.gz")
    ranking, parts = splade >> nirank.load("impact"), {name: _collection(asked, name) for name in ("dev", "test")}
    found = {
        name: nirank.evaluate(ranking.search(part.queries, part.corpus), part.judgments, MEASURES)
        for name, part in parts.items()
    }
    made = outcome(found["test"], start)
    return Outcome(made.values | _sizes(splade, parts["test"]), found["dev"].mean[MEASURES[0]], [], made.seconds)


def _fit(
    splade: Stage,
    way: Way,
    anneal: Mapping[str, Any] | None,
    limits: Mapping[str, Any],
    asked: argparse.Namespace,
    seed: int,
    run: Path,
) -> None:
    """Train SPLADE, whose texts are shorter meanwhile; the run of the teacher is written to `run`."""
    train, bm25, teacher = _collection(asked, "train"), nirank.load("bm25", k1=0.9, b=0.4), None
    if way.distilled:
        expanded = (bm25 % 10 >> nirank.load("rm3") >> bm25 % 1000).search(train.queries, train.corpus)
        nirank.write_run(run, train.queries, expanded)
        teacher = _SHARPENED * nirank.load("stored", run=run, missing="min")
    splade.component.target.max_length = way.length
    nirank.fit(
        splade,
        way.loss,
        train,
        sampler=way.sampler,
        teacher=teacher,
        stages={"bm25": bm25},
        **{**way.options, **limits, "anneal": anneal, "seed": seed},
    )
    splade.component.target.max_length = _LENGTH
    splade.component.changed()


def _collection(asked: argparse.Namespace, split: str) -> Collection:
    whole = nirank.collection(f"beir:{asked.data / 'nfcorpus'}", split=split)
    return few(whole) if asked.quick else whole


def _sizes(splade: Stage, collection: Collection) -> dict[str, list[float]]:
    """How many terms the vectors of queries and of documents have, and what that makes of FLOPS."""
    chosen = np.unique(np.linspace(0, len(collection.corpus) - 1, _COUNTED).astype(int))
    documents = stages.encode_documents(splade.component, collection.corpus[chosen])
    queries = stages.encode(splade.component, collection.queries).vectors
    sides = {"document": documents, "query": queries}
    counted = {_TERMS[side]: vectors.lengths.astype(float).tolist() for side, vectors in sides.items()}
    return counted | {_FLOPS: [float(_shares(documents) @ _shares(queries))]}


def _shares(vectors: SparseVectors) -> np.ndarray:
    """The share of vectors that have each term, `[terms]`."""
    return np.bincount(vectors.terms[vectors.weights > 0], minlength=vectors.size) / max(len(vectors), 1)


def _cells(row: Row, base: Row) -> list[Cell]:
    compared = None if row is base else base
    figures = [row.figure(measure, compared) for measure in MEASURES]
    sizes = [f"{row.values(name).mean():.3g}" for name in (*_TERMS.values(), _FLOPS)]
    return [row.name, *figures, *sizes, row.dev, row.seconds, row.made]
