"""Folders that `nirank run` wrote, read again: the run of a system, what it was made from, what was measured."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nirank.data.collection import Collection
from nirank.differences.changed import table_of
from nirank.errors import BadInput, DamagedFile, UnknownName
from nirank.experiments.experiment import Experiment
from nirank.experiments.plugin_beside import load_beside
from nirank.experiments.write import MANIFEST
from nirank.files import small_text
from nirank.pipeline.algebra import Ranking

_SUFFIX = ".run"


@dataclass(frozen=True)
class Folder:
    """A folder of results."""

    path: Path

    @property
    def systems(self) -> list[str]:
        """The names of the systems whose runs are there."""
        names = (path.name.removesuffix(_SUFFIX) for path in self.path.glob(f"*{_SUFFIX}"))
        return sorted(name for name in names if self.made(name))

    def system(self, wanted: str | None) -> str:
        """The system that is meant: the named one, or the only one. Raises where that is not clear."""
        if wanted is not None and wanted not in self.systems:
            raise UnknownName("system", wanted, self.systems, f"({self.path})")
        if wanted is None and len(self.systems) != 1:
            names = ", ".join(self.systems) or "none"
            example = self.run((self.systems or ["NAME"])[0])
            raise BadInput(f"there are several systems, or none: {names}. Name one, such as {example}.", self.path)
        return wanted or self.systems[0]

    def run(self, system: str) -> Path:
        """The run of a system."""
        return self.path / f"{system}{_SUFFIX}"

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest, with the tables of the experiment. Folders of former versions have less in it."""
        return {"experiment": self._experiment(), **_read(self.path / MANIFEST)}

    def made(self, system: str) -> bool:
        """False for a run that was laid beside the results, of which the manifest says nothing."""
        pipelines = table_of(_read(self.path / MANIFEST), "pipelines")
        return not pipelines or system in pipelines

    def recorded(self, system: str) -> dict[str, float]:
        """The means that were measured when the run was made; none where that is not known."""
        path = self.path / "measures.json"
        means = table_of(table_of(_read(path), system), "measures") if path.exists() else {}
        return {name: value for name, value in means.items() if isinstance(value, (int, float))}

    def rebuilt(self, system: str) -> tuple[Ranking, Collection]:
        """The pipeline of a system and its collection, from the experiment in the folder. Raises as `nirank run`."""
        experiment = Experiment.read(self.path / "experiment.toml")
        load_beside(experiment)
        built = experiment.build()
        if system not in built:
            raise UnknownName("pipeline", system, built, f"({experiment.where})")
        return built[system], experiment.open()

    def _experiment(self) -> Mapping[str, Any]:
        with suppress(OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
            return tomllib.loads((self.path / "experiment.toml").read_text(encoding="utf-8"))
        return {}


def folder_of(path: Path) -> Folder | None:
    """The folder of results that a path names, or that it names a run in; None for a run elsewhere.

    Raises `BadInput` for another folder.
    """
    if path.is_dir():
        if not (path / MANIFEST).is_file():
            raise BadInput(f"is a folder without {MANIFEST}, so `nirank run` did not write it: name a run in it.", path)
        return Folder(path)
    inside = path.suffix == _SUFFIX and path.is_file() and (path.parent / MANIFEST).is_file()
    return Folder(path.parent) if inside and Folder(path.parent).made(path.stem) else None


def _read(path: Path) -> dict[str, Any]:
    """A file of JSON with a table in it. Raises `DamagedFile` for anything else."""
    try:
        told = json.loads(small_text(path))
    except (OSError, ValueError, RecursionError) as fault:
        raise DamagedFile(f"cannot be read: {fault}. Run the experiment again, or name a run.", path) from None
    if not isinstance(told, dict):
        raise DamagedFile("is no table of JSON. Run the experiment again, or name a run.", path)
    return told
