"""The folder that the results of an experiment are written to."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nirank.data.collection import Collection
from nirank.data.columns import to_column
from nirank.errors import BadInput
from nirank.experiments import contact_sheet
from nirank.experiments.experiment import Experiment
from nirank.experiments.reporting.page import write_page
from nirank.experiments.results import Results, System
from nirank.files import refuse_existing
from nirank.formats.toml import to_toml
from nirank.formats.trec import write_run
from nirank.plugins import trust
from nirank.seals import sealed

if TYPE_CHECKING:
    import pyarrow as pa


MANIFEST = "manifest.json"


def write(results: Results, folder: Path, report: bool = True) -> None:
    """Write the folder of an experiment's results, beside and then into place; with a `report`, unless told not to."""
    refuse_existing(folder)
    with sealed(folder) as unfinished:
        unfinished.mkdir()
        _write_into(unfinished, results)
        if report and os.environ.get("NIRANK_REPORT") != "0":
            write_page(results, unfinished)


def _write_into(folder: Path, results: Results) -> None:
    for name, system in results.systems.items():
        # a pipeline that says partial=True asked for such a run
        write_run(folder / f"{name}.run", results.collection.queries, system.run, tag=name, partial=True)
        (folder / f"{name}.queries.tsv").write_text(_per_query(results, system), encoding="utf-8")
    write_json(folder / "measures.json", results.measures())
    if results.comparison:
        write_json(folder / "comparison.json", results.comparison.to_dict())
    if results.folds:
        write_json(folder / "folds.json", [asdict(row) for row in results.folds])
    if results.repeated:
        write_json(folder / "seeds.json", [asdict(row) for row in results.over_seeds()])
    for other in results.repeated:
        inner = folder / f"seed-{other.experiment.seed}"
        inner.mkdir()
        _write_into(inner, other)
    (folder / "experiment.toml").write_text(to_toml(results.experiment.as_table()), encoding="utf-8")
    write_json(folder / MANIFEST, results.manifest())
    if contact_sheet.pictured(results.collection):
        (folder / contact_sheet.PAGE).write_text(contact_sheet.page(results), encoding="utf-8")
    copy_plugin(results.experiment, folder)


def copy_plugin(experiment: Experiment, folder: Path) -> None:
    """Copy the plugin beside an experiment, so that `experiment.toml` runs from the folder too."""
    if plugin := experiment.plugin_file:
        shutil.copyfile(plugin, folder / plugin.name)
        trust.remember(plugin)


def refuse_unwritable(collection: Collection) -> None:
    """Raise `BadInput`, before the search, for ids that cannot be written to a TREC run."""
    documents = collection.corpus.ids
    _refuse_matches("document", documents.gather(np.arange(len(documents))), _UNFIT)
    _refuse_matches("query", to_column(collection.queries.ids), f"{_UNFIT}|^#")


def _refuse_matches(what: str, ids: pa.Array | pa.ChunkedArray, pattern: str) -> None:
    import pyarrow.compute as pc

    unfit = ids.filter(pc.match_substring_regex(ids, pattern))
    if len(unfit):
        raise BadInput(
            f"{len(unfit):,} {what} ids cannot be written to a TREC run, such as {unfit[0].as_py()!r}: ids must "
            "not have white space or control characters, and those of queries must not start with '#'. Rename them."
        )


#: As `nirank.formats.trec` has it: nothing at all, or anything up to the blank.
_UNFIT = r"^$|[\x00-\x20]"


def _per_query(results: Results, system: System) -> str:
    values = system.evaluation.values
    header = "\t".join(["query", *values])
    ids = results.collection.queries.ids
    rows = zip(*(column.tolist() for column in values.values()), strict=True)
    lines = [
        "\t".join([ids[query], *(f"{value:.6f}" for value in row)])
        for query, row in zip(system.evaluation.queries.tolist(), rows, strict=True)
    ]
    return "\n".join([header, *lines, ""])


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON for people to read."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
