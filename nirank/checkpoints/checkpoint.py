"""Checkpoints: the folder that a trained component is loaded from.

`component.json` says what to build, with which settings, and how it scores a few pairs
(`nirank.checkpoints.pinned_scores`); `weights.safetensors` holds the weights. A component that can write all it is made
of itself, because it starts from a model elsewhere, has a method `save(folder)`; it returns the table of the stage that
builds it again, in which a `Path` is one inside the folder. `trained:FOLDER` is the name of the component in that
folder, wherever a name can stand.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nirank import seals
from nirank.checkpoints import pinned_scores
from nirank.component import Component
from nirank.errors import BadInput
from nirank.files import small_text
from nirank.plugins.assembly import assemble
from nirank.plugins.loading import active
from nirank.registry import FIELD, STAGES, TRAINED

COMPONENT, WEIGHTS = "component.json", "weights.safetensors"
#: In a checkpoint, what the loss has learned.
LOSS = "loss.safetensors"
#: The folder of a training that holds its checkpoint.
CHECKPOINT = "checkpoint"


def save(component: Component, folder: Path) -> None:
    """Write a component's checkpoint into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    if component.can("save"):
        table = dict(component.target.save(folder))
        use, given = table.pop("use"), table | ({FIELD: component.field} if component.field else {})
    else:
        if not component.can("state_dict"):
            raise BadInput(
                f"{component.spec} cannot be written into a checkpoint: it has neither a method `save` nor weights. "
                "Where it is a setting of another component, name it by a folder or a registered name."
            )
        from safetensors.torch import save_model

        save_model(component.target, str(folder / WEIGHTS))
        use = component.entry.spec if component.entry else None
        given = {key: str(value) if isinstance(value, Path) else value for key, value in component.settings.items()}
    given = {key: _with_stage(key, value, folder) for key, value in given.items()}
    described = {
        "name": component.name,
        "use": use,
        "settings": given,
        "fingerprint": component.fingerprint,
        "origin": component.origin,
        "fixture": pinned_scores.record(component),
    }
    text = json.dumps(described, indent=1, ensure_ascii=False, default=_inside)
    (folder / COMPONENT).write_text(text + "\n", encoding="utf-8")
    seals.seal(folder)


def save_loss(loss: Component, folder: Path) -> None:
    """Write into a checkpoint what a loss has learned, but for modules that say `in_checkpoint = False`."""
    modules = loss.target.named_modules() if loss.can("named_modules") else ()
    left_out = tuple(
        f"{name}." if name else "" for name, module in modules if not getattr(module, "in_checkpoint", True)
    )
    parameters = dict(loss.target.named_parameters()) if loss.can("named_parameters") else {}
    if all(name.startswith(left_out) for name in parameters):
        return
    from safetensors.torch import save_file

    kept = {name: value for name, value in loss.target.state_dict().items() if not name.startswith(left_out)}
    save_file({name: value.clone() for name, value in kept.items()}, str(folder / LOSS))  # shared ones are refused
    seals.seal(folder)


def load(folder: Path, given: Mapping[str, Any] | None = None, name: str | None = None) -> Component:
    """Build the component of a checkpoint, or of the folder of a training.

    `given` settings take precedence over those it was trained with. Raises `BadInput` where there is no checkpoint,
    where it is damaged, where it does not score as it did, and for one of an object that is not registered:
    `load_weights` gives its weights to such an object.
    """
    folder = _checkpoint(folder)
    seals.check(folder, "Train it again, or copy the folder again.")
    described = _described(folder)
    if described["use"] is None:
        made = described["origin"]
        raise BadInput(
            f"holds only the weights of an object of the class {made}, which is not a registered component: build "
            "that object, and call nirank.checkpoints.checkpoint.load_weights(object, folder).",
            folder,
        )
    entry = active().registry.find(described["use"], STAGES)
    if entry.kind not in STAGES:
        raise BadInput(f"is of {entry.spec}, and a checkpoint is of a stage: {', '.join(STAGES)}.", folder / COMPONENT)
    stored = {key: _outside(value, folder) for key, value in described["settings"].items()}
    prepare = functools.partial(load_weights, folder=folder)
    component = assemble(entry, {**stored, **(given or {})}, name or described["name"], prepare)
    if (kept := described.get("fixture")) and not given:  # other settings may mean other scores
        pinned_scores.check(component, kept, folder)
    return component


def settings_of(folder: Path) -> dict[str, Any]:
    """The settings that a checkpoint was written with. Raises `BadInput` where there is none."""
    settings: dict[str, Any] = _described(_checkpoint(folder))["settings"]
    return settings


def load_weights(target: Any, folder: Path) -> None:
    """Give an object (an `nn.Module`) the weights of a checkpoint; nothing is done where it wrote itself.

    Raises `BadInput` where they are another model's, or damaged.
    """
    folder = _checkpoint(folder)
    if not (folder / WEIGHTS).exists():
        if callable(getattr(target, "save", None)):
            return
        raise BadInput(f"is damaged: the file {WEIGHTS} is missing. Train it again, or copy the folder again.", folder)
    from safetensors import SafetensorError
    from safetensors.torch import load_model

    try:
        load_model(target, str(folder / WEIGHTS))
    except (SafetensorError, RuntimeError) as error:
        raise BadInput(
            f"the weights do not fit {type(target).__name__}; give it the settings that it was saved with: {error}",
            folder / WEIGHTS,
        ) from error


def _checkpoint(folder: Path) -> Path:
    folder = Path(folder).expanduser()
    for place in (folder, folder / CHECKPOINT):
        if (place / COMPONENT).exists():
            return place
    raise BadInput(
        f"is not a checkpoint: it has no {COMPONENT}. Name a folder that `nirank train` or `nirank.fit` wrote.", folder
    )


def _described(folder: Path) -> dict[str, Any]:
    path = folder / COMPONENT
    try:
        described: dict[str, Any] = json.loads(small_text(path))
        described["settings"].items(), described["origin"]
        for value in (described["name"], described["use"] or ""):
            value.encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"is damaged: {error!r}. Train it again, or copy the folder again.", path) from error
    return described


def _with_stage(key: str, value: Any, folder: Path) -> Any:
    """The value of a setting; a stage is written into a folder of the setting's name, inside of that of the whole."""
    named = isinstance(value, str) and value.startswith(TRAINED)
    component = load(Path(value.removeprefix(TRAINED))) if named else getattr(value, "component", None)
    if not isinstance(component, Component):
        return value
    save(component, folder / key)
    return {"stage": key}


def _inside(value: Any) -> Any:
    """Write a setting of a type that JSON lacks."""
    return {"inside": value.as_posix()} if isinstance(value, Path) else str(value)


def _outside(value: Any, folder: Path) -> Any:
    if isinstance(value, dict) and value.keys() == {"stage"}:
        return f"{TRAINED}{folder / value['stage']}"
    return str(folder / value["inside"]) if isinstance(value, dict) and value.keys() == {"inside"} else value
