"""The result of a tuning."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.collection import Collection
from nirank.errors import UnknownName
from nirank.experiments.experiment import Experiment
from nirank.experiments.space import Tuning
from nirank.experiments.trials import Trial


@dataclass(frozen=True, eq=False)
class Tuned:
    """Every trial of a tuning, by number, and what they were measured on.

    `query_ids` are in the order of the trials' values.
    """

    experiment: Experiment
    tuning: Tuning
    collection: Collection
    query_ids: list[str]
    trials: list[Trial]

    @cached_property
    def best(self) -> Trial:
        """The best of the trials that were measured on all queries; of equals the first."""
        whole = [trial for trial in self.trials if len(trial) == len(self.query_ids)]
        return max(whole, key=lambda trial: (trial.mean(self.tuning.measure), -trial.number))

    @property
    def resolved(self) -> Experiment:
        """The experiment with the best settings, which `nirank run` takes."""
        return self.experiment.at(self.best.settings)

    def values(self, measure: str | None = None) -> NDArray[np.float64]:
        """The values of a measure, `[trials, queries]`; NaN where a trial was not measured on a query."""
        measure = measure or self.tuning.measure
        if measure not in self.best.values:
            raise UnknownName("measure of these trials,", measure, self.best.values)
        values = np.full((len(self.trials), len(self.query_ids)), np.nan)
        for row, trial in zip(values, self.trials, strict=True):
            row[: len(trial)] = trial.values.get(measure, ())
        return values

    def notes(self) -> list[str]:
        """Notes to read with the best settings: how many trials there were, and where more may be found."""
        failed = sum(trial.error is not None for trial in self.trials)
        lines = [f"{len(self.trials):,} trials of {self.tuning.pipeline} on {len(self.query_ids):,} queries."]
        lines += [f"{failed:,} of them failed."] * bool(failed)
        if (equal := self._equally_good()) > 1:
            lines.append(f"{equal:,} of them are equally good; the first of these is taken.")
        for name, value in self.best.settings.items():
            if edge := self.tuning.space[name].edge(value):
                lines.append(f"{name} = {value!r} is the {edge} value that was tried: try others beyond it.")
        return lines

    def _equally_good(self) -> int:
        means = [trial.mean(self.tuning.measure) for trial in self.trials if len(trial) == len(self.query_ids)]
        return means.count(self.best.mean(self.tuning.measure))

    def to_dict(self) -> dict[str, Any]:
        """The best settings and the means of all trials, as JSON can hold them."""
        return {
            "pipeline": self.tuning.pipeline,
            "measure": self.tuning.measure,
            "best": self.best.number,
            "trials": [trial.to_dict() for trial in self.trials],
        }
