"""Fit a component with a loss: the loop, and what is needed to start it and to end it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from nirank.training import needs  # noqa: F401 - says what is missing, where the next lines would fail

# isort: split

import accelerate
import torch

from nirank.component import Component
from nirank.data.collection import Collection
from nirank.errors import BadInput, UnknownName
from nirank.execution import indexes
from nirank.files import alone
from nirank.pipeline.algebra import Fused, Ranking, Scoring, Stage, as_ranking, as_scoring, load, reads_features
from nirank.pipeline.expression import parse
from nirank.pipeline.feature_ranking import Featured, FeatureSet, before
from nirank.plugins import observers
from nirank.plugins.assembly import seeded
from nirank.plugins.loading import active
from nirank.progress import Advance, progress
from nirank.training import batch, best_weights, non_gradient, processes, resume_plan, state
from nirank.training.assignment import Fitted, Task
from nirank.training.best_weights import Selection
from nirank.training.dev import Dev
from nirank.training.examples import Examples, Timetable, within_corpus
from nirank.training.feature_lists import Describer
from nirank.training.log import Journal
from nirank.training.objective import Objective
from nirank.training.optimiser import Updates, trainable
from nirank.training.options import Options
from nirank.training.parts import built_loss, built_sampler
from nirank.training.sampling import Judged
from nirank.training.schedules import Schedules
from nirank.training.step import Learner, Tally

#: After so many steps, or an epoch, a list should have counted in the loss.
_PATIENT = 100
#: Seconds between two states, where it is not said in steps.
_SAVE_AFTER = 300
#: The names that accelerate has for precisions.
_ACCELERATES = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


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

    `component`, `loss` and `sampler` are each one of three things: a registered name (`"ranknet"`), what `nirank.load`
    returned (`nirank.load("nce", learned=True)`), or an object of your own. A component of your own is an `nn.Module`
    with `score`, or with `encode` and `encode_documents`; a loss is called with `scores`, `labels` and `mask`, all
    `[lists, length]`, and returns a scalar tensor; a sampler has `each`, `begin` and `sample`
    (`nirank.training.Sampler`). Without a sampler the lists are those that are judged. Losses and samplers may be sums,
    `"0.5 * margin_mse + softmax_cross_entropy"` and `"in_batch + mined(bm25 % 50)"`, or lists of parts.

    A ranker over features is given with what it reads (`features(bm25, ql) >> linear`), or finds that in `pipeline`;
    what is no `nn.Module` learns in a way of its own (`nirank.training.non_gradient`), where `loss` may be None. A
    component with `begin(collection)` first makes itself ready for the collection. `dev` chooses the best weights, by
    searching with `pipeline`, in which the component stands, or else by ranking the judged documents. `teacher` scores
    the lists for a loss that learns from one. Both may be expressions, in which the component and `stages` stand by
    name, as in that of a sampler. `options` are those of `nirank.training.Options`.

    With `out`, that folder gets a checkpoint and a log; while training runs it also holds the state from which the
    same call goes on after an interruption, to the same weights (on one device). In several processes (torchrun,
    accelerate launch) each calls it. Raises `BadInput` for what cannot be trained, and where `out` holds something
    else.
    """
    if not isinstance(collection, Collection):
        raise BadInput(
            f"`fit` trains a component, with a loss, on a collection; here is a {type(collection).__name__}."
        )
    if isinstance(component, Fused):
        raise BadInput("the weights of a fusion are found by `nirank.fit_fusion(pipeline, collection)`.")
    asked = _options(options)
    with seeded(asked.seed):
        stage, described, named = _subject(component, stages or {})
        ranking = None if pipeline is None else as_ranking(_parsed(pipeline, named))
        features = described or _features(stage.component, ranking)
        if loss is None and not non_gradient.grows(stage.component):
            raise BadInput(f'{stage.component.name} is trained with a loss: give one, such as loss="ranknet".')
        best_weights.check(stage.component, ranking, dev, asked.measure)
        collection = within_corpus(collection)
        describer = Describer(features, collection) if features else None
        task = Task(
            stage=stage,
            loss=None if loss is None else built_loss(loss),
            sampler=built_sampler(sampler or Judged()),
            collection=describer.collection if describer else collection,
            describer=describer,
            options=asked,
            dev=Dev(dev, stage.component, ranking, features) if dev else None,
            teacher=None if teacher is None else as_scoring(_parsed(teacher, named)),
            folder=None if out is None else Path(out).resolve(),
        )
    task.begin(named)
    if non_gradient.grows(stage.component):
        return non_gradient.grow(task)
    training = Training(task)
    with training.prepared():
        training.run()
        return training.finish()


