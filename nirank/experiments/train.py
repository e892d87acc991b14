"""An experiment that trains: its stages are trained one after the other, then it is run with the trained ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from nirank import environment
from nirank.checkpoints.checkpoint import CHECKPOINT, settings_of
from nirank.errors import BadInput
from nirank.experiments.experiment import Experiment, naming
from nirank.experiments.fusion_recipe import FusionRecipe
from nirank.experiments.recipe import Recipe
from nirank.experiments.results import Results
from nirank.experiments.run import load_beside, run
from nirank.experiments.write import refuse_unwritable
from nirank.files import alone, beside, refuse_existing, remove_leftovers
from nirank.formats.toml import to_toml
from nirank.pipeline.algebra import Stage
from nirank.plugins import observers
from nirank.plugins.loading import active
from nirank.registry import STAGES, TRAINED
from nirank.training import processes
from nirank.training.assignment import Fitted
from nirank.training.fused import FittedFusion

EXPERIMENT, RESULTS = "experiment.toml", "results"


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
    _check(experiment, recipes)
    _begin(experiment, folder)
    for recipe in recipes:
        place = folder / recipe.name
        if not (place / CHECKPOINT).exists():
            fitted = _train_stage(experiment, recipe, folder)
            if tell and processes.is_first():
                tell(fitted)
        experiment = replace(experiment, stage={**experiment.stage, recipe.name: _trained(experiment, recipe, place)})
    if not processes.is_first():
        return None
    for fusion in experiment.fusions():
        text, found = _fit_fusion(experiment, fusion, folder)
        if tell and found:
            tell(found)
        experiment = replace(experiment, pipelines={**experiment.pipelines, fusion.name: text})
    return run(replace(experiment, train={}), folder / RESULTS, show)


def _check(experiment: Experiment, recipes: Sequence[Recipe]) -> None:
    """Raise now what would else be raised after hours: unknown names and settings, ids that cannot be written.

    Queries and documents of the collections are opened, and closed again.
    """
    for recipe in recipes:
        with naming(f"{experiment.where}: [train.{recipe.name}]"):
            recipe.check()
            _check_loss(experiment, recipe)
    for fusion in experiment.fusions():
        with naming(f"{experiment.where}: [train.{fusion.name}]"):
            fusion.check(experiment.build)
    with naming(f"{experiment.where}: collection"):
        refuse_unwritable(experiment.open())


def _check_loss(experiment: Experiment, recipe: Recipe) -> None:
    """Raise `BadInput` where a loss is missing, without building the stage that needs one."""
    use = experiment.stage.get(recipe.name, {}).get("use", recipe.name)
    by_gradients = use.startswith(TRAINED) or not hasattr(active().registry.find(use, STAGES).resolve(), "learn")
    if recipe.loss is None and by_gradients:
        raise BadInput('loss = "NAME", or a table with `use = "NAME"` and its settings, is expected.')


def _begin(experiment: Experiment, folder: Path) -> None:
    """Note the experiment in its folder, unless there is one that trains alike and was interrupted."""
    path, table = folder / EXPERIMENT, experiment.as_table()
    if path.exists():
        before = Experiment.read(path).as_table()
        differs = [key for key in ("train", "stage", "pipelines", "seed") if before[key] != table[key]]
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


def _trained(experiment: Experiment, recipe: Recipe, place: Path) -> dict[str, Any]:
    """The table of the trained stage: its checkpoint, and settings that are not kept there, such as the device."""
    own = settings_of(place)
    given = {key: value for key, value in experiment.stage.get(recipe.name, {}).items() if key not in own}
    return {**given, "use": f"{TRAINED}{place}"}


def _fit_fusion(experiment: Experiment, fusion: FusionRecipe, folder: Path) -> tuple[str, FittedFusion | None]:
    environment.seed_everything(experiment.seed)
    with observers.switched_on(experiment.observers()), naming(f"{experiment.where}: [train.{fusion.name}]"):
        return fusion.fit(experiment.build, folder / fusion.name)


def _train_stage(experiment: Experiment, recipe: Recipe, folder: Path) -> Fitted:
    environment.seed_everything(recipe.options.seed)
    with observers.switched_on(experiment.observers()):
        stages: dict[str, Stage] = {}
        rankings: dict[str, Any] = experiment.build(stages)
        with naming(f"{experiment.where}: [train.{recipe.name}]"):
            return recipe.fit(stages, rankings, folder / recipe.name)
