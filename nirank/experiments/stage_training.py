"""The training of the stages of an experiment, one after the other, each into a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nirank import environment
from nirank.checkpoints.checkpoint import settings_of
from nirank.data.folds import Fold
from nirank.errors import BadInput
from nirank.experiments.experiment import Experiment, naming
from nirank.experiments.fusion_recipe import FusionRecipe
from nirank.experiments.recipe import Recipe
from nirank.experiments.write import refuse_unwritable
from nirank.pipeline.algebra import Stage
from nirank.plugins import observers
from nirank.plugins.loading import active
from nirank.registry import STAGES, TRAINED
from nirank.training import processes, resume_plan
from nirank.training.assignment import Fitted
from nirank.training.fused import FittedFusion


def train_stages(
    experiment: Experiment,
    folder: Path,
    tell: Callable[[Fitted | FittedFusion], None] | None = None,
    fold: Fold | None = None,
) -> Experiment:
    """Train every stage that has a recipe and is not trained yet, then find the weights of fusions, on a fold if given.

    Returns the experiment with the trained stages and weights in their place, and nothing to train. Weights are found
    in the first process alone.
    """
    for recipe in experiment.recipes():
        place = folder / recipe.name
        if not resume_plan.is_finished(place):
            fitted = _train_stage(experiment, recipe, folder, fold)
            if tell and processes.is_first():
                tell(fitted)
        experiment = replace(experiment, stage={**experiment.stage, recipe.name: _trained(experiment, recipe, place)})
    for fusion in experiment.fusions() if processes.is_first() else ():
        text, found = _fit_fusion(experiment, fusion, folder, fold)
        if tell and found:
            tell(found)
        experiment = experiment.with_pipeline(fusion.name, text)
    return experiment.learned()


def check_recipes(experiment: Experiment, recipes: Sequence[Recipe]) -> None:
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


def _trained(experiment: Experiment, recipe: Recipe, place: Path) -> dict[str, Any]:
    """The table of the trained stage: its checkpoint, and settings that are not kept there, such as the device."""
    own = settings_of(place)
    given = {key: value for key, value in experiment.stage.get(recipe.name, {}).items() if key not in own}
    return {**given, "use": f"{TRAINED}{place}"}


def _train_stage(experiment: Experiment, recipe: Recipe, folder: Path, fold: Fold | None) -> Fitted:
    environment.seed_everything(recipe.options.seed)
    with observers.switched_on(experiment.observers()):
        stages: dict[str, Stage] = {}
        rankings: dict[str, Any] = experiment.build(stages)
        with naming(f"{experiment.where}: [train.{recipe.name}]"):
            return recipe.fit(stages, rankings, folder / recipe.name, fold)


def _fit_fusion(
    experiment: Experiment, fusion: FusionRecipe, folder: Path, fold: Fold | None
) -> tuple[str, FittedFusion | None]:
    environment.seed_everything(experiment.seed)
    with observers.switched_on(experiment.observers()), naming(f"{experiment.where}: [train.{fusion.name}]"):
        return fusion.fit(experiment.build, folder / fusion.name, fold)
