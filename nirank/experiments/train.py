"""An experiment that trains: its stages are trained one after the other, then it is run with the trained ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from nirank.errors import BadInput
from nirank.experiments.experiment import Experiment
from nirank.experiments.plugin_beside import load_beside
from nirank.experiments.recipe import Recipe
from nirank.experiments.results import Results
from nirank.experiments.run import run
from nirank.experiments.stage_training import check_recipes, train_stages
from nirank.files import alone, beside, refuse_existing, remove_leftovers
from nirank.formats.toml import to_toml
from nirank.training import processes
from nirank.training.assignment import Fitted
from nirank.training.fused import FittedFusion

EXPERIMENT, RESULTS = "experiment.toml", "results"
#: What is learned follows from these.
_DECIDES = ("train", "stage", "numbers", "pipelines", "write", "folds", "tune", "seed")


def train(
    experiment: Experiment | str | Path | Mapping[str, Any],
    out: str | Path,
    tell: Callable[[Fitted | FittedFusion], None] | None = None,
    show: Callable[[Results], None] | None = None,
) -> Results | None:
    """Train the stages of an experiment that have a table [train.NAME], then run it with them.

    NAME may also be a pipeline with a fusion, whose weights are found then (`nirank.experiments.fusion_recipe`). Each
    stage has the folder `out/NAME` (a checkpoint, a log), each fusion one with `fusion.json`; the results are in
    `out/results`, with an `experiment.toml` that runs the trained pipelines again. Called once more after an
    interruption, it goes on where it was. `tell` is called after each training, `show` with the results. In several
    processes the first one runs the experiment, and the others get None. Raises `BadInput` where `out` holds something
    else, or nothing is to be trained.
    """
    experiment = Experiment.given(experiment)
    processes.join()
    folder = processes.from_first(Path(out).resolve())  # the clocks of the others may name another one
    recipes = experiment.recipes()
    if experiment.folds and processes.count() > 1:
        raise BadInput("has a table [folds], and folds are trained in one process.", experiment.path)
    if not recipes and not experiment.fusions():
        raise BadInput("there is no table [train.NAME], nothing to train: run it with `nirank run`.", experiment.path)
    with alone(folder, "nirank train") if processes.is_first() else nullcontext():
        return _train(experiment, recipes, folder, tell, show)


def _train(
    experiment: Experiment,
    recipes: Sequence[Recipe],
    folder: Path,
    tell: Callable[[Fitted | FittedFusion], None] | None,
    show: Callable[[Results], None] | None,
) -> Results | None:
    load_beside(experiment)
    check_recipes(experiment, recipes)
    _begin(experiment, folder)
    if experiment.folds:
        return run(experiment, folder / RESULTS, show, work=folder)
    trained = train_stages(experiment, folder, tell)
    return run(trained, folder / RESULTS, show) if processes.is_first() else None


def _begin(experiment: Experiment, folder: Path) -> None:
    """Note the experiment in its folder, unless there is one that trains alike and was interrupted."""
    path, table = folder / EXPERIMENT, experiment.as_table()
    if path.exists():
        before = Experiment.read(path).as_table()
        differs = [key for key in _DECIDES if before[key] != table[key]]
        if differs:
            raise BadInput(f"holds another experiment: {', '.join(differs)} differ; name another folder.", folder)
    else:
        remove_leftovers(path)  # which are no other experiment
        refuse_existing(folder)
    refuse_existing(folder / RESULTS)
    processes.wait()
    if processes.is_first():
        with beside(path) as unfinished:
            unfinished.write_text(to_toml(table), encoding="utf-8")
