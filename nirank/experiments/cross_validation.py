"""Cross-validation: in each fold stages are trained and settings chosen, and its own queries are measured with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nirank import environment
from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.data.folds import Fold
from nirank.errors import BadInput
from nirank.evaluation.evaluating import evaluate
from nirank.execution.sharing import sharing
from nirank.experiments.experiment import Experiment, naming
from nirank.experiments.folding import Folding
from nirank.experiments.results import FoldRow, Results, System
from nirank.experiments.space import Tuning
from nirank.experiments.stage_training import train_stages
from nirank.experiments.systems import compared, run_systems
from nirank.experiments.trials import Trial
from nirank.experiments.tune import tried
from nirank.experiments.tuned import Tuned
from nirank.experiments.work import claim
from nirank.hashing import digest
from nirank.plugins.loading import active


def cross_validated(experiment: Experiment, opened: Collection, work: Path) -> Results:
    """One result of all queries, each measured in its own fold; for each further seed there is one in `repeated`.

    What is trained and tried is kept in the folder `work`, where an interrupted run goes on; raises `BadInput` where
    that was of another experiment.
    """
    folding = experiment.folding()
    if folding is None:
        raise BadInput("there is no table [folds].", experiment.where)
    with naming(f"{experiment.where}: [folds]"):
        folds = folding.folds(opened, experiment.collection)
    claim(work, experiment, opened)
    each = [_of_seed(replace(experiment, seed=seed), folding, opened, folds, work) for seed in folding.seeds]
    return replace(each[0], repeated=tuple(each[1:]))


def _of_seed(experiment: Experiment, folding: Folding, opened: Collection, folds: list[Fold], work: Path) -> Results:
    place = work / f"seed-{experiment.seed}" if len(folding.seeds) > 1 else work
    chooser = _Chooser(experiment, opened, place)
    systems: dict[str, list[System]] = {}
    failed: dict[str, str] = {}
    rows = []
    for fold in folds:
        environment.seed_everything(experiment.seed)
        chosen = chooser.chosen(fold)
        rows.append(_row(fold, chosen.told))
        with sharing():
            found, faults = run_systems(chosen.experiment, chosen.experiment.build(), fold.test)
        failed |= faults
        for name, system in found.items():
            systems.setdefault(name, []).append(system)
    whole = {name: _joined(experiment, opened, parts) for name, parts in systems.items() if name not in failed}
    return Results(experiment, opened, whole, compared(experiment, whole), failed, folds=tuple(rows))


def _row(fold: Fold, settings: dict[str, Any]) -> FoldRow:
    train, dev, test = (len(part.queries) for part in (fold.train, fold.dev, fold.test))
    return FoldRow(fold.number, train, dev, test, settings)


def _joined(experiment: Experiment, opened: Collection, parts: list[System]) -> System:
    """A system over all queries, from what it found for those of each fold."""
    found = Candidates.stack([part.run for part in parts])
    place = {name: row for row, name in enumerate(found.query_ids or ())}
    run = found.take(np.array([place[name] for name in opened.queries.ids], np.int64))
    evaluation = evaluate(run, opened.judgments, experiment.evaluate.measures, ties=experiment.evaluate.ties)
    active().hook.nirank_evaluated(system=parts[0].name, evaluation=evaluation)
    return replace(parts[0], run=run, evaluation=evaluation, seconds=sum(part.seconds for part in parts))


class _Chosen:
    """The experiment of a fold, with its settings and trained stages; `told` are the settings."""

    def __init__(self, experiment: Experiment, settings: Mapping[str, Any]) -> None:
        self.experiment, self.told = experiment, dict(settings)


class _Chooser:
    """Chooses settings for each fold by queries that are not its own, and trains the stages."""

    def __init__(self, experiment: Experiment, opened: Collection, work: Path) -> None:
        self.experiment, self.opened, self.work = experiment, opened, work
        self.tuning = experiment.tuning()
        self._all: Tuned | None = None
        if self.tuning:
            self._check(self.tuning)

    def chosen(self, fold: Fold) -> _Chosen:
        """The experiment of a fold."""
        plain = replace(self.experiment, folds={})
        if self.tuning is None:
            return _Chosen(train_stages_in(self.experiment, self.work, fold), {})
        settings = (self._by_dev(self.tuning, fold) if plain.train else self._by_others(self.tuning, fold)).settings
        return _Chosen(train_stages_in(self.experiment.at(settings), self.work, fold), settings)

    def _check(self, tuning: Tuning) -> None:
        with naming(f"{self.experiment.where}: [tune]"):
            tuning.check(self.experiment.stage)
            if tuning.collection is not None:
                raise BadInput("collection is given by [folds]: leave it out.")
            if not self.experiment.train and (tuning.method == "tpe" or tuning.halving):
                raise BadInput(
                    'in folds settings are from a grid or random ones (method = "random"), each tried on every query: '
                    f"{'halving' if tuning.halving else 'method'} would choose by the queries of the fold itself."
                )

    def _by_others(self, tuning: Tuning, fold: Fold) -> Trial:
        """The best settings by all queries but the fold's own; each is tried once, for all folds."""
        self._all = self._all or tried(self.experiment, tuning, self.opened, self.work / "trials")
        own = {*fold.test.queries.ids}
        others = np.array([name not in own for name in self._all.query_ids])
        fine = [trial for trial in self._all.trials if len(trial)]
        return max(fine, key=lambda trial: (trial.values[tuning.measure][others].mean(), -trial.number))

    def _by_dev(self, tuning: Tuning, fold: Fold) -> Trial:
        """The best settings by the queries that choose, of stages that are trained with each of them."""
        if not len(fold.dev.queries):
            raise BadInput("of two folds nothing chooses the settings: count must be 3 or more.", self.experiment.where)
        place = self.work / f"fold-{fold.number}" / "trials"

        def prepare(experiment: Experiment) -> Experiment:
            return train_stages_in(experiment, self.work, fold)

        return tried(self.experiment, tuning, fold.dev, place, prepare).best


def train_stages_in(experiment: Experiment, work: Path, fold: Fold) -> Experiment:
    """The experiment with its stages trained on a fold, in a folder of these settings alone."""
    plain = replace(experiment, folds={})
    if not experiment.train:
        return plain
    settings = digest([experiment.stage, experiment.numbers])[:12]
    return replace(train_stages(experiment, work / f"fold-{fold.number}" / settings, fold=fold), folds={})
