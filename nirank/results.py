"""What came of an experiment, and the folder it is written to."""

from __future__ import annotations

import json
import numbers
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nirank import contact, manifest
from nirank.data import Candidates, Collection
from nirank.errors import BadInput
from nirank.evaluation import Evaluation
from nirank.files import beside
from nirank.pipeline import Ranking
from nirank.strings import to_column
from nirank.trec import write_run

if TYPE_CHECKING:
    import pyarrow as pa

    from nirank.experiment import Experiment
    from nirank.significance import Comparison


@dataclass(frozen=True)
class System:
    """What came of one pipeline: its run, its measures, its times."""

    name: str
    ranking: Ranking
    run: Candidates
    evaluation: Evaluation
    seconds: float
    latency: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Results:
    """What came of an experiment."""

    experiment: Experiment
    collection: Collection
    systems: dict[str, System]
    comparison: Comparison | None

    @property
    def baseline(self) -> str:
        """The system that the others are compared with."""
        return self.experiment.evaluate.baseline or next(iter(self.systems))

    @property
    def measured(self) -> list[str]:
        """The names of the measures, as the evaluations have them."""
        return next(iter(self.systems.values())).evaluation.measures

    def measures(self) -> dict[str, Any]:
        """The measures of each system, with counts and latencies, as written to `measures.json`."""
        return {
            name: system.evaluation.to_dict() | {"seconds": round(system.seconds, 3), "latency_ms": system.latency}
            for name, system in self.systems.items()
        }


def write(results: Results, folder: Path) -> None:
    """Write the folder of an experiment's results, beside and then into place."""
    refuse_existing(folder)
    with beside(folder) as unfinished:
        unfinished.mkdir()
        _write_into(unfinished, results)


def _write_into(folder: Path, results: Results) -> None:
    for name, system in results.systems.items():
        write_run(folder / f"{name}.run", results.collection.queries, system.run, tag=name)
        (folder / f"{name}.queries.tsv").write_text(_per_query(results, system), encoding="utf-8")
    _write_json(folder / "measures.json", results.measures())
    if results.comparison:
        _write_json(folder / "comparison.json", results.comparison.to_dict())
    (folder / "experiment.toml").write_text(to_toml(results.experiment.as_table()), encoding="utf-8")
    _write_json(folder / "manifest.json", manifest.describe(results))
    if contact.pictured(results.collection):
        (folder / contact.PAGE).write_text(contact.page(results), encoding="utf-8")
    if plugin := results.experiment.plugin_file:
        shutil.copyfile(plugin, folder / plugin.name)  # so that experiment.toml runs from here too


def refuse_existing(out: str | Path | None) -> None:
    """Raise `BadInput` where `out` is there already and is not an empty folder."""
    if out is not None and Path(out).exists() and (not Path(out).is_dir() or any(Path(out).iterdir())):
        raise BadInput("exists already; results are never overwritten. Name another folder or remove it.", out)


def refuse_unwritable(collection: Collection) -> None:
    """Raise `BadInput` for ids that cannot stand in a TREC run: worth knowing before the search and not after it."""
    documents = collection.corpus.ids
    _refuse_matches("document", documents.gather(np.arange(len(documents))), _UNFIT)
    _refuse_matches("query", to_column(collection.queries.ids), f"{_UNFIT}|^#")


def _refuse_matches(what: str, ids: pa.Array | pa.ChunkedArray, pattern: str) -> None:
    import pyarrow.compute as pc

    unfit = ids.filter(pc.match_substring_regex(ids, pattern))
    if len(unfit):
        raise BadInput(
            f"{len(unfit):,} {what} ids cannot stand in a TREC run, the first is {unfit[0].as_py()!r}: "
            "an id has no white space or control characters, and that of a query does not start with '#'."
        )


#: As `nirank.trec` has it: nothing at all, or anything up to the blank.
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


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def to_toml(table: Mapping[str, Any], prefix: str = "") -> str:
    """A table as TOML: plain values first, then tables; what is None is left out."""
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping) and value is not None}
    lines = [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, Mapping):
            name = prefix + _toml_key(key)
            lines += ["", f"[{name}]", to_toml(value, f"{name}.")]
    return "\n".join(lines) + ("" if prefix else "\n")


def _toml_key(key: str) -> str:
    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare else _toml_string(key)


def _toml_value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case numbers.Integral():
            return str(int(value))
        case numbers.Real():
            return repr(float(value))  # inf and nan are words of TOML
        case list() | tuple():
            return f"[{', '.join(map(_toml_value, value))}]"
        case Mapping():  # in a list
            return f"{{{', '.join(f'{_toml_key(key)} = {_toml_value(part)}' for key, part in value.items())}}}"
        case date() | datetime() | time():
            return value.isoformat()
    return _toml_string(str(value))


def _toml_string(text: str) -> str:
    # JSON's strings are TOML's but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
