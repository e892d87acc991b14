"""What came of an experiment, and the folder it is written to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nirank import manifest
from nirank.data import Candidates, Collection
from nirank.errors import BadInput
from nirank.evaluation import Evaluation
from nirank.files import beside
from nirank.pipeline import Ranking
from nirank.trec import write_run

if TYPE_CHECKING:
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
        _write_json(folder / "comparison.json", asdict(results.comparison))
    (folder / "experiment.toml").write_text(to_toml(results.experiment.as_table()), encoding="utf-8")
    _write_json(folder / "manifest.json", manifest.describe(results))


def refuse_existing(out: str | Path | None) -> None:
    """Raise `BadInput` where `out` is there already and is not an empty folder."""
    if out is not None and Path(out).exists() and (not Path(out).is_dir() or any(Path(out).iterdir())):
        raise BadInput("exists already; results are never overwritten. Name another folder or remove it.", out)


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
    # JSON's strings, numbers and lists are TOML's.
    lines = [f"{_toml_key(key)} = {json.dumps(value, ensure_ascii=False)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, Mapping):
            name = prefix + _toml_key(key)
            lines += ["", f"[{name}]", to_toml(value, f"{name}.")]
    return "\n".join(lines) + ("" if prefix else "\n")


def _toml_key(key: str) -> str:
    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare else json.dumps(key, ensure_ascii=False)
