"""The state of a training: all that the next step depends on, in one file, so that it can go on there.

The order of examples, sampling and dropout need no place in it, since they follow from the seed and the step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nirank import seals
from nirank.component import Component
from nirank.errors import BadInput
from nirank.seals import sealed
from nirank.training.step import Tally

STATE = "state.pt"


@dataclasses.dataclass
class Progress:
    """The progress of training: steps done, the best evaluation, how many followed without a better one.

    `counted` is how many lists have counted in the loss, `tally` that of the steps since the last line of the log.
    """

    step: int = 0
    best: float = -np.inf
    best_step: int = -1
    since_best: int = 0
    counted: float = 0.0
    tally: Tally = dataclasses.field(default_factory=Tally)

    def take(self, tally: Tally) -> None:
        """Take note of a step."""
        self.step += 1
        self.counted += tally.counted
        self.tally += tally


def save(path: Path, progress: Progress, holders: Mapping[str, Any]) -> None:
    """Write the state of the given objects; the file is replaced as a whole."""
    state = {"progress": dataclasses.asdict(progress), **{name: _get(holder) for name, holder in holders.items()}}
    with sealed(path) as unfinished:
        try:
            torch.save(state, unfinished)
        except RuntimeError as error:  # torch has no other word for a full disk
            raise OSError(f"{path} cannot be written: {error}") from error


def load(path: Path, holders: Mapping[str, Any]) -> Progress:
    """Give the objects the state they had; only tensors and plain values are read.

    Raises `BadInput` for a file that is damaged.
    """
    seals.check_file(path, "Remove the folder of the training, and train again.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        for name, holder in holders.items():
            _set(holder, state[name])
        return _made(Progress, state["progress"] | {"tally": _made(Tally, state["progress"]["tally"])})
    except Exception as error:  # torch has no one type for files that it cannot read
        raise BadInput(
            f"is damaged, training cannot go on from it: {error}. Remove the folder, and train again.", path
        ) from error


def _made(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """A dataclass of values of the types of its defaults. Raises `TypeError` for others."""
    made, default = kind(**values), kind()
    for name in values:
        wanted, found = type(getattr(default, name)), type(getattr(made, name))
        if found is not wanted and (wanted, found) != (float, int):
            raise TypeError(f"{name} is a {found.__name__}")
    return made


def holders(component: Component, loss: Component, sampler: Component, updates: Any) -> dict[str, Any]:
    """The objects whose state the next step depends on."""
    generators = {
        f"random.{name}": value for name, value in vars(loss.target).items() if isinstance(value, torch.Generator)
    }
    stateful = {"component": component.target, "updates": updates}
    if hasattr(loss.target, "load_state_dict"):
        stateful["loss"] = loss.target
    if hasattr(sampler.target, "restore"):
        stateful["sampler"] = sampler.target
    return stateful | generators


def _get(holder: Any) -> Any:
    if isinstance(holder, torch.Generator):
        return holder.get_state()
    if hasattr(holder, "restore"):
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in holder.state().items()}
    return holder.state_dict()


def _set(holder: Any, state: Any) -> None:
    if isinstance(holder, torch.Generator):
        holder.set_state(state)
    elif hasattr(holder, "restore"):
        holder.restore({name: value.numpy() for name, value in state.items()})
    else:
        holder.load_state_dict(state)
