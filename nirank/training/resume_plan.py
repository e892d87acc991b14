"""The plan of a training, written down in its folder, so that only the very same one goes on there."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nirank import hashing, seals
from nirank.checkpoints import checkpoint
from nirank.component import Component
from nirank.data.collection import Collection, fingerprints
from nirank.errors import BadInput, DamagedFile
from nirank.files import beside, small_text
from nirank.hints import spelled_out
from nirank.pipeline.algebra import Pipeline
from nirank.training import processes
from nirank.training.best_weights import BEST
from nirank.training.log import LOG
from nirank.training.options import Options, Precision
from nirank.training.state import STATE

PLAN = "plan.json"
#: Options that do not change what is learned.
_FREE = {"save_every", "log_every"}
#: Options that plans of before do not have, and which change nothing where they are None.
_LATER = {"anneal", "epoch_steps"}


def describe(
    parts: Mapping[str, Component],
    pipelines: Mapping[str, Pipeline | None],
    options: Options,
    data: Mapping[str, Collection | None],
) -> dict[str, Any]:
    """All that the outcome depends on, as JSON would hold it."""
    given = dataclasses.asdict(options)
    unset = {name for name in _LATER if given[name] is None}
    kept = {name: value for name, value in given.items() if name not in _FREE | unset}
    return {
        **{name: _part(part) for name, part in parts.items()},
        **{name: None if pipeline is None else _composed(pipeline) for name, pipeline in pipelines.items()},
        **{name: None if collection is None else fingerprints(collection) for name, collection in data.items()},
        "options": kept,
        "processes": processes.count(),
    }


def is_under_way(folder: Path, described: Mapping[str, Any]) -> bool:
    """True where `folder` holds this training, interrupted.

    Raises `BadInput` where it holds another one, one that is finished, or anything else.
    """
    if not folder.exists() or (folder.is_dir() and all(is_leftover(path) for path in folder.iterdir())):
        return False
    if is_finished(folder):
        raise BadInput("holds a training that is finished; name another folder or remove it.", folder)
    if not (folder / PLAN).exists():
        raise BadInput("exists already and holds no training to go on with; name another folder or remove it.", folder)
    noted = _noted(folder / PLAN)
    noted["options"] = _spelled_out(noted.get("options"))
    wanted = json.loads(json.dumps(described))
    differs = [name for name in wanted if noted.get(name) != wanted[name]]
    if differs:
        anew = " An interrupted training has changed its object: build the object again." * ("component" in differs)
        raise BadInput(
            f"holds another training: {', '.join(differs)} differ. Name another folder or remove it.{anew}", folder
        )
    return (folder / STATE).exists()


def is_finished(folder: Path) -> bool:
    """True where `folder` holds what a training has made; what is left of one that was killed just then is removed."""
    if not (folder / checkpoint.CHECKPOINT).exists():
        return False
    if (folder / PLAN).exists():
        finish(folder)
    return True


def finish(folder: Path) -> None:
    """Remove what a training that is finished does not need to go on from."""
    for name in (STATE, BEST):
        seals.remove(folder / name)


def _noted(path: Path) -> dict[str, Any]:
    """The plan that was written. Raises `DamagedFile` where it cannot be read."""
    try:
        noted = json.loads(small_text(path))
        return {**noted}
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedFile(f"is damaged: {error}. Remove the folder of the training, and train again.", path) from error


def _spelled_out(options: Any) -> Any:
    """The options of a plan as they are written now: the precision had a short name once."""
    if not isinstance(options, dict) or "precision" not in options:
        return options
    return {**options, "precision": spelled_out(options["precision"], Precision)}


def is_leftover(path: Path) -> bool:
    """True for a file that was being written when a training was killed."""
    return any(path.name.startswith(f".{name}.") for name in (PLAN, STATE, BEST, LOG, checkpoint.CHECKPOINT))


def write(folder: Path, described: Mapping[str, Any]) -> None:
    """Note the plan in the folder, which is made, and remove what was left half-written there."""
    clean(folder)
    with beside(folder / PLAN) as unfinished:
        unfinished.write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def clean(folder: Path) -> None:
    """Remove what was being written when a training was killed."""
    for path in folder.glob(".*"):
        if is_leftover(path):
            shutil.rmtree(path)


def _part(component: Component) -> dict[str, Any]:
    """A component that has a name by its fingerprint, any other object by its class, plain attributes and weights."""
    if component.entry:
        return {"use": component.spec, "fingerprint": component.fingerprint}
    target = component.target
    plain = {name: value for name, value in vars(target).items() if isinstance(value, (str, int, float, bool))}
    if dataclasses.is_dataclass(target):  # what it counts while it works is no setting
        settings = {field.name for field in dataclasses.fields(target) if field.init}
        plain = {name: value for name, value in plain.items() if name in settings}
    state = target.state_dict() if isinstance(target, torch.nn.Module) else {}
    return {"use": component.spec, "attributes": plain, "weights": hashing.weights_digest(state)}


def _composed(pipeline: Pipeline) -> dict[str, Any]:
    return {"expression": repr(pipeline), "components": [_part(component) for component in pipeline.components()]}
