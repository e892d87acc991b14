"""LETOR's MQ2008: rankers of features on five folds, the test queries of all folds together.

Of what is tried for a ranker, the mean of MAP over the validation queries of the five folds chooses, with the first
seed; that try is then trained with all seeds, which decide first weights, the order of queries and what is drawn.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from losses_cells import Cells, Outcome
from quality_mq2008_recipes import OPTIONS, RECIPES, REFERENCE, Recipe, Try
from quality_rows import Row
from quality_table import Cell, Figure, Table

import nirank
from nirank.data import Collection
from nirank.evaluation import Evaluation, confidence_intervals
from nirank.pipeline import Scoring

MEASURES = ("nDCG@10", "AP")
FOLDS = 5


@dataclass(frozen=True, eq=False)
class Fold:
    """What is learned from, what chooses, and what is measured in the end."""

    train: Collection
    vali: Collection
    test: Collection

    @classmethod
    def read(cls, folder: Path, number: int) -> Fold:
        """One of LETOR's five."""
        name, parts = f"letor:{folder}", ("train", "vali", "test")
        return cls(*(nirank.collection(name, split=part, fold=number) for part in parts))


@dataclass(frozen=True, eq=False)
class Chosen(Row):
    """The row of a ranker, and which of its tries that is."""

    tried: Try = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class Folds:
    """The folds, and how much is asked for: `limits` are options of training that go before all others."""

    folder: Path
    cells: Cells
    seeds: int
    folds: int = FOLDS
    limits: Mapping[str, Any] | None = None

    def tested(self, train: Callable[[Fold, int], tuple[Any, Scoring]]) -> Outcome:
        """What rankers come to on the test queries of all folds.

        `train` gives for a fold, and its place, what came of a training (None: there was none), and the ranker.
        """
        start, devs, steps, tested = time.perf_counter(), [], [], []
        for place, fold in enumerate(self.read):
            fitted, scoring = train(fold, place)
            if fitted:
                devs.append(fitted.best)
                steps.append(fitted.best_step)
            tested.append(_evaluated(scoring, fold.test))
        values = {measure: np.concatenate([each.values[measure] for each in tested]).tolist() for measure in MEASURES}
        return Outcome(values, float(np.mean(devs)) if devs else None, steps, time.perf_counter() - start)

    @functools.cached_property
    def read(self) -> list[Fold]:
        """As many folds as are asked for."""
        return [Fold.read(self.folder, number) for number in range(1, self.folds + 1)]


@dataclass(frozen=True, eq=False)
class MQ2008(Folds):
    """Rankers of features on the folds."""

    def row(self, name: str, recipe: Recipe) -> Chosen:
        """The try that validation chooses, with all seeds."""
        firsts = [self._outcome(name, recipe, tried, 0) for tried in recipe.tries]
        best = int(np.argmax([first.dev or 0.0 for first in firsts]))
        tried = recipe.tries[best]
        more = [self._outcome(name, recipe, tried, seed) for seed in range(1, self.seeds)]
        return Chosen(name, [firsts[best], *more], tried.told(), tried=tried)

    def _outcome(self, name: str, recipe: Recipe, tried: Try, seed: int) -> Outcome:
        told = {"recipe": asdict(recipe) | {"tries": []}, "try": asdict(tried), "seed": seed, "options": OPTIONS}
        told |= {"folds": self.folds, "limits": self.limits, "measures": MEASURES}
        if recipe.teacher:
            told["teacher"] = asdict(RECIPES[REFERENCE].tries[0])
        return self.cells.get("mq2008", name, told, partial(self._measured, recipe, tried, seed))

    def _measured(self, recipe: Recipe, tried: Try, seed: int) -> Outcome:
        def trained(fold: Fold, place: int) -> tuple[Any, Scoring]:  # noqa: ARG001 - what `tested` gives
            teacher = self._teacher(fold) if recipe.teacher else None
            return _fitted(recipe, tried, fold, seed, self.limits or {}, teacher)

        return self.tested(trained)

    @functools.cached_property
    def _taught(self) -> dict[Fold, Scoring]:
        return {}

    def _teacher(self, fold: Fold) -> Scoring:
        """LightGBM's trees of the fold."""
        if fold not in self._taught:
            recipe = RECIPES[REFERENCE]
            self._taught[fold] = _fitted(recipe, recipe.tries[0], fold, 0, self.limits or {}, None)[1]
        return self._taught[fold]


def tables(asked: argparse.Namespace) -> list[Table]:
    """The rows that are asked for, and the reference."""
    limits = {"epochs": 1, "steps": 2} if asked.quick else None
    data = asked.data / "ltr_mq2008"
    work = MQ2008(data, Cells(asked.cells), 1 if asked.quick else asked.seeds, 1 if asked.quick else FOLDS, limits)
    names = [name for name in RECIPES if not asked.only or name in {*asked.only, REFERENCE}]
    return [_table([work.row(name, RECIPES[name]) for name in names])]


def _fitted(
    recipe: Recipe, tried: Try, fold: Fold, seed: int, limits: Mapping[str, Any], teacher: Scoring | None
) -> tuple[Any, Scoring]:
    """What came of a training on one fold, and the scoring of its best weights."""
    own = {"threads": 1} if recipe.ranker == "lightgbm" else {"device": "cpu"}
    ranker = nirank.load(f"scorer/{recipe.ranker}", **own, **tried.settings, seed=seed)
    scoring = nirank.features(nirank.load("extractor/letor")) >> ranker
    fitted = nirank.fit(
        scoring,
        recipe.loss,
        fold.train,
        dev=fold.vali,
        teacher=teacher,
        measure="AP",
        seed=seed,
        **{**OPTIONS, **tried.options, **limits},
    )
    return fitted, scoring


def _evaluated(scoring: Scoring, test: Collection) -> Evaluation:
    """Of all judged documents, ranked."""
    ranked = test.judgments.with_scores(scoring.score(test.queries, test.judgments)).ranked()
    return nirank.evaluate(ranked, test.judgments, MEASURES)


def _table(rows: Sequence[Row]) -> Table:
    reference = rows[0]
    best = max(rows, key=lambda row: row.dev or 0.0)
    return Table(
        title="MQ2008",
        about=(
            f"LETOR 4.0, five folds, the {len(reference.values('AP'))} test queries of all of them together. All "
            "judged documents of a query are ranked; as trec_eval has it, a query without a relevant document counts "
            "as 0: 220 of the 784. Means over seeds ± their standard deviation, 95 % bootstrap intervals over queries "
            "(10,000 resamples). Settings, by the first seed, and epochs were chosen by MAP on validation. `taught`: "
            "trained with `kl` to rank as LightGBM's lambdarank trees of the fold do."
        ),
        columns=["ranker", "MAP", "nDCG@10", f"MAP above {REFERENCE}", "MAP on validation", "seconds", "settings"],
        rows=[_cells(row, reference) for row in rows],
        notes=[f"Best on validation: {best.name}, with MAP {best.figure('AP')} on test."],
    )


def _cells(row: Row, reference: Row) -> list[Cell]:
    ahead = None if row is reference else _ahead(row, reference)
    return [row.name, row.figure("AP"), row.figure("nDCG@10"), ahead, row.dev, row.seconds, row.made]


def _ahead(row: Row, reference: Row) -> Figure:
    """How much better the one is than the other in MAP, on the same queries."""
    differences = row.values("AP") - reference.values("AP")
    low, high = confidence_intervals(differences)[0].tolist()
    return Figure(float(differences.mean()), None, low, high)