class Training:
    """One training by gradients: its task, and how far it has come."""

    def __init__(self, task: Task) -> None:
        self.task, self.component, self.folder = task, task.component, task.folder
        options = self.options = task.options
        batch.check(self.component)
        trainable(self.component)
        if task.loss is None:
            raise BadInput(f'{self.component.name} is trained with a loss: give one, such as loss="ranknet".')
        modules = [part.target for part in task.parts.values() if isinstance(part.target, torch.nn.Module)]
        accelerator = _accelerator(modules, options)
        objective = Objective(task.loss, task.teacher, self.component.method("penalty"), task.collection.weights)
        _refuse_ungathered(objective, options)
        self.updates = Updates(self.component, objective, options, accelerator)
        self.learner = Learner(
            self.component, objective, task.sampler, task.collection, options, accelerator, task.describer
        )
        self.examples = Examples.of(task.collection, task.sampler.target.each)
        self.timetable = Timetable.of(len(self.examples), processes.count(), options)
        self.schedules = Schedules(options.anneal, task.parts)
        self.selection = Selection(self.component, task.loss, options, self.folder)
        self.reached = state.Progress()
        self._described = task.described() if self.folder else {}
        self._saved = time.monotonic()
        self._holders = state.holders(self.component, task.loss, task.sampler, self.updates)

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """In the block the component is in training mode, the random state of others is kept, and the log is open."""
        target, before = self.component.target, self.component.target.training
        with ExitStack() as stack:
            stack.callback(self.component.changed)  # also where training is interrupted
            if self.folder and processes.is_first():
                stack.enter_context(alone(self.folder, "training"))
            self._resume()
            self.journal = Journal(self.folder if processes.is_first() else None, self.reached.step)
            stack.enter_context(torch.random.fork_rng(range(torch.cuda.device_count())))
            stack.enter_context(observers.switched_on([self.journal]))
            stack.callback(target.train, before)
            target.train()
            yield

    def run(self) -> None:
        """Run the steps that are left."""
        what = f"Training {self.component.name}"
        with self.schedules.restored(), progress(what, self.timetable.steps) as advance:
            advance(self.reached.step)
            while self.reached.step < self.timetable.steps and not self.selection.is_over(self.reached):
                self._step(advance)

    def finish(self) -> Fitted:
        """Take the best weights, and write the checkpoint."""
        processes.wait()  # the first one may be writing them
        self.selection.restore_best()
        processes.wait()  # the first one removes them
        self.task.write_checkpoint()
        if self.folder and processes.is_first():
            resume_plan.finish(self.folder)
        processes.wait()
        reached = self.reached
        best, best_step = (reached.best, reached.best_step) if self.task.dev else (None, None)
        return Fitted(self.task.stage, reached.step, best, best_step, self.journal.lines, self.folder)

    def _resume(self) -> None:
        if self.folder is None:
            return
        under_way = resume_plan.is_under_way(self.folder, self._described)
        processes.wait()  # all have looked before the first one writes
        if under_way:
            self.reached = state.load(self.folder / state.STATE, self._holders)
            self.selection.refuse_missing(self.reached)
            processes.wait()
            if processes.is_first():
                resume_plan.clean(self.folder)
        elif processes.is_first():
            resume_plan.write(self.folder, self._described)
        processes.wait()

    def _step(self, advance: Advance) -> None:
        step = self.reached.step
        if refresh := self.task.sampler.method("refresh"):
            self._refresh(refresh, step)
        self.schedules.move_to(step / max(self.timetable.steps - 1, 1))
        tally = Tally()
        for number, chosen in enumerate(self.timetable.batches(step)):
            if len(chosen) >= processes.count():  # at the end of an epoch there may not be a list for each process
                tally += self.learner.learn(self.examples.take(chosen), [self.options.seed, step, number])
        done, length = self.updates.apply(tally, (step + 1) / (self.timetable.steps + 1))
        self.reached.take(done)
        advance(1)
        self._report(length)
        if self.task.dev and self.timetable.evaluates(self.reached.step):
            self._evaluate(self.task.dev)
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
                f"no list so far has anything for {self.learner.objective.loss.spec} to learn from: a list needs "
                f"documents of different labels. The sampler is {self.task.sampler.spec}; take one that adds negatives."
            )
        self._tell(
            epoch=round(self.timetable.epoch(reached.step), 4),
            loss=since.cost / since.counted if since.counted else 0.0,
            learning_rate=self.updates.rate,
            gradient=length,
            lists=since.lists,
            skipped=since.lists - since.counted,
        )

    def _evaluate(self, dev: Dev) -> None:
        value = processes.from_first(self.selection.measure(dev) if processes.is_first() else None)
        self.selection.judge(value, self.reached)
        self._tell(**{f"dev {self.options.measure}": value})

    def _tell(self, **values: float) -> None:
        if processes.is_first():
            hook = active().hook.nirank_trained
            hook(component=self.component, step=self.reached.step, values=values)


