"""SPLADE-tiny trained on NFCorpus: without a penalty, with the whole FLOPS penalty in every step, and with a ramp.

All end with the same weight of the penalty. FLOPS are the products that a query and a document have in the mean: the
sum over terms of the share of queries that have it times the share of documents that do (Paria et al., ICLR 2020).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
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
    """The settings of SPLADE, and how they change; without `trained` it is taken as it is."""

    settings: Mapping[str, float] = field(default_factory=dict)
    anneal: Mapping[str, Any] | None = None
    trained: bool = True

    def told(self) -> str:
        """Settings and schedules, in a line."""
        return ", ".join(f"{name} = {value}" for name, value in {**self.settings, **(self.anneal or {})}.items())


_OPTIONS = {"steps": 150, "batch_size": 16, "learning_rate": 5e-5, "precision": "bfloat16"}
_LENGTH = 128


def _ramp(share: float) -> dict[str, Any]:
    return {f"component.{name}": {"to": end, "shape": "quadratic", "share": share} for name, end in END.items()}


_PLAIN, _CONSTANT = "SPLADE-tiny", "trained, the whole penalty throughout"
RECIPES = {
    _PLAIN: Recipe(trained=False),
    "trained, no penalty": Recipe(),
    _CONSTANT: Recipe(END),
    "trained, a ramp over a third": Recipe(anneal=_ramp(0.33)),
}


def tables(asked: argparse.Namespace) -> list[Table]:
    """One table."""
    chosen = {name: recipe for name, recipe in RECIPES.items() if not asked.only or name in {*asked.only, _CONSTANT}}
    rows = {name: _row(name, recipe, asked) for name, recipe in chosen.items()}
    return [
        Table(
            title="NFCorpus, from SPLADE-tiny",
            about=(
                f"In-batch negatives, softmax cross-entropy; {_OPTIONS}; {_LENGTH} tokens of each text. Means over "
                "seeds ± their standard deviation, 95 % bootstrap intervals over queries, and the significance of the "
                f"difference from `{_CONSTANT}` (randomisation test, two-sided, not corrected). Terms and FLOPS are "
                f"those of all queries of test and of {_COUNTED} documents."
            ),
            columns=["system", *MEASURES, *_TERMS.values(), _FLOPS, "on dev", "seconds", "penalty"],
            rows=[_cells(row, rows[_CONSTANT]) for row in rows.values()],
        )
    ]


def _row(name: str, recipe: Recipe, asked: argparse.Namespace) -> Row:
    limits = {"steps": 2, "batch_size": 2} if asked.quick else {}
    told = {"recipe": asdict(recipe), "limits": limits, "options": _OPTIONS, "length": _LENGTH, "counted": _COUNTED}
    seeds = range(asked.seeds if recipe.trained and not asked.quick else 1)
    make, cells = partial(measured, recipe, limits, asked), Cells(asked.cells)
    found = [cells.get("recipes-splade", name, told | {"seed": seed}, partial(make, seed)) for seed in seeds]
    return Row(name, found, recipe.told())


def measured(recipe: Recipe, limits: Mapping[str, Any], asked: argparse.Namespace, seed: int) -> Outcome:
    """One system on the queries of test, trained before, with how many terms its vectors have."""
    start, model = time.perf_counter(), str(asked.data / "weights" / "splade-tiny")
    splade = nirank.load("splade", "splade", model=model, max_length=_LENGTH, **recipe.settings)
    if recipe.trained:
        options = {**_OPTIONS, **limits, "anneal": recipe.anneal, "seed": seed}
        nirank.fit(splade, "softmax_cross_entropy", _collection(asked, "train"), sampler="in_batch", **options)
    ranking, parts = splade >> nirank.load("impact"), {name: _collection(asked, name) for name in ("dev", "test")}
    found = {
        name: nirank.evaluate(ranking.search(part.queries, part.corpus), part.judgments, MEASURES)
        for name, part in parts.items()
    }
    made = outcome(found["test"], start)
    return Outcome(made.values | _sizes(splade, parts["test"]), found["dev"].mean[MEASURES[0]], [], made.seconds)


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
