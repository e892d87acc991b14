"""Fit a component with a loss: the loop, and what is needed to start it and to end it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accelerate
import torch
from safetensors.torch import save_model

from nirank import indexes, observers, weights
from nirank.data import Collection
from nirank.errors import BadInput, UnknownName
from nirank.expression import parse
from nirank.files import beside
from nirank.pipeline import Ranking, Scoring, Stage, as_ranking, as_scoring, load
from nirank.plugins import Component, active, build
from nirank.progress import Advance, progress
from nirank.sampling import Judged
from nirank.training import forward, plan, processes, selection, state
from nirank.training.examples import Examples, Timetable, within_corpus
from nirank.training.journal import Journal
from nirank.training.learning import Learner, Tally
from nirank.training.objective import Objective
from nirank.training.options import Options
from nirank.training.selection import BEST, Selection
from nirank.training.updates import Updates, trainable

#: In a checkpoint, what the loss has learned, if it learns.
LOSS = "loss.safetensors"
#: After so many steps, or an epoch, a list should have counted in the loss.
_PATIENT = 100
#: Seconds between two states, where it is not said in steps.
_SAVE_AFTER = 300


@dataclass(frozen=True)
class Fitted:
    """What came of a training.

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


def fit(
    component: Any,
    loss: Any,
    collection: Collection,
    *,
    sampler: Any = None,
    dev: Collection | None = None,
    pipeline: Ranking | str | None = None,
    teacher: Scoring | str | None = None,
    stages: Mapping[str, Stage] | None = None,
    out: str | Path | None = None,
    **options: Any,
) -> Fitted:
    """Train a scorer or an encoder on the judgments of a collection.

    `component` is a registered name, what `nirank.load` returned, or an object of your own: an `nn.Module` with
    `score`, or with `encode` and `encode_documents`. `loss` and `sampler` are such too (`nirank.load("nce",
    learned=True)`); without a sampler the lists are those that are judged. `dev` chooses the best weights, by
    searching with `pipeline`, in which the component stands, or else by ranking the judged documents. `teacher` scores
    the lists for a loss that learns from one. Both may be expressions, in which the component and `stages` stand by
    name, as in that of a sampler. `options` are those of `nirank.training.options.Options`.

    With `out`, that folder gets a checkpoint and a log; while training runs it also holds the state from which the
    same call goes on after an interruption, to the same weights (on one device). In several processes (torchrun,
    accelerate launch) each calls it. Raises `BadInput` for what cannot be trained, and where `out` holds something
    else.
    """
    stage = component if isinstance(component, Stage) else load(component)
    named = {stage.component.name: stage, **(stages or {})}
    training = Training(
        component=stage.component,
        loss=_built(loss, "loss"),
        sampler=_built(sampler or Judged(), "sampler"),
        collection=within_corpus(collection),
        options=_options(options),
        dev=dev,
        ranking=None if pipeline is None else as_ranking(_parsed(pipeline, named)),
        teacher=None if teacher is None else as_scoring(_parsed(teacher, named)),
        folder=None if out is None else Path(out).resolve(),
    )
    training.sampler.target.begin(training.collection, named)
    with training.prepared():
        training.run()
        return training.finish(stage)


