"""Run an experiment: index, search, measure, compare, and write the results."""

from __future__ import annotations

import filecmp
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nirank import environment
from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.errors import BadInput
from nirank.evaluation.evaluating import deepest_cutoff, evaluate
from nirank.execution.sharing import sharing
from nirank.experiments import latency
from nirank.experiments.experiment import Experiment, naming
from nirank.experiments.results import Results, System
from nirank.experiments.write import MANIFEST, refuse_unwritable, write
from nirank.files import alone, refuse_existing
from nirank.pipeline.algebra import DEPTH, Ranking
from nirank.plugins import observers, trust
from nirank.plugins.faults import message_of
from nirank.plugins.loading import active, load_file

if TYPE_CHECKING:
    from nirank.evaluation.significance import Comparison
    from nirank.experiments.results import Results

log = logging.getLogger("nirank")


def run(
    experiment: Experiment | str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    show: Callable[[Results], None] | None = None,
) -> Results:
    """Run an experiment: index, search, measure, compare.

    `experiment` may be the path of a TOML file, or a dictionary of what stands in one; a `nirank_plugin.py` beside it
    is loaded first. With `out`, a folder is written: a TREC run and the values of each query for each system,
    `measures.json`, the resolved `experiment.toml`, a `manifest.json`, and, where images are searched or searched with,
    a page to look at, `contact.html`. It is written beside and moved into place; raises `BadInput` where it exists
    already, and for ids that cannot stand in a run. `show` is called with the results before they are written, so that
    they are seen even if that fails. A pipeline that fails is told in `Results.failed`, and the others go on; where all
    fail, it is raised.
    """
    experiment = Experiment.given(experiment)
    if experiment.tune:
        raise BadInput(f"has a table [tune]: run it with `nirank tune {experiment.where}`.", experiment.path)
    if experiment.train:
        raise BadInput(f"has tables [train]: run it with `nirank train {experiment.where}`.", experiment.path)
    folder = None if out is None else Path(out).resolve()
    refuse_existing(folder)
    with alone(folder, "nirank run") if folder else nullcontext():
        return _run(experiment, folder, show)


def _run(experiment: Experiment, folder: Path | None, show: Callable[[Results], None] | None) -> Results:
    refuse_existing(folder)
    load_beside(experiment)
    environment.seed_everything(experiment.seed)
    watching = experiment.observers()
    with observers.switched_on(watching):
        results = _results(experiment, written=folder is not None)
        if show:
            show(results)
        if folder:
            write(results, folder)
        finish(watching, results, folder)
    return results


def load_beside(experiment: Experiment) -> None:
    """Load the plugin beside an experiment, unless a copy of it is loaded already."""
    beside = experiment.plugin_file
    loaded = [Path(plugin.name) for plugin in active().known if plugin.name.endswith("nirank_plugin.py")]
    if beside and not any(path.exists() and filecmp.cmp(path, beside, shallow=False) for path in loaded):
        trust.check(beside, came_with_results=(beside.parent / MANIFEST).exists())
        load_file(beside)


def _results(experiment: Experiment, written: bool) -> Results:
    rankings = experiment.build()
    opened = experiment.open()
    if written:
        with naming(f"{experiment.where}: collection"):
            refuse_unwritable(opened)
    with sharing():
        systems, failed = _systems(experiment, rankings, opened)
    return Results(experiment, opened, systems, _compare(experiment, systems), failed)


def _systems(
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
    """What a pipeline finds, as deep as measures look, and the seconds that it takes without another's help."""
    deepest = deepest_cutoff(measures)
    deep = ranking if deepest <= DEPTH else ranking.at_depth(deepest)
    with sharing() as memo:
        start, saved = time.perf_counter(), memo.saved
        found = deep.search(opened.queries, opened.corpus)
        return found, time.perf_counter() - start + memo.saved - saved


def _compare(experiment: Experiment, systems: Mapping[str, System]) -> Comparison | None:
    if len(systems) < 2:
        return None
    from nirank.evaluation.significance import compare

    options = experiment.evaluate
    evaluations = {name: system.evaluation for name, system in systems.items()}
    baseline = options.baseline or next(iter(systems))
    if baseline not in systems:  # which failed
        return None
    return compare(evaluations, baseline, test=options.test, seed=experiment.seed)


def finish(observers: Iterable[Any], results: Results, folder: Path | None) -> None:
    """Pass the results of an experiment, and their folder, to the observers that have a method for it."""
    for observer in observers:
        if callable(finished := getattr(observer, "finished", None)):
            finished(results, folder)
