"""An experiment that trains: its stages are trained one after the other, then it is run with what they became."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from nirank import experiment as experiments
from nirank import manifest, observers
from nirank.errors import BadInput
from nirank.experiment import Experiment
from nirank.files import beside
from nirank.pipeline import Stage
from nirank.plugins import TRAINED
from nirank.results import Results, refuse_existing, to_toml
from nirank.training import processes
from nirank.training.fitting import Fitted
from nirank.training.recipe import Recipe
from nirank.weights import CHECKPOINT

EXPERIMENT, RESULTS = "experiment.toml", "results"


def train(
    experiment: Experiment | str | Path,
    out: str | Path,
    tell: Callable[[Fitted], None] | None = None,
    show: Callable[[Results], None] | None = None,
) -> Results | None:
    """Train the stages of an experiment that have a table [train.NAME], then run it with them.

    Each stage has the folder `out/NAME` (a checkpoint, a log), the results are in `out/results`, with an
    `experiment.toml` that runs the trained pipelines again. Called once more after an interruption, it goes on where
    it was. `tell` is called after each training, `show` with the results. In several processes the first one runs the
    experiment, and the others get None. Raises `BadInput` where `out` holds something else, or nothing is to be
    trained.
    """
    if not isinstance(experiment, Experiment):
        experiment = Experiment.read(experiment)
    processes.join()
    folder = Path(out).resolve()
    recipes = experiment.recipes()
    if not recipes:
        raise BadInput("there is no table [train.NAME]: nothing is to be trained.", experiment.path)
    _begin(experiment, folder)
    experiments.load_beside(experiment)
    for recipe in recipes:
        if not (folder / recipe.name / CHECKPOINT).exists():
            fitted = _train_stage(experiment, recipe, folder)
            if tell and processes.is_first():
                tell(fitted)
        stage = {**experiment.stage, recipe.name: {"use": f"{TRAINED}{folder / recipe.name}"}}
        experiment = replace(experiment, stage=stage)
    if not processes.is_first():
        return None
    return experiments.run(replace(experiment, train={}), folder / RESULTS, show)


def _begin(experiment: Experiment, folder: Path) -> None:
    """Note the experiment in its folder, unless this very one is there and was interrupted."""
    path, text = folder / EXPERIMENT, to_toml(experiment.as_table())
    if not path.exists():
        refuse_existing(folder)
        processes.wait()
        if processes.is_first():
            with beside(path) as unfinished:
                unfinished.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        raise BadInput("holds another experiment, or this one before it was changed; name another folder.", folder)
    refuse_existing(folder / RESULTS)


def _train_stage(experiment: Experiment, recipe: Recipe, folder: Path) -> Fitted:
    manifest.seed_everything(recipe.options.seed)
    with observers.switched_on(experiment.observers()):
        stages: dict[str, Stage] = {}
        rankings: dict[str, Any] = experiment.build(stages)
        with experiments.told(f"{experiment.where}: [train.{recipe.name}]"):
            return recipe.fit(stages, rankings, folder / recipe.name)
