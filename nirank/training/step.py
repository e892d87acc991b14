"""One batch: its lists are drawn, scored and judged, and the gradient is added to the weights'."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nirank.component import Component
from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.errors import BadInput
from nirank.training import batch as forward
from nirank.training import processes
from nirank.training.examples import Examples
from nirank.training.feature_lists import Describer
from nirank.training.gradients import Pass
from nirank.training.objective import Objective
from nirank.training.options import Options
from nirank.training.sampling import Sample

ADVICE = 'Training has diverged; a lower learning_rate, a longer warmup or precision = "float32" may help.'

#: A stream of chance of its own, beside that of the order of examples.
_DRAWING = 2


@dataclass
class Tally:
    """Of batches: the cost of their lists in all, how many lists count in the loss, and how many there were."""

    cost: float = 0.0
    counted: float = 0.0
    lists: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.cost + other.cost, self.counted + other.counted, self.lists + other.lists)


@dataclass(frozen=True, eq=False)
class Learner:
    """A component with what it learns from. `accelerator` is accelerate's."""

    component: Component
    objective: Objective
    sampler: Component
    collection: Collection
    options: Options
    accelerator: Any
    describer: Describer | None = None

    def learn(self, examples: Examples, seed: Sequence[int]) -> Tally:
        """Add the gradient of this process's part of a batch to the weights'; `seed` decides all chance."""
        own = processes.parts(len(examples))[processes.number()]
        sample, everywhere = self._sample(examples, own, seed)
        rows = examples.rows[own]
        queries = self.collection.queries.take(rows)
        if self.describer:
            sample = replace(sample, candidates=self.describer(rows, queries, sample.candidates))
        ahead, padding = forward.of(self.component, queries, sample, self.options.chunk, everywhere)
        columns = self.objective.columns(sample, padding, queries, rows)
        tally = Tally(lists=len(rows))

        def cost(outputs: Sequence[Tensor]) -> Tensor:
            costs = [self.objective(ahead, form, columns) for form in _forms(self.component, outputs)]
            value, tally.counted = torch.stack([one for one, _ in costs]).mean(), costs[0][1]
            tally.cost = _finite(float(value.detach()), self.component)
            return value

        batch = Pass(self.component, ahead, self.accelerator, [*seed, processes.number()])
        (batch.chunked if self.options.chunk else batch.whole)(cost)
        return tally

    def _sample(self, examples: Examples, own: slice, seed: Sequence[int]) -> tuple[Sample, Candidates | None]:
        """The lists of this process; and those of all, where their documents are gathered.

        Every process draws for all of them and takes its own, so that how many processes there are changes nothing.
        """
        draw = self.sampler.target.sample
        if not self.options.gather:
            examples = examples.take(own)
            random = np.random.default_rng([_DRAWING, *seed, processes.number()])
            return draw(examples.rows, examples.positives, random), None
        sample = draw(examples.rows, examples.positives, np.random.default_rng([_DRAWING, *seed]))
        everywhere = sample.candidates if sample.shared and processes.count() > 1 else None
        return sample.take(own), everywhere


def _forms(component: Component, outputs: Sequence[Tensor]) -> list[list[Tensor]]:
    """The outputs in each form that is to be good: one, or those that an encoder's `shortened` makes of its vectors.

    The loss of a batch is the mean of the losses of all forms.
    """
    if not component.can("shortened"):
        return [list(outputs)]
    return [list(form) for form in zip(*(component.target.shortened(output) for output in outputs), strict=True)]


def _finite(cost: float, component: Component) -> float:
    if not math.isfinite(cost):
        raise BadInput(f"the loss of {component.name} is {cost}. {ADVICE}")
    return cost
