"""The results of an experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.evaluation.evaluating import Evaluation
from nirank.experiments import manifest
from nirank.experiments.experiment import Experiment
from nirank.pipeline.algebra import Ranking

if TYPE_CHECKING:
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
class Results:
    """The results of an experiment; `failed` are the errors of pipelines that did not run to their end, by name."""

    experiment: Experiment
    collection: Collection
    systems: dict[str, System]
    comparison: Comparison | None
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def baseline(self) -> str:
        """The system that the others are compared with."""
        return self.experiment.evaluate.baseline or next(iter(self.systems))

    @property
    def measured(self) -> list[str]:
        """The names of the measures, as the evaluations have them."""
        return next(iter(self.systems.values())).evaluation.measures

    def manifest(self) -> dict[str, Any]:
        """The manifest: versions, fingerprints, seeds, devices, the tie policy."""
        rankings = {name: system.ranking for name, system in self.systems.items()}
        return manifest.describe(rankings, self.collection, self.experiment.seed, self.experiment.evaluate.ties)

    def measures(self) -> dict[str, Any]:
        """The measures of each system, with counts and latencies, as written to `measures.json`."""
        return {
            name: system.evaluation.to_dict() | {"seconds": round(system.seconds, 3), "latency_ms": system.latency}
            for name, system in self.systems.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """The measures of each system, their comparison and what failed, as JSON can hold them."""
        compared = None if self.comparison is None else self.comparison.to_dict()
        return {"name": self.experiment.name, "systems": self.measures(), "comparison": compared, "failed": self.failed}