def _refuse_ungathered(objective: Objective, options: Options) -> None:
    if objective.penalised and options.gather and processes.count() > 1:
        raise BadInput(
            "the penalty of this encoder looks at labels or contents, which are not gathered from other processes: "
            "train with gather = false."
        )
    if "queries" in objective.named and options.gather and processes.count() > 1:
        raise BadInput(
            f"{objective.loss.spec} also looks at queries, which are not gathered from other processes: train in one "
            "process (chunk = ... makes room for large batches), or with gather = false."
        )


def _subject(component: Any, stages: Mapping[str, Stage]) -> tuple[Stage, FeatureSet | None, dict[str, Stage]]:
    """The stage that is trained, the features it was given with, and the stages that expressions may name."""
    given = component if isinstance(component, (Stage, Featured)) else load(component)
    stage = Stage(given.ranker) if isinstance(given, Featured) else given
    return stage, given.features if isinstance(given, Featured) else None, {stage.component.name: stage, **stages}


def _features(component: Component, ranking: Ranking | None) -> FeatureSet | None:
    """The features that a ranker reads, from the pipeline that it stands in."""
    if not reads_features(component):
        return None
    if found := ranking and before(component, ranking):
        return found
    raise BadInput(
        f"{component.name} ranks by features: train `features(...) >> {component.name}`, or give a pipeline with it."
    )


def _accelerator(modules: Sequence[torch.nn.Module], options: Options) -> accelerate.Accelerator:
    """Accelerate's view of the machine, for a component and its loss, which go where the component is.

    In several processes each has a device, and all start with the weights of the first.
    """
    on_cpu = all(parameter.device.type == "cpu" for parameter in modules[0].parameters())
    # It refuses another precision or device than that of an earlier training.
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=processes.count() == 1)
    accelerator = accelerate.Accelerator(mixed_precision=_ACCELERATES[options.precision], cpu=on_cpu)
    processes.leave_at_the_end()
    accelerator.gradient_accumulation_steps = 1  # else what a launcher sets would divide our gradients once more
    device = accelerator.device if processes.count() > 1 else next(modules[0].parameters()).device
    for module in modules:
        module.to(device)
    processes.share(modules)
    return accelerator


def _parsed(given: Any, stages: Mapping[str, Stage]) -> Any:
    return parse(given, stages) if isinstance(given, str) else given


def _options(given: Mapping[str, Any]) -> Options:
    known = [option.name for option in dataclasses.fields(Options)]
    for name in given:
        if name not in known:
            raise UnknownName("option of training", name, known)
    return Options(**given)
