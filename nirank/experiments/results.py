"""The results of an experiment."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.data.frames import Tabular
from nirank.evaluation.evaluating import Evaluation
from nirank.experiments import manifest, summary
from nirank.experiments.experiment import Experiment
from nirank.pipeline.algebra import Ranking

if TYPE_CHECKING:
    import pyarrow as pa

    from nirank.evaluation.significance import Comparison


@dataclass(frozen=True)
class System:
    """The results of one pipeline: its run, its measures, its times."""

    name: str
    ranking: Ranking
    run: Candidates
    evaluation: Evaluation
    seconds: float
    latency: dict[str, dict[str, float]]


@dataclass(frozen=True)
class FoldRow:
    """One fold: how many queries were learned from, chose and were measured, and the settings that were chosen."""

    fold: int
    train: int
    dev: int
    test: int
    settings: dict[str, Any]


@dataclass(frozen=True)
class SeedRow:
    """The mean of a measure over all seeds, with a 95 % interval by Student's t over them, and the values of each."""

    system: str
    measure: str
    mean: float
    low: float
    high: float
    values: tuple[float, ...]


@dataclass(frozen=True, repr=False)
class Results(Tabular):
    """The results of an experiment; `failed` are the errors of pipelines that did not run to their end, by name.

    Of an experiment in `folds`, these are described; of one with several seeds, `repeated` are the results of the
    seeds after the first.
    """

    experiment: Experiment
    collection: Collection
    systems: dict[str, System]
    comparison: Comparison | None
    failed: dict[str, str] = field(default_factory=dict)
    folds: tuple[FoldRow, ...] = ()
    repeated: tuple[Results, ...] = ()

    def __repr__(self) -> str:
        return f"<Results of {self.experiment.name}: {', '.join(self.systems)} on {self.collection!r}>"

    def __str__(self) -> str:
        return summary.text(self)

    def _repr_html_(self) -> str:
        return summary.as_html(self)

    def to_arrow(self) -> pa.Table:
        """A row a system: its name, its pipeline, the mean of each measure, and its seconds for all queries."""
        return summary.as_arrow(self)

    @property
    def baseline(self) -> str:
        """The system that the others are compared with."""
        return self.experiment.evaluate.baseline or next(iter(self.systems))

    @property
    def measured(self) -> list[str]:
        """The names of the measures, as the evaluations have them."""
        return next(iter(self.systems.values())).evaluation.measures

    def over_seeds(self) -> list[SeedRow]:
        """The means over the seeds, with intervals of these; none where there is one seed."""
        everyone = (self, *self.repeated)
        return [
            _seed_row(system, measure, [each.systems[system].evaluation[measure] for each in everyone])
            for system in self.systems
            for measure in self.measured
            if self.repeated and all(system in each.systems for each in everyone)
        ]

    def manifest(self) -> dict[str, Any]:
        """The manifest: versions, fingerprints, seeds, devices, the tie policy."""
        rankings = {name: system.ranking for name, system in self.systems.items()}
        return manifest.describe(rankings, self.collection, self.experiment.seed, self.experiment.evaluate.ties)

    def measures(self) -> dict[str, Any]:
        """The measures of each system, with counts and latencies, as written to `measures.json`."""
        return {
            name: system.evaluation.to_dict()
            | {"seconds": round(system.seconds, 3), "latency_ms": system.latency}
            | ({"lost": list(system.run.lost)} if system.run.lost else {})
            for name, system in self.systems.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """The measures of each system, their comparison and what failed, as JSON can hold them."""
        compared = None if self.comparison is None else self.comparison.to_dict()
        told: dict[str, Any] = {
            "name": self.experiment.name,
            "systems": self.measures(),
            "comparison": compared,
            "failed": self.failed,
        }
        if self.folds:
            told["folds"] = [asdict(row) for row in self.folds]
        if self.repeated:
            told["seeds"] = [asdict(row) for row in self.over_seeds()]
        return told


def _seed_row(system: str, measure: str, values: list[float]) -> SeedRow:
    from scipy.special import stdtrit

    mean = float(np.mean(values))
    half = float(stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return SeedRow(system, measure, mean, mean - half, mean + half, tuple(values))
