"""The systems of an experiment: each is indexed, searched and measured, and they are compared."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.evaluation.evaluating import deepest_cutoff, evaluate
from nirank.execution.sharing import sharing
from nirank.experiments import latency
from nirank.experiments.experiment import Experiment, naming
from nirank.experiments.results import System
from nirank.pipeline.algebra import DEPTH, Ranking
from nirank.plugins.faults import message_of
from nirank.plugins.loading import active

if TYPE_CHECKING:
    from nirank.evaluation.significance import Comparison

log = logging.getLogger("nirank")


def run_systems(
    experiment: Experiment, rankings: Mapping[str, Ranking], opened: Collection
) -> tuple[dict[str, System], dict[str, str]]:
    """The systems that ran, and the errors of those that failed; raises the error where all of them did."""
    systems: dict[str, System] = {}
    failed: dict[str, str] = {}
    for name, ranking in rankings.items():
        try:
            with naming(f"{experiment.where}: pipelines.{name}"):
                systems[name] = _run_system(name, ranking, opened, experiment)
        except Exception as error:  # of whatever component: hours of the others are not lost for it
            if len(failed) + 1 == len(rankings):
                raise
            failed[name] = message_of(error)
            log.error("%s failed and is left out of the results: %s", name, failed[name])
            log.debug("the error of %s", name, exc_info=error)
    return systems, failed


def _run_system(name: str, ranking: Ranking, opened: Collection, experiment: Experiment) -> System:
    ranking.index(opened.corpus)
    options = experiment.evaluate
    found, seconds = searched(ranking, opened, options.measures)
    evaluation = evaluate(found, opened.judgments, options.measures, ties=options.ties)
    active().hook.nirank_evaluated(system=name, evaluation=evaluation)
    times = latency.measure(ranking, opened, options.latency) if options.latency else {}
    return System(name, ranking, found, evaluation, seconds, times)


def searched(ranking: Ranking, opened: Collection, measures: Sequence[str]) -> tuple[Candidates, float]:
    """The documents that a pipeline finds, as deep as measures look, and the seconds that it alone would take."""
    deepest = deepest_cutoff(measures)
    deep = ranking if deepest <= DEPTH else ranking.at_depth(deepest)
    with sharing() as memo:
        start, saved = time.perf_counter(), memo.saved
        found = deep.search(opened.queries, opened.corpus)
        return found, time.perf_counter() - start + memo.saved - saved


def compared(experiment: Experiment, systems: Mapping[str, System]) -> Comparison | None:
    """The systems compared with the baseline; None where there is one alone, or where the baseline failed."""
    if len(systems) < 2:
        return None
    from nirank.evaluation.significance import compare

    options = experiment.evaluate
    evaluations = {name: system.evaluation for name, system in systems.items()}
    baseline = options.baseline or next(iter(systems))
    if baseline not in systems:  # which failed
        return None
    return compare(evaluations, baseline, test=options.test, seed=experiment.seed)
