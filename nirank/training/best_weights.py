"""The choice of weights: those that did best on dev are kept, and training may stop early."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from nirank import seals
from nirank.component import Component
from nirank.data.collection import Collection
from nirank.errors import BadInput, DamagedFile
from nirank.evaluation.evaluating import check_measures, evaluate
from nirank.execution import indexes
from nirank.pipeline.algebra import Ranking
from nirank.seals import sealed
from nirank.training import processes
from nirank.training.dev import Dev
from nirank.training.examples import within_corpus
from nirank.training.options import Options
from nirank.training.state import Progress

BEST = "best.safetensors"
_AGAIN = "Remove the folder of the training, and train again."


def check(component: Component, ranking: Ranking | None, dev: Collection | None, measure: str) -> None:
    """Raise `BadInput` where a measure on dev would tell nothing, and `UnknownName` for one that does not exist."""
    check_measures([measure])
    if ranking is not None and component not in ranking.components():
        raise BadInput(
            f"{component.name} is not part of {ranking!r}, so its measure on dev would never change: give a pipeline "
            f"that has {component.name}."
        )
    if dev and ranking is None:
        _check_judged(dev)


def measured(dev: Dev, measure: str) -> float:
    """The measure of a ranking of dev."""
    return next(iter(evaluate(dev.ranked(), dev.collection.judgments, [measure]).mean.values()))


def _check_judged(dev: Collection) -> None:
    if within_corpus(dev).judgments.scores.min(initial=1) > 0:
        raise BadInput(
            f"all judged documents of {dev!r} are relevant, so every order of them is perfect: "
            "give pipeline=RANKING, whose results are measured instead."
        )


class Selection:
    """Measures a component on dev and keeps its best weights, in `folder` or in memory.

    Where nothing was measured, the last weights are the best. What the loss has learned is kept with them: it may be
    half of a model.
    """

    def __init__(
        self,
        component: Component,
        loss: Component,
        options: Options,
        folder: Path | None,
    ) -> None:
        self.component, self.options = component, options
        self.path = folder / BEST if folder else None
        parts = {"component": component.target, "loss": loss.target}
        self._kept = nn.ModuleDict({name: part for name, part in parts.items() if isinstance(part, nn.Module)})
        self._best: dict[str, Any] | None = None

    def measure(self, dev: Dev) -> float:
        """The measure on dev."""
        self.component.changed()
        with indexes.apart(self.component):
            return measured(dev, self.options.measure)

    def judge(self, value: float, progress: Progress) -> None:
        """Keep the weights if they are the best so far; `progress` takes note."""
        if value <= progress.best:
            progress.since_best += 1
            return
        progress.best, progress.best_step, progress.since_best = value, progress.step, 0
        if self.path is None:
            self._best = copy.deepcopy(self._kept.state_dict())
            return
        if processes.is_first():
            with sealed(self.path) as unfinished:
                save_model(self._kept, str(unfinished))

    def is_over(self, progress: Progress) -> bool:
        """True when `patience` evaluations have passed without a better one."""
        return self.options.patience is not None and progress.since_best >= self.options.patience

    def refuse_missing(self, progress: Progress) -> None:
        """Raise `DamagedFile` where the best weights of a training that goes on are not there."""
        if self.path and progress.best_step >= 0 and not self.path.exists():
            raise DamagedFile(f"is missing, with the weights of step {progress.best_step}. {_AGAIN}", self.path)

    def restore_best(self) -> None:
        """Give the component its best weights, those it has where none were kept."""
        if self._best is not None:
            self._kept.load_state_dict(self._best)
        elif self.path and self.path.exists():
            seals.check_file(self.path, _AGAIN)
            try:
                load_model(self._kept, str(self.path))
            except (SafetensorError, RuntimeError, OSError, MemoryError) as error:
                raise DamagedFile(f"is damaged: {error}. {_AGAIN}", self.path) from error
        self.component.changed()
