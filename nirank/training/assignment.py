"""The task of a training, and its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nirank.checkpoints import checkpoint
from nirank.component import Component
from nirank.data.collection import Collection
from nirank.data.corpus import field_of
from nirank.errors import BadInput
from nirank.pipeline.algebra import Scoring, Stage
from nirank.seals import sealed
from nirank.training import batch, processes, resume_plan
from nirank.training.dev import Dev
from nirank.training.feature_lists import Describer
from nirank.training.options import Options


@dataclass(frozen=True)
class Fitted:
    """The outcome of a training.

    `stage` is the component with its best weights, `steps` how many there were, `best` the measure on dev of the
    weights that were kept and `best_step` when that was (None without dev), `log` the lines of the log, `folder`
    where all lies (`trained:FOLDER` is its name).
    """

    stage: Stage
    steps: int
    best: float | None
    best_step: int | None
    log: list[dict[str, Any]]
    folder: Path | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """The task of `nirank.fit`; `describer` knows the features that the component reads, if it reads any."""

    stage: Stage
    loss: Component | None
    sampler: Component
    collection: Collection
    describer: Describer | None
    options: Options
    dev: Dev | None
    teacher: Scoring | None
    folder: Path | None

    def __post_init__(self) -> None:
        if self.dev is None and (self.options.patience or self.options.evaluate_every):
            raise BadInput("patience and evaluate_every need a collection to evaluate on: give dev=COLLECTION.")
        if self.teacher and self.component in self.teacher.components():
            name = self.component.name
            raise BadInput(
                f"{name} would learn from itself: it is part of teacher = {self.teacher!r}. Take another teacher."
            )

    @property
    def component(self) -> Component:
        """The component that is trained."""
        return self.stage.component

    @property
    def parts(self) -> dict[str, Component]:
        """The components that take part, by what they do."""
        parts = {"component": self.component, "loss": self.loss, "sampler": self.sampler}
        return {name: part for name, part in parts.items() if part}

    def begin(self, stages: Mapping[str, Stage]) -> None:
        """Let component, loss and sampler prepare for the collection; `stages` are those that expressions may name.

        A loss is also told how many dimensions the vectors have that are trained, or None.
        """
        if self.component.can("begin"):
            corpus = field_of(self.collection.corpus, self.component.field)
            self.component.target.begin(replace(self.collection, corpus=corpus))
            self.component.changed()
        if self.loss and (begin := self.loss.method("begin")):
            begin(self.collection, batch.dimensions(self.component, self.collection.corpus))
            self.loss.changed()
        self.sampler.target.begin(self.collection, stages)

    def described(self) -> dict[str, Any]:
        """All that the outcome depends on, as it is noted in the folder."""
        dev, describer = self.dev, self.describer
        data = {"collection": self.collection, "dev": dev.collection if dev else None}
        pipelines = {
            "pipeline": dev.ranking if dev else None,
            "features": describer.features if describer else None,
            "teacher": self.teacher,
        }
        return resume_plan.describe(self.parts, pipelines, self.options, data)

    def write_checkpoint(self) -> None:
        """Write the trained component into the folder, with what the loss has learned."""
        if self.folder and processes.is_first():
            with sealed(self.folder / checkpoint.CHECKPOINT) as unfinished:
                checkpoint.save(self.component, unfinished)
                if self.loss:
                    checkpoint.save_loss(self.loss, unfinished)
