"""Components that learn in a way of their own, such as trees, and not by the gradient of their weights.

Such a component has

    learn(train, dev, gradient, options) -> int    how many rounds there were

`train` and `dev` (None where there is none) are `Candidates` whose scores are labels, with features where the component
reads them. `gradient` is None where training names no loss, and the component has one of its own; else
`gradient(scores)` is the derivative of the loss by the score of each pair of `train`, `[pairs]`. `options` are
`nirank.training.options.Options`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nirank.component import Component
from nirank.data.candidates import Candidates
from nirank.data.types import Ints
from nirank.errors import BadInput
from nirank.execution import stages
from nirank.training import best_weights, processes, resume_plan
from nirank.training.assignment import Fitted, Task
from nirank.training.examples import Examples
from nirank.training.objective import refuse_unweighed, weights_of
from nirank.training.padding import Padding

Gradient = Callable[[NDArray[Any]], NDArray[np.float64]]


def grows(component: Component) -> bool:
    """True for a component that learns in a way of its own."""
    return component.can("learn") and not isinstance(component.target, torch.nn.Module)


def grow(task: Task) -> Fitted:
    """Let the component learn from all lists of the sampler, drawn once, and write its checkpoint.

    Raises `BadInput` where it would have to learn from a teacher or in several processes.
    """
    if task.teacher or processes.count() > 1:
        raise BadInput(f"{task.component.name} is not trained by gradients: leave `teacher` out and start one process.")
    if task.folder:
        resume_plan.is_under_way(task.folder, described := task.described())
        resume_plan.write(task.folder, described)
    weights = task.collection.weights
    if weights is not None and task.loss is None:
        raise BadInput(
            f"the judgments of this collection have weights, which {task.component.name}'s own objective does not "
            'heed: train it with a loss, such as "weighted(ranknet)".'
        )
    (rows, train), dev = _lists(task), task.dev
    gradient = _gradient(task.loss, train, rows, weights) if task.loss else None
    rounds = task.component.target.learn(train, dev and dev.labelled(), gradient, task.options)
    task.component.changed()
    best = best_weights.measured(dev, task.options.measure) if dev else None
    task.write_checkpoint()
    return Fitted(task.stage, rounds, best, rounds if dev else None, [], task.folder)


def _lists(task: Task) -> tuple[Ints, Candidates]:
    """All lists that the sampler makes, with what the component reads, and the rows of their queries."""
    examples = Examples.of(task.collection, task.sampler.target.each)
    random = np.random.default_rng(task.options.seed)
    drawn: Candidates = task.sampler.target.sample(examples.rows, examples.positives, random).candidates
    if task.describer is None:
        return examples.rows, drawn
    return examples.rows, task.describer(examples.rows, task.collection.queries.take(examples.rows), drawn)


def _gradient(loss: Component, train: Candidates, rows: Ints, weights: Candidates | None) -> Gradient:
    """The derivative of a loss over these lists by the score of each pair."""
    refuse_unweighed(loss, weights)
    padding = Padding(train, torch.device("cpu"))
    labels = padding.matrix(train.scores)
    more = {} if weights is None else {"weights": padding.matrix(weights_of(train, rows, weights))}

    def gradient(scores: NDArray[Any]) -> NDArray[np.float64]:
        leaf = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
        value = stages.loss(loss, padding.matrix(leaf), labels, padding.mask, **more)
        (slope,) = torch.autograd.grad(value, leaf)
        return np.asarray(slope.numpy())

    return gradient
