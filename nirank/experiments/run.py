"""Run an experiment: index, search, measure, compare, and write the results."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from nirank import environment
from nirank.errors import BadInput
from nirank.execution.sharing import sharing
from nirank.experiments.experiment import Experiment, naming
from nirank.experiments.plugin_beside import load_beside
from nirank.experiments.results import Results
from nirank.experiments.systems import compared, run_systems
from nirank.experiments.write import refuse_unwritable, write
from nirank.files import alone, refuse_existing
from nirank.plugins import observers


def run(
    experiment: Experiment | str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    show: Callable[[Results], None] | None = None,
    work: Path | None = None,
    report: bool = True,
) -> Results:
    """Run an experiment: index, search, measure, compare.

    `experiment` may be the path of a TOML file, or a dictionary of what stands in one; a `nirank_plugin.py` beside it
    is loaded first. With `out`, a folder is written: a TREC run and the values of each query for each system,
    `measures.json`, the resolved `experiment.toml`, a `manifest.json`, and, where images are searched or searched with,
    a page to look at, `contact.html`. With `report`, a page that can be sent is written too, `report.html`; it needs
    the extra `report`, and the environment variable `NIRANK_REPORT=0` leaves it out wherever it is not wanted. The
    folder is written beside and moved into place; raises `BadInput` where it exists already, and for ids that cannot
    stand in a run. `show` is called with the results before they are written, so that they are seen even if that fails.
    A pipeline that fails is told in `Results.failed`, and the others go on; where all fail, it is raised.

    With a table [folds], stages are trained and settings chosen anew in each fold, in the folder `work`, where an
    interrupted run goes on; unless given, it is a hidden one beside `out`, which goes when all is done. There is one
    result, of all queries.
    """
    experiment = Experiment.given(experiment)
    for table, command in (("tune", "tune"), ("train", "train")):
        if getattr(experiment, table) and not experiment.folds:
            raise BadInput(
                f"has a table [{table}]: run it with `nirank {command} {experiment.where}`.", experiment.path
            )
    folder = None if out is None else Path(out).resolve()
    refuse_existing(folder)
    with alone(folder, "nirank run") if folder else nullcontext():
        return _run(experiment, folder, show, work, report)


def _run(
    experiment: Experiment,
    folder: Path | None,
    show: Callable[[Results], None] | None,
    work: Path | None,
    report: bool,
) -> Results:
    refuse_existing(folder)
    load_beside(experiment)
    environment.seed_everything(experiment.seed)
    watching = experiment.observers()
    with observers.switched_on(watching):
        with _place_to_work(experiment, folder, work) as place:
            results = _results(experiment, folder is not None, place)
        if show:
            show(results)
        if folder:
            write(results, folder, report)
        finish(watching, results, folder)
    return results


@contextmanager
def _place_to_work(experiment: Experiment, folder: Path | None, work: Path | None) -> Iterator[Path]:
    """The folder where folds are trained and tuned; one of its own stays if the block fails, to go on in."""
    if work is not None or not experiment.folds:
        yield work or Path()
    elif folder is None:
        with tempfile.TemporaryDirectory(prefix="nirank-folds-") as temporary:
            yield Path(temporary)
    else:
        place = folder.with_name(f".{folder.name}.folds")
        yield place
        shutil.rmtree(place, ignore_errors=True)


def _results(experiment: Experiment, written: bool, work: Path) -> Results:
    opened = experiment.open()
    if written:
        with naming(f"{experiment.where}: collection"):
            refuse_unwritable(opened)
    if experiment.folds:
        from nirank.experiments.cross_validation import cross_validated  # which trains: torch is imported by it

        return cross_validated(experiment, opened, work)
    with sharing():
        systems, failed = run_systems(experiment, experiment.build(), opened)
    return Results(experiment, opened, systems, compared(experiment, systems), failed)


def finish(observers: Iterable[Any], results: Results, folder: Path | None) -> None:
    """Pass the results of an experiment, and their folder, to the observers that have a method for it."""
    for observer in observers:
        if callable(finished := getattr(observer, "finished", None)):
            finished(results, folder)
