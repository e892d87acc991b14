"""Results read back from their folder, for a report of what was run before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nirank import seals
from nirank.data.collection import Collection
from nirank.errors import BadInput
from nirank.evaluation.evaluating import evaluate
from nirank.experiments.experiment import Experiment
from nirank.experiments.plugin_beside import load_beside
from nirank.experiments.reporting.page import PAGE, page
from nirank.experiments.results import FoldRow, Results, System
from nirank.experiments.systems import compared
from nirank.files import beside
from nirank.formats.trec import read_run
from nirank.pipeline.algebra import Ranking

#: Means that differ by more are those of other judgments.
_TOLERANCE = 1e-6
#: What is said of a pipeline that the experiment has and the folder has not.
_UNTOLD = "it has no results in this folder, which does not say why"


@dataclass(frozen=True, eq=False, repr=False)
class Told(Ranking):
    """A pipeline of which only the expression is known."""

    text: str

    def __repr__(self) -> str:
        return self.text


def report(folder: Path) -> Path:
    """Write the page of results that were written before into their folder; the path of the page.

    The collection is opened again, and has to be the one that was searched: raises `BadInput` where its documents or
    judgments are others, where the folder holds no results, and `MissingDependency` without jinja2.
    """
    results, manifest = read_results(folder)
    text = page(results, manifest)
    with beside(folder / PAGE) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")
    if (folder / seals.SEAL).exists():
        seals.seal(folder)
    return folder / PAGE


def read_results(folder: Path) -> tuple[Results, dict[str, Any]]:
    """The results in a folder, with those of its folds and other seeds, and their manifest. Raises as `report` does."""
    measures, manifest = _read(folder, "measures.json"), _read(folder, "manifest.json")
    _check(folder, measures, manifest)
    seals.check(folder, "Run the experiment again.")
    experiment = Experiment.read(folder / "experiment.toml")
    load_beside(experiment)
    collection = experiment.open()
    searched = manifest["collection"]["corpus"]
    if collection.corpus.fingerprint != searched:
        raise BadInput(
            f"was made of other documents (fingerprint {searched[:8]}) than {collection.name} has now "
            f"({collection.corpus.fingerprint[:8]}): bring these back, or run the experiment again.",
            folder,
        )
    return replace(_results(folder, collection), repeated=_repeated(folder, experiment, collection)), manifest


def _results(folder: Path, collection: Collection) -> Results:
    """The results in a folder, or in that of one of its seeds, without those of other seeds."""
    measures, manifest = _read(folder, "measures.json"), _read(folder, "manifest.json")
    _check(folder, measures, manifest)
    experiment = Experiment.read(folder / "experiment.toml")
    systems = {
        name: _system(folder, name, told, manifest["pipelines"][name], experiment, collection)
        for name, told in measures.items()
    }
    failed = {name: _UNTOLD for name in experiment.pipelines if name not in systems}
    compared_with = compared(experiment, systems)
    return Results(experiment, collection, systems, compared_with, failed, folds=_folds(folder))


def _repeated(folder: Path, experiment: Experiment, collection: Collection) -> tuple[Results, ...]:
    """The results of the seeds after the first."""
    folding = experiment.folding()
    if folding is None or not (folder / "seeds.json").exists():
        return ()
    return tuple(_results(folder / f"seed-{seed}", collection) for seed in folding.seeds[1:])


def _folds(folder: Path) -> tuple[FoldRow, ...]:
    """The rows of folds that are written; none of an experiment without them. Raises `BadInput` for damaged ones."""
    if not (folder / "folds.json").exists():
        return ()
    try:
        return tuple(FoldRow(**row) for row in json.loads((folder / "folds.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"cannot be read: {error}. Run the experiment again.", folder / "folds.json") from None


def _read(folder: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"holds no results of `nirank run`: {name} cannot be read ({error}).", folder) from None
    if not isinstance(found, dict) or not found:
        raise BadInput(f"holds no results of `nirank run`: {name} is no table, or an empty one.", folder)
    return found


def _table(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The table of this name; an empty one for anything else."""
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _check(folder: Path, measures: dict[str, Any], manifest: dict[str, Any]) -> None:
    """Raise `BadInput` for files of these names that say nothing of what a report needs."""
    pipelines = _table(manifest, "pipelines")
    whole = isinstance(_table(manifest, "collection").get("corpus"), str)
    for name in measures:
        told = _table(measures, name)
        latency = isinstance(told.get("latency_ms"), dict) and isinstance(told.get("seconds"), (int, float))
        whole = whole and latency and bool(_table(told, "measures")) and isinstance(pipelines.get(name), str)
    if not whole:
        raise BadInput(
            "holds no results of `nirank run` that can be read: measures.json or manifest.json lacks what it has of "
            "each system (measures, seconds, latency_ms, the pipeline). Run the experiment again.",
            folder,
        )


def _system(
    folder: Path, name: str, told: Mapping[str, Any], pipeline: str, experiment: Experiment, collection: Collection
) -> System:
    """A system with its run, measured again. Raises `BadInput` where that gives other means than are written."""
    aligned = read_run(folder / f"{name}.run").align(collection.queries.ids, collection.corpus.ids)
    run = aligned.over(collection.corpus).without(told.get("lost", ()))
    options = experiment.evaluate
    evaluation = evaluate(run, collection.judgments, options.measures, ties=options.ties)
    for measure, mean in told["measures"].items():
        if abs(evaluation[measure] - mean) > _TOLERANCE:
            raise BadInput(
                f"says that {name} has a {measure} of {mean:.4f}; by the judgments of {collection.name} it is now "
                f"{evaluation[measure]:.4f}. They have changed: run the experiment again.",
                folder / "measures.json",
            )
    evaluation = replace(evaluation, warnings=tuple(told.get("warnings", ())))  # a file does not say how deep it is
    return System(name, Told(pipeline), run, evaluation, told["seconds"], told["latency_ms"])
