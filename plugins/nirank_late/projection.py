"""The projection of a late-interaction model: read from where ColBERT, PyLate or nirank has put it, or new."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nirank.errors import BadInput
from nirank.kit.transformers import file_of
from nirank_late.template import trained_as_late

log = logging.getLogger("nirank")

#: Where the weights of the projection may be: ours, ColBERT's, PyLate's.
_PROJECTIONS = ("projection.safetensors", "model.safetensors", "1_Dense/model.safetensors")
_WEIGHT = "linear.weight"
_WEIGHTS = (_WEIGHT, f"module.{_WEIGHT}", f"_orig_mod.{_WEIGHT}", f"module._orig_mod.{_WEIGHT}", f"model.{_WEIGHT}")
_DIM = 128


def read(model: str, hidden: int, dim: int | None, seed: int) -> nn.Linear | None:
    """The projection that comes with a model, or a new one: orthogonal, so that it keeps angles as well as it can.

    Raises `BadInput` for one of another shape, and where a model that says how it was trained comes without.
    """
    if dim == 0:
        return None
    stored = _stored(model)
    if stored is not None and stored.shape != (dim or len(stored), hidden):
        raise BadInput(
            f"{model!r} has a projection of the shape {list(stored.shape)}, but dim = {dim} and its transformer need "
            f"[{dim}, {hidden}]: leave dim out, or set {len(stored)}."
        )
    if stored is None:
        stored = _new(model, dim or _DIM, hidden, seed)
    linear = nn.Linear(hidden, len(stored), bias=False)
    linear.weight = nn.Parameter(stored.float())
    return linear


def save(linear: nn.Linear, folder: Path) -> None:
    """Write a projection where `read` finds it."""
    save_file({_WEIGHT: linear.weight.detach().cpu().contiguous()}, folder / _PROJECTIONS[0])


def _new(model: str, dim: int, hidden: int, seed: int) -> Tensor:
    if trained_as_late(model):
        raise BadInput(
            f"{model!r} was trained for late interaction, and its projection ({_WEIGHT}) is in none of "
            f"{', '.join(_PROJECTIONS)}: copy it there, or set dim = 0 if it has none."
        )
    log.warning("%s has no projection: one to %d dimensions is new, and drawn from seed = %d.", model, dim, seed)
    drawn = torch.empty(dim, hidden)
    nn.init.orthogonal_(drawn, generator=torch.Generator().manual_seed(seed))
    return drawn


def _stored(model: str) -> Tensor | None:
    for name in (*_PROJECTIONS, *_shards(model)):
        if not (path := file_of(model, name)):
            continue
        try:
            with safe_open(path, "pt") as file:
                if named := [key for key in file.keys() if key in _WEIGHTS]:  # noqa: SIM118 (it is no mapping)
                    return file.get_tensor(named[0])
        except SafetensorError as error:
            raise BadInput(f"is damaged: {error}. Copy the model again.", path) from error
    return None


def _shards(model: str) -> list[str]:
    """The files of a model that is saved in several."""
    if not (path := file_of(model, "model.safetensors.index.json")):
        return []
    return sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))  # which transformers read
