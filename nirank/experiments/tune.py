"""Tuning: the settings of an experiment that a table [tune] names are tried on dev, and the best are written down."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from nirank.data.collection import Collection, fingerprints
from nirank.errors import BadInput
from nirank.experiments import manifest
from nirank.experiments.experiment import Experiment, naming
from nirank.experiments.journal import Journal
from nirank.experiments.plugin_beside import load_beside
from nirank.experiments.space import Tuning
from nirank.experiments.trials import Prepare, Trials, as_it_is, parts_of
from nirank.experiments.tuned import Tuned
from nirank.files import alone, beside, refuse_existing
from nirank.formats.toml import to_toml
from nirank.plugins import observers

log = logging.getLogger("nirank")

JOURNAL, BEST, TABLE, PICTURE, MANIFEST = (
    *("trials.jsonl", "experiment.toml", "trials.tsv", "tuning.svg"),
    "manifest.json",
)


def tune(
    experiment: Experiment | str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    show: Callable[[Tuned], None] | None = None,
) -> Tuned:
    """Try the settings that the table [tune] of an experiment names, and find the best on its dev queries.

    With `out`, a folder is written: every trial with the values of each query (`trials.jsonl`) and their means
    (`trials.tsv`), a picture where matplotlib is installed, and the experiment with the best settings
    (`experiment.toml`), which `nirank.run` takes. Called again after an interruption, it goes on where it was. `show`
    is called with the result before it is written.

    A trial that fails is told, and the others go on. Raises `BadInput` where the queries that choose are among those of
    the experiment's own collection, and where `out` holds another tuning, or anything else; the error of the last trial
    where all fail.
    """
    experiment = Experiment.given(experiment)
    _refuse_other_tables(experiment)
    folder = None if out is None else Path(out).resolve()
    if folder and not (folder / JOURNAL).exists():
        refuse_existing(folder)
    with alone(folder, "nirank tune") if folder else nullcontext():
        load_beside(experiment)
        with observers.switched_on(experiment.observers()):
            tuned = _tuned(experiment, folder)
            if show:
                show(tuned)
            if folder:
                _write(tuned, folder)
    return tuned


def _refuse_other_tables(experiment: Experiment) -> None:
    if not experiment.tune:
        raise BadInput("there is no table [tune], nothing to tune: run it with `nirank run`.", experiment.path)
    if experiment.folds:
        raise BadInput("has a table [folds]: `nirank run` chooses the settings in each fold.", experiment.path)
    if experiment.train:
        raise BadInput(
            "has tables [tune] and [train]: train first, and tune the experiment that is written into its results; or "
            "add a table [folds], and both are done in each fold by `nirank run`.",
            experiment.path,
        )


def _tuned(experiment: Experiment, folder: Path | None) -> Tuned:
    tuning = experiment.tuning()
    if tuning is None:
        raise BadInput("there is no table [tune].", experiment.path)
    with naming(f"{experiment.where}: [tune]"):
        tuning.check(experiment.stage)
        dev = _opened(experiment, tuning)
    return tried(experiment, tuning, dev, folder)


def tried(
    experiment: Experiment, tuning: Tuning, dev: Collection, folder: Path | None, prepare: Prepare = as_it_is
) -> Tuned:
    """Every trial on the queries of `dev`; the journal is kept in `folder`. Raises where all trials fail.

    `prepare` makes of an experiment with the settings of a trial the one that is measured: it may train its stages.
    """
    parts = parts_of(dev, tuning, experiment.seed)
    ids = [name for part in parts for name in part.queries.ids]
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    described = {**experiment.as_table(), **fingerprints(dev), "queries": ids}
    journal = Journal(folder and folder / JOURNAL, {key: described[key] for key in _DECIDES})
    trials = Trials(experiment, tuning, parts, journal, prepare).all()
    if not any(len(trial) == len(ids) for trial in trials):
        raise BadInput(f"every trial failed; the last one: {trials[-1]}: {trials[-1].error}", experiment.where)
    return Tuned(experiment, tuning, dev, ids, trials)


#: What trials follow from: they go on only where it is the same.
_DECIDES = (
    *("tune", "stage", "numbers", "pipelines", "write", "seed", "evaluate"),
    *("corpus", "queries", "judgments"),
)


def _opened(experiment: Experiment, tuning: Tuning) -> Collection:
    """The collection that settings are chosen on. Raises `BadInput` where its queries are those that measure."""
    if tuning.collection is None:
        raise BadInput(
            'collection = { use = ..., split = "dev" } is missing: what chooses the settings must be other queries '
            "than those that measure them at last."
        )
    dev, own = experiment.opened(tuning.collection), experiment.open()
    if common := _in_common(dev, own):
        raise BadInput(
            f"{len(common):,} of the {len(dev.queries):,} queries that would choose the settings are also those that "
            f"measure them, such as {common[0]!r}: name another split in `collection`, or use [folds]."
        )
    if repeated := _repeated(dev, own):
        log.warning(
            "%s: %d queries that choose the settings have the text of one that measures them, such as %r.",
            *(dev.name, len(repeated), repeated[0]),
        )
    if "test" in dev.name.lower().split("/"):
        log.warning("%s: the settings are chosen on queries that are called test.", dev.name)
    return dev


def _in_common(one: Collection, other: Collection) -> list[str]:
    """The ids of queries in both; equal ids count where the contents are equal, or the documents."""
    contents = dict(zip(other.queries.ids, other.queries.contents, strict=True))
    alike = one.corpus.fingerprint == other.corpus.fingerprint
    pairs = zip(one.queries.ids, one.queries.contents, strict=True)
    return [name for name, content in pairs if name in contents and (alike or _equal(content, contents[name]))]


def _repeated(one: Collection, other: Collection) -> list[str]:
    """The ids of queries whose texts are asked in the other collection too, under whatever id."""
    texts = {content for content in other.queries.contents if isinstance(content, str)}
    pairs = zip(one.queries.ids, one.queries.contents, strict=True)
    return [name for name, content in pairs if isinstance(content, str) and content in texts]


def _equal(one: Any, other: Any) -> bool:
    return isinstance(one, (str, Path)) and one == other


def _write(tuned: Tuned, folder: Path) -> None:
    from nirank.experiments import tuning_picture
    from nirank.experiments.write import copy_plugin, write_json

    with beside(folder / TABLE) as path:
        path.write_text("\n".join([*_lines(tuned), ""]), encoding="utf-8")
    with beside(folder / MANIFEST) as path:
        write_json(path, _manifest(tuned))
    with beside(folder / BEST) as path:
        path.write_text(to_toml(tuned.resolved.as_table()), encoding="utf-8")
    copy_plugin(tuned.experiment, folder)
    drawn = tuning_picture.draw(tuned)
    if drawn is not None:
        with beside(folder / PICTURE) as path:
            path.write_text(drawn, encoding="utf-8")


def _manifest(tuned: Tuned) -> dict[str, Any]:
    options = tuned.experiment.evaluate
    rankings = {name: ranking for name, ranking in tuned.resolved.build().items() if name == tuned.tuning.pipeline}
    return manifest.describe(rankings, tuned.collection, tuned.experiment.seed, options.ties)


def _lines(tuned: Tuned) -> list[str]:
    """A line a trial: its number, its settings, the means of the measures, how many queries, what failed."""
    measures = list(tuned.best.values)
    lines = ["\t".join(["trial", *tuned.tuning.space, *measures, "queries", "error"])]
    for trial in tuned.trials:
        means = [f"{trial.mean(name):.6f}" if len(trial) else "" for name in measures]
        cells = [trial.number, *trial.settings.values(), *means, len(trial), " ".join((trial.error or "").split())]
        lines.append("\t".join(map(str, cells)))
    return lines
