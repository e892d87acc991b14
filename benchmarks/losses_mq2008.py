"""The columns of MQ2008: five folds, and a scorer of features that nirank trains."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import letor_scorers
from letor import DrawnFromList, Fold, SideBySide, folds
from losses_cells import Outcome
from losses_columns import loss_of_line, options, outcome, relabelled
from losses_recipes import MQ2008, Recipe

import nirank
from nirank.evaluation import Evaluation
from nirank.pipeline import Stage


@dataclass(eq=False)
class LetorColumn:
    """MQ2008 with a scorer of features: trained and tested on each fold, the test queries of all folds together.

    All judged documents of a query are ranked. As trec_eval has it, a query without a relevant document counts as 0:
    220 of the 784 do. The best epoch is that of the best MAP on the validation queries.
    """

    scorer: str
    folder: Path
    limits: Mapping[str, Any] = field(default_factory=dict)
    most_folds: int = 5

    measures = ("nDCG@10", "AP")
    reference = "LightGBM lambdarank"
    lines = MQ2008
    about = (
        "LETOR 4.0, five folds, the test queries of all of them together. All judged documents of a query are ranked; "
        "as trec_eval has it, a query without a relevant document counts as 0: 220 of the 784. Teacher: LightGBM's "
        "trees. Hierarchical softmax has no line, because no document of a test query has been seen before; "
        "`sampled_softmax none` is `sampled_softmax` but for rounding, since within a list all documents are drawn "
        "alike; `clip` has rows alone, since in a column no document has two queries to choose from."
    )
    options = {
        "epochs": 60,
        "patience": 10,
        "batch_size": 128,
        "measure": "AP",
        "schedule": "constant",
        "warmup": 0.0,
        "clip": 0.0,
    }

    @property
    def name(self) -> str:
        """What the column is called."""
        return f"MQ2008 {self.scorer}"

    def told(self) -> dict[str, Any]:
        """All that its cells depend on beside the recipe."""
        return {"options": {**self.options, **self.limits}, "folds": self.most_folds}

    def learn(self, line: str, recipe: Recipe) -> Outcome:
        """Train with the loss of a line on each fold, and test."""
        return _together(self._learn(fold, line, recipe) for fold in self._folds)

    def references(self) -> dict[str, Callable[[], Outcome]]:
        """LightGBM, trained on the same folds."""
        return {self.reference: lambda: _together(map(self._trees_on, self._folds))}

    def _learn(self, fold: Fold, line: str, recipe: Recipe) -> Outcome:
        start = time.perf_counter()
        loss = loss_of_line(line, recipe.settings)
        fitted = nirank.fit(
            getattr(letor_scorers, self.scorer)(getattr(loss.target, "classes", 1)),
            loss,
            relabelled(fold.train, recipe, loss.target),
            sampler=_sampler(recipe.sampler),
            dev=fold.vali,
            teacher=nirank.load(_trees(fold)) if recipe.teacher else None,
            **options(self, recipe),
        )
        return outcome(self._tested(fitted.stage, fold), start, fitted)

    def _trees_on(self, fold: Fold) -> Outcome:
        start = time.perf_counter()
        return outcome(self._tested(nirank.load(_trees(fold)), fold), start)

    def _tested(self, stage: Stage, fold: Fold) -> Evaluation:
        judged = fold.test.judgments
        ranked = judged.with_scores(stage.score(fold.test.queries, judged)).ranked()
        return nirank.evaluate(ranked, judged, self.measures)

    @cached_property
    def _folds(self) -> list[Fold]:
        return list(folds(self.folder))[: self.most_folds]


@functools.cache  # LightGBM is the reference, and the teacher of some losses
def _trees(fold: Fold) -> letor_scorers.Trees:
    return letor_scorers.Trees(fold.train, fold.vali)


def _sampler(table: Mapping[str, Any]) -> Any:
    settings = {name: value for name, value in table.items() if name != "use"}
    own = {"drawn_from_list": DrawnFromList, "side_by_side": SideBySide}.get(table["use"])
    return own(**settings) if own else nirank.load(table["use"], **settings).component


def _together(outcomes: Iterable[Outcome]) -> Outcome:
    """The queries of all folds as those of one."""
    every = list(outcomes)
    values = {measure: _joined(each.values[measure] for each in every) for measure in every[0].values}
    devs = [each.dev for each in every if each.dev is not None]
    dev = sum(devs) / len(devs) if devs else None
    return Outcome(values, dev, _joined(each.steps for each in every), sum(each.seconds for each in every))


def _joined(columns: Iterable[list[Any]]) -> list[Any]:
    return list(itertools.chain.from_iterable(columns))
