"""What loggers of experiments have in common: which runs there are, and what each is told.

A training is a run, with what it reports step by step; so is each system of a finished experiment, with its settings,
its measures and its manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nirank import hookimpl

if TYPE_CHECKING:
    from nirank import Results, System
    from nirank.plugins import Component


class Observed:
    """The base of loggers: these say how a run is begun, what is logged into it, and how it ends."""

    def __init__(self) -> None:
        self._trainings: dict[str, Any] = {}

    def _begin(self, experiment: str, name: str, settings: Mapping[str, Any]) -> Any:
        raise NotImplementedError

    def _log(self, run: Any, values: Mapping[str, float], step: int | None = None) -> None:
        raise NotImplementedError

    def _attach(self, run: Any, manifest: Mapping[str, Any], folder: Path | None) -> None:
        raise NotImplementedError

    def _end(self, run: Any) -> None:
        raise NotImplementedError

    @hookimpl
    def nirank_trained(self, component: Component, step: int, values: dict[str, float]) -> None:
        """Log the values that a training reports at a step."""
        if component.name not in self._trainings:
            self._trainings[component.name] = self._begin("training", component.name, settings_of(component))
        self._log(self._trainings[component.name], values, step)

    def finished(self, results: Results, folder: Path | None) -> None:
        """Log each system of an experiment as a run."""
        manifest = results.manifest()
        for system in results.systems.values():
            run = self._begin(results.experiment.name, system.name, described(system, results))
            self._log(run, {**system.evaluation.mean, "seconds": system.seconds})
            self._attach(run, manifest, folder)
            self._end(run)

    def close(self) -> None:
        """End the runs of trainings."""
        for run in self._trainings.values():
            self._end(run)
        self._trainings.clear()


def described(system: System, results: Results) -> dict[str, Any]:
    """What a system is made of: the pipeline, the collection, the seed, and every setting as `component.setting`."""
    known = {"pipeline": repr(system.ranking), "collection": results.collection.name, "seed": results.experiment.seed}
    for component in system.ranking.components():
        known |= settings_of(component)
    return known


def settings_of(component: Component) -> dict[str, Any]:
    """The settings of a component that were given, by `component.setting`, and its fingerprint."""
    given = {f"{component.name}.{key}": value for key, value in component.settings.items()}
    return {**given, f"{component.name}.fingerprint": component.fingerprint}
