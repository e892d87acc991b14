"""WikiQA: rankers from before transformers, trained on its questions, beside the figures published for them.

Each is trained with several seeds, which decide the first weights and the order of the examples. The epoch is chosen by
MAP on dev, and so were the settings in `quality_wikiqa_recipes`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from losses_cells import Cells, Outcome
from losses_columns import outcome
from quality_rows import Row
from quality_table import Cell, Table, number
from quality_wikiqa_recipes import BASELINE, RECIPES, Recipe

import nirank
from nirank.data import Collection
from nirank.evaluation import Evaluation
from nirank.pipeline import Ranking, Stage

MEASURES = ("AP", "nDCG@3", "nDCG@5")


@dataclass(frozen=True)
class WikiQA:
    """Questions with the sentences that are to be ranked for them, in three parts."""

    train: Collection
    dev: Collection
    test: Collection

    @classmethod
    def read(cls, folder: Path) -> WikiQA:
        """From a folder in BEIR's layout; the judged sentences of a question are its list."""
        name, splits = f"beir:{folder}", ("train", "dev", "test")
        return cls(*(nirank.collection(name, split=split, candidates="judged") for split in splits))


def tables(asked: argparse.Namespace) -> list[Table]:
    """The rows that are asked for, and BM25's."""
    wikiqa = WikiQA.read(asked.data / "wikiqa")
    names = [name for name in RECIPES if not asked.only or name in {*asked.only, BASELINE}]
    return [_table({name: _row(name, RECIPES[name], wikiqa, asked) for name in names}, wikiqa)]


def _row(name: str, recipe: Recipe, wikiqa: WikiQA, asked: argparse.Namespace) -> Row:
    limits = {"steps": 4} if asked.quick else {}
    seeds = range(asked.seeds if recipe.train and not asked.quick else 1)
    told = {"recipe": asdict(recipe), "limits": limits, "measures": MEASURES}
    make = partial(_measured, recipe, wikiqa, asked.data, limits)
    cells = Cells(asked.cells)
    outcomes = [cells.get("wikiqa", name, told | {"seed": seed}, partial(make, seed)) for seed in seeds]
    return Row(name, outcomes, recipe.told())


def _measured(recipe: Recipe, wikiqa: WikiQA, data: Path, limits: Mapping[str, Any], seed: int) -> Outcome:
    """One system on the test questions, its stages trained one after the other."""
    start = time.perf_counter()
    stages = {name: nirank.load(use, name, **settings) for name, use, settings in recipe.built(seed, data)}
    for name, table in recipe.train.items():
        pipeline = nirank.parse(table.get("pipeline", recipe.pipeline), stages)
        _fit(stages[name], pipeline, table, wikiqa, {**table["options"], **limits, "seed": seed})
    pipeline = nirank.parse(recipe.pipeline, stages)
    tested = outcome(_ranked(pipeline, wikiqa.test), start)
    return replace(tested, dev=_ranked(pipeline, wikiqa.dev)["AP"])


def _ranked(pipeline: Ranking, collection: Collection) -> Evaluation:
    found = pipeline.search(collection.queries, collection.corpus)
    return nirank.evaluate(found, collection.judgments, MEASURES)


def _fit(stage: Stage, pipeline: Ranking, table: Mapping[str, Any], wikiqa: WikiQA, options: Mapping[str, Any]) -> None:
    loss = dict(table["loss"])
    nirank.fit(
        stage,
        nirank.load(f"loss/{loss.pop('use')}", **loss),
        wikiqa.train,
        dev=wikiqa.dev,
        pipeline=pipeline,
        measure=MEASURES[0],
        **options,
    )


def _table(rows: Mapping[str, Row], wikiqa: WikiQA) -> Table:
    return Table(
        title="WikiQA",
        about=(
            f"{len(wikiqa.train.queries)} questions to train on, {len(wikiqa.dev.queries)} choose the epoch, "
            f"{len(wikiqa.test.queries)} test: all sentences that are judged for a question are ranked. Means over "
            "seeds ± their standard deviation, 95 % bootstrap intervals over questions, and the significance of the "
            "difference from BM25 (randomisation test, two-sided, not corrected). Published: MatchZoo 1.0, with a "
            "preprocessing of its own."
        ),
        columns=[
            "system",
            "MAP",
            "published MAP",
            "above it by",
            "nDCG@3",
            "nDCG@5",
            "MAP on dev",
            "seconds",
            "made by",
        ],
        rows=[_cells(row, rows.get(BASELINE)) for row in rows.values()],
    )


def _cells(row: Row, baseline: Row | None) -> list[Cell]:
    measured, published = row.figure("AP", None if row is baseline else baseline), RECIPES[row.name].published
    return [
        row.name,
        measured,
        published,
        None if published is None else number(measured.mean - published, "+"),
        row.figure("nDCG@3"),
        row.figure("nDCG@5"),
        row.dev,
        row.seconds,
        row.made,
    ]
