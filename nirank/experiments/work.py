"""The folder in which the folds of an experiment are trained and tuned: only the very same experiment goes on there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nirank.data.collection import Collection, fingerprints
from nirank.errors import BadInput, DamagedFile
from nirank.experiments.experiment import Experiment
from nirank.files import beside

NOTE = "work.json"
#: What is trained and chosen in folds follows from these, from the first measure, and from the collection.
_DECIDES = ("pipelines", "stage", "numbers", "train", "tune", "write", "folds", "seed")


def claim(folder: Path, experiment: Experiment, opened: Collection) -> None:
    """Note in a folder what work there follows from. Raises `BadInput` where something else is noted there already.

    Else a fold would be measured with stages that were trained on other folds, and have seen its queries.
    """
    wanted = json.loads(json.dumps(_described(experiment, opened), default=str))
    path = folder / NOTE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with beside(path) as unfinished:
            unfinished.write_text(json.dumps(wanted, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    noted = _noted(path)
    if differs := [key for key in wanted if noted.get(key) != wanted[key]]:
        raise BadInput(
            f"holds the work of another experiment that was interrupted: {', '.join(differs)} differ. Remove it, or "
            "name another folder for the results.",
            folder,
        )


def _described(experiment: Experiment, opened: Collection) -> dict[str, Any]:
    table = experiment.as_table()
    return {
        **{key: table[key] for key in _DECIDES},
        "measure": experiment.evaluate.measures[0],
        "queries": list(opened.queries.ids),
        **fingerprints(opened),
    }


def _noted(path: Path) -> dict[str, Any]:
    try:
        return {**json.loads(path.read_text(encoding="utf-8"))}
    except (ValueError, TypeError) as error:
        raise DamagedFile(f"is damaged: {error}. Remove its folder to begin anew.", path) from error
