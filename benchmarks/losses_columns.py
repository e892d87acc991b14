"""What the columns of the grid share: data and a scorer, which any loss trains and which is measured on test."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from losses_cells import Outcome
from losses_recipes import Recipe, loss_of

import nirank
from nirank.data import Collection
from nirank.evaluation import Evaluation


class Column(Protocol):
    """Data and a scorer, and the losses that it is trained with."""

    scorer: str
    measures: tuple[str, ...]
    #: What differences are taken from; one of the `references`.
    reference: str
    lines: Mapping[str, Recipe]
    #: What a reader of the table has to know.
    about: str

    @property
    def name(self) -> str:
        """What the column is called."""

    def told(self) -> dict[str, Any]:
        """All that its cells depend on beside the recipe."""

    def learn(self, line: str, recipe: Recipe) -> Outcome:
        """Train with the loss of a line, and test."""

    def references(self) -> dict[str, Callable[[], Outcome]]:
        """What the losses are held against."""


def loss_of_line(line: str, settings: Mapping[str, Any]) -> Any:
    """The loss of a line."""
    return nirank.load(f"loss/{loss_of(line)}", **settings).component


def relabelled(collection: Collection, recipe: Recipe, loss: Any) -> Collection:
    """The collection with its labels times that of the recipe, and scaled down to the largest that a loss takes."""
    judged = collection.judgments
    scale = min(recipe.label, getattr(loss, "largest_label", np.inf) / judged.scores.max())
    return replace(collection, judgments=judged.with_scores(judged.scores * scale))


def options(column: Any, recipe: Recipe) -> dict[str, Any]:
    """The options of training of a recipe in a column."""
    rate = {"learning_rate": recipe.rates[column.scorer]}
    return {**column.options, **recipe.options, **rate, **column.limits}


def outcome(tested: Evaluation, start: float, fitted: Any = None) -> Outcome:
    """What was measured after a training (or without one) that began at `start`."""
    values = {measure: column.tolist() for measure, column in tested.values.items()}
    dev, step = (fitted.best, fitted.best_step) if fitted else (None, None)
    return Outcome(values, dev, [] if step is None else [step], time.perf_counter() - start)
