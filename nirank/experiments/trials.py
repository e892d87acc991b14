"""Trials of settings: each is measured on the queries that choose, or on more and more of them."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank import environment
from nirank.data.collection import Collection
from nirank.evaluation.evaluating import evaluate
from nirank.execution.sharing import Memo, sharing
from nirank.experiments import named_stages
from nirank.experiments.experiment import Experiment
from nirank.experiments.journal import Journal, Record, as_kept
from nirank.experiments.space import Tuning
from nirank.experiments.systems import searched
from nirank.experiments.tpe import Proposals
from nirank.hashing import digest, place_of
from nirank.pipeline.algebra import Ranking, Stage
from nirank.plugins.faults import message_of
from nirank.progress import Advance, progress

log = logging.getLogger("nirank")

#: What makes of an experiment with the settings of a trial the one that is measured.
Prepare = Callable[[Experiment], Experiment]

#: Queries that the first round of halving measures on, at least.
_FEWEST = 16


@dataclass(frozen=True)
class Trial:
    """Settings and what came of them: `values` of each measure, one a query, as far as they were measured.

    `error` says why nothing came of them.
    """

    number: int
    settings: dict[str, Any]
    values: dict[str, NDArray[np.float64]]
    seconds: float = 0.0
    error: str | None = None

    def __len__(self) -> int:
        """The number of queries that it was measured on."""
        return min(map(len, self.values.values()), default=0)

    def mean(self, measure: str) -> float:
        """The mean of a measure over these queries; -inf where there are none."""
        return float(self.values[measure].mean()) if len(self) else -math.inf

    def to_dict(self) -> dict[str, Any]:
        """The settings and the means, as JSON can hold them."""
        means = {name: self.mean(name) for name in self.values}
        told = {"number": self.number, "settings": self.settings, "measures": means, "queries": len(self)}
        return told | {"seconds": self.seconds, "error": self.error}

    def __str__(self) -> str:
        return ", ".join(f"{name} = {value!r}" for name, value in self.settings.items())


class Trials:
    """Tries settings of a pipeline on parts of a collection, each of which is a round of halving, and keeps a journal.

    Components whose settings do not change from one trial to the next stay, and with them what they found.
    """

    def __init__(
        self,
        experiment: Experiment,
        tuning: Tuning,
        parts: Sequence[Collection],
        journal: Journal,
        prepare: Prepare,
    ) -> None:
        self.prepare = prepare
        self.experiment, self.tuning, self.parts, self.journal = experiment, tuning, parts, journal
        self._stages: dict[str, Stage] = {}
        self._memo = Memo()
        self._advance: Advance = lambda step: None

    def all(self) -> list[Trial]:
        """Every trial, by number."""
        with sharing() as self._memo, progress("Tuning", self._count()) as self._advance:
            if self.tuning.method == "tpe":
                return self._proposed()
            points = self.tuning.points(self.experiment.seed)
            first = [Trial(number, settings, {}) for number, settings in enumerate(points)]
            return self._halved(first) if self.tuning.halving else [self._tried(trial, 0) for trial in first]

    def _count(self) -> int:
        share = self.tuning.halving or 1
        counts = [self.tuning.trials]
        for _ in self.parts[1:]:
            counts.append(max(1, counts[-1] // share))
        return sum(counts)

    def _proposed(self) -> list[Trial]:
        proposals, done = Proposals(self.tuning.space, self.experiment.seed), []
        for number in range(self.tuning.trials):
            done.append(self._tried(Trial(number, proposals.next(number), {}), 0))
            proposals.tell(None if done[-1].error else done[-1].mean(self.tuning.measure))
        return done

    def _halved(self, trials: list[Trial]) -> list[Trial]:
        """Successive halving (Jamieson and Talwalkar 2016): the best share goes on, to that many times the queries."""
        done, going = {trial.number: trial for trial in trials}, trials
        for part in range(len(self.parts)):
            going = [self._tried(trial, part) for trial in going]
            done |= {trial.number: trial for trial in going}
            best = sorted(going, key=lambda trial: -trial.mean(self.tuning.measure))
            going = [trial for trial in best[: max(1, len(best) // (self.tuning.halving or 1))] if not trial.error]
        return [done[number] for number in sorted(done)]

    def _tried(self, trial: Trial, part: int) -> Trial:
        """The trial, measured on one more part of the queries; what has failed before is tried again."""
        self._memo.renew()
        self._advance(1)
        record = self.journal.find(trial.number, part)
        if record is None or record["error"] or record["settings"] != as_kept(trial.settings):
            record = {"settings": trial.settings, **self._measured(trial, part)}
            self.journal.keep(trial.number, part, record)
        if record["error"]:
            log.warning("trial %d (%s) failed and is left out: %s", trial.number, trial, record["error"])
            return replace(trial, error=record["error"])
        values = {name: np.array([*trial.values.get(name, ()), *row]) for name, row in record["values"].items()}
        return replace(trial, values=values, seconds=trial.seconds + record["seconds"])

    def _measured(self, trial: Trial, part: int) -> Record:
        """The measures of settings on a part; of whatever component an error is, the study goes on."""
        start, options, asked = time.perf_counter(), self.experiment.evaluate, self.parts[part]
        names = list(dict.fromkeys([*options.measures, self.tuning.measure]))
        try:
            environment.seed_everything(self.experiment.seed)
            ranking = self.ranking(trial.settings)
            ranking.index(asked.corpus)
            found, _ = searched(ranking, asked, names)
            values = evaluate(found, asked.judgments, names, ties=options.ties).values
        except Exception as error:
            log.debug("the error of trial %d", trial.number, exc_info=error)
            return {"error": message_of(error)}
        seconds = round(time.perf_counter() - start, 4)
        return {"error": None, "seconds": seconds, "values": {name: row.tolist() for name, row in values.items()}}

    def ranking(self, settings: dict[str, Any]) -> Ranking:
        """The pipeline with these settings; stages that the last trial had too are those of then."""
        experiment = self.prepare(self.experiment.at(settings))
        keys = {name: _key(name, experiment) for name in experiment.stage_names}
        stages = {name: self._stages[key] for name, key in keys.items() if key in self._stages}
        stages |= experiment.loaded([name for name in keys if name not in stages and name in experiment.stage])
        ranking = experiment.ranking(self.tuning.pipeline, stages)
        self._stages = {keys[name]: stage for name, stage in stages.items() if name in keys}
        return ranking


def as_it_is(experiment: Experiment) -> Experiment:
    """The experiment itself: there is nothing to prepare."""
    return experiment


def _key(name: str, experiment: Experiment) -> str:
    tables = [experiment.stage.get(each, {}) for each in named_stages.in_order([name], experiment.stage)]
    return f"{name} {digest(tables)}"


def parts_of(collection: Collection, tuning: Tuning, seed: int) -> list[Collection]:
    """The queries that are judged, whole, or for halving in parts: each has what the round of that number adds.

    Queries are in the order of a hash of their ids, so that those of a round are some of all kinds.
    """
    judged = np.flatnonzero(collection.judgments.lengths)
    share = tuning.halving
    if share is None or len(judged) <= _FEWEST:
        return [collection.take(judged)]
    ids = collection.queries.ids
    order = np.array(sorted(judged.tolist(), key=lambda row: place_of(ids[row], seed)), np.int64)
    rounds = 1 + min(_logarithm(tuning.trials, share), _logarithm(len(order) // _FEWEST, share))
    edges = [0, *(math.ceil(len(order) / share ** (rounds - number)) for number in range(1, rounds + 1))]
    return [collection.take(order[low:high]) for low, high in itertools.pairwise(edges)]


def _logarithm(number: int, base: int) -> int:
    """The whole part of a logarithm, of a number from 1 on; 0 for 0."""
    count = 0
    while number >= base:
        number, count = number // base, count + 1
    return count