@dataclass(kw_only=True, eq=False)
class Training:
    """One training: what `fit` was asked for, and how far it has come."""

    component: Component
    loss: Component
    sampler: Component
    collection: Collection
    options: Options
    dev: Collection | None
    ranking: Ranking | None
    teacher: Scoring | None
    folder: Path | None

    def __post_init__(self) -> None:
        component, options = self.component, self.options
        if self.dev is None and (options.patience or options.evaluate_every):
            raise BadInput("patience and evaluate_every are about evaluations on dev: give dev=COLLECTION.")
        forward.check(component)
        if self.teacher and component in self.teacher.components():
            raise BadInput(f"{component.name} would learn from itself: it stands in teacher = {self.teacher!r}.")
        if self.dev and not self.ranking:
            selection.check_judged(self.dev)
        parts = {"component": component, "loss": self.loss, "sampler": self.sampler}
        modules = [part.target for part in parts.values() if isinstance(part.target, torch.nn.Module)]
        trainable(component)
        accelerator = _accelerator(modules, options)
        objective = Objective(self.loss, self.teacher)
        if "queries" in objective.named and options.gather and processes.count() > 1:
            raise BadInput(
                f"{self.loss.spec} also compares queries, and those of other processes are not gathered: train in one "
                "process (chunk = ... makes room for large batches), or with gather = false."
            )
        self.updates = Updates(component, objective, options, accelerator)
        self.learner = Learner(component, objective, self.sampler, self.collection, options, accelerator)
        self.examples = Examples.of(self.collection, self.sampler.target.each)
        self.timetable = Timetable.of(len(self.examples), processes.count(), options)
        self.selection = Selection(component, self.loss, self.ranking, options, self.folder)
        self.reached = state.Progress()
        data = {"collection": self.collection, "dev": self.dev}
        pipelines = {"pipeline": self.ranking, "teacher": self.teacher}
        self._described = plan.describe(parts, pipelines, options, data) if self.folder else {}
        self._saved = time.monotonic()
        self._holders = state.holders(component, self.loss, self.sampler, self.updates)

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Inside, the component is in training mode, others' chance is left alone, and the log is open."""
        target, before = self.component.target, self.component.target.training
        with ExitStack() as stack:
            stack.callback(self.component.changed)  # also where training is interrupted
            self._resume()
            self.journal = Journal(self.folder if processes.is_first() else None, self.reached.step)
            stack.enter_context(torch.random.fork_rng(range(torch.cuda.device_count())))
            stack.enter_context(observers.switched_on([self.journal]))
            stack.callback(target.train, before)
            target.train()
            yield

    def run(self) -> None:
        """All steps that are left."""
        with progress(f"Training {self.component.name}", self.timetable.steps) as advance:
            advance(self.reached.step)
            while self.reached.step < self.timetable.steps and not self.selection.is_over(self.reached):
                self._step(advance)

    def finish(self, stage: Stage) -> Fitted:
        """Take the best weights, and write the checkpoint."""
        processes.wait()  # the first one may be writing them
        self.selection.restore_best()
        processes.wait()  # the first one removes them
        if self.folder and processes.is_first():
            with beside(self.folder / weights.CHECKPOINT) as unfinished:
                weights.save(self.component, unfinished)
                if self.learner.objective.parameters:
                    save_model(self.loss.target, str(unfinished / LOSS))
            for name in (state.STATE, BEST):
                (self.folder / name).unlink(missing_ok=True)
        processes.wait()
        reached = self.reached
        best, best_step = (reached.best, reached.best_step) if self.dev else (None, None)
        return Fitted(stage, reached.step, best, best_step, self.journal.lines, self.folder)

    def _resume(self) -> None:
        if self.folder is None:
            return
        under_way = plan.is_under_way(self.folder, self._described)
        processes.wait()  # all have looked before the first one writes
        if under_way:
            self.reached = state.load(self.folder / state.STATE, self._holders)
            processes.wait()
            if processes.is_first():
                plan.clean(self.folder)
        elif processes.is_first():
            plan.write(self.folder, self._described)
        processes.wait()

    def _step(self, advance: Advance) -> None:
        step = self.reached.step
        if callable(refresh := getattr(self.sampler.target, "refresh", None)):
            self._refresh(refresh, step)
        tally = Tally()
        for number, chosen in enumerate(self.timetable.batches(step)):
            if len(chosen) >= processes.count():  # at the end of an epoch there may not be a list for each process
                tally += self.learner.learn(self.examples.take(chosen), [self.options.seed, step, number])
        done, length = self.updates.apply(tally, (step + 1) / (self.timetable.steps + 1))
        self.reached.take(done)
        advance(1)
        self._report(length)
        if self.dev and self.timetable.evaluates(self.reached.step):
            self._evaluate(self.dev)
        self._save()

    def _save(self) -> None:
        """Write the state, every `save_every` steps or every five minutes."""
        every, seconds = self.options.save_every, time.monotonic() - self._saved
        due = self.reached.step % every == 0 if every else seconds > _SAVE_AFTER
        if due and self.folder and processes.is_first():
            state.save(self.folder / state.STATE, self.reached, self._holders)
            self._saved = time.monotonic()

    def _refresh(self, refresh: Any, step: int) -> None:
        self.component.changed()
        with indexes.apart(self.component):
            refresh(step)

    def _report(self, length: float) -> None:
        """Tell how training goes, every `log_every` steps, and refuse to go on where nothing is learned."""
        reached = self.reached
        if reached.step % self.options.log_every and reached.step != self.timetable.steps:
            return
        since, reached.tally = reached.tally, Tally()
        if not reached.counted and reached.step >= min(_PATIENT, self.timetable.per_epoch):
            raise BadInput(
                f"no list counts in {self.loss.spec}: a list needs documents of "
                f"different labels. The sampler is {self.sampler.spec}; one that adds negatives may be what you want."
            )
        self._tell(
            epoch=round(self.timetable.epoch(reached.step), 4),
            loss=since.cost / since.counted if since.counted else 0.0,
            learning_rate=self.updates.rate,
            gradient=length,
            lists=since.lists,
            skipped=since.lists - since.counted,
        )

    def _evaluate(self, dev: Collection) -> None:
        value = processes.from_first(self.selection.measure(dev) if processes.is_first() else None)
        self.selection.judge(value, self.reached)
        self._tell(**{f"dev {self.options.measure}": value})

    def _tell(self, **values: float) -> None:
        if processes.is_first():
            hook = active().hook.nirank_trained
            hook(component=self.component, step=self.reached.step, values=values)


def _accelerator(modules: Sequence[torch.nn.Module], options: Options) -> accelerate.Accelerator:
    """Accelerate's view of the machine, for a component and its loss, which go where the component is.

    In several processes each has a device, and all start with the weights of the first.
    """
    on_cpu = all(parameter.device.type == "cpu" for parameter in modules[0].parameters())
    # It refuses another precision or device than that of an earlier training.
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=processes.count() == 1)
    precision = "no" if options.precision == "float32" else options.precision
    accelerator = accelerate.Accelerator(mixed_precision=precision, cpu=on_cpu)
    accelerator.gradient_accumulation_steps = 1  # else what a launcher sets would divide our gradients once more
    device = accelerator.device if processes.count() > 1 else next(modules[0].parameters()).device
    for module in modules:
        module.to(device)
    processes.share(modules)
    return accelerator


def _built(given: Any, kind: str) -> Component:
    if isinstance(given, str):
        return build(given, kinds=(kind,))
    if isinstance(given, Stage):
        return given.component
    return given if isinstance(given, Component) else Component(type(given).__name__, given)


def _parsed(given: Any, stages: Mapping[str, Stage]) -> Any:
    return parse(given, stages) if isinstance(given, str) else given


def _options(given: Mapping[str, Any]) -> Options:
    known = [option.name for option in dataclasses.fields(Options)]
    for name in given:
        if name not in known:
            raise UnknownName("option of training", name, known)
    return Options(**given)
