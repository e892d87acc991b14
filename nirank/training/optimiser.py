"""Updates of the weights: the optimiser, the learning rate of each step, gradients added up over processes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from nirank.component import Component
from nirank.errors import BadInput
from nirank.training import processes
from nirank.training.objective import Objective
from nirank.training.options import Options
from nirank.training.step import ADVICE, Tally

_OPTIMISERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}


class Updates:
    """The optimiser over the weights of a component and over what its loss learns."""

    def __init__(self, component: Component, objective: Objective, options: Options, accelerator: Any) -> None:
        self.options, self.accelerator, self.adds_up = options, accelerator, objective.adds_up
        groups = _groups(trainable(component), objective.learned, options)
        self.parameters: list[Tensor] = [parameter for group in groups for parameter in group["params"]]
        kind, given = _OPTIMISERS[options.optimizer], _fused(self.parameters, options)
        optimiser = kind(groups, lr=options.learning_rate, **given)
        if given:
            optimiser.register_step_post_hook(_count_versions)
        self.optimiser = accelerator.prepare(optimiser)

    @property
    def rate(self) -> float:
        """The learning rate of the last update."""
        return float(self.optimiser.param_groups[0]["lr"])

    def state_dict(self) -> dict[str, Any]:
        """The state of the optimiser, and that of the scale of fp16."""
        scaler = self.accelerator.scaler
        return {"optimiser": self.optimiser.state_dict(), "scaler": scaler.state_dict() if scaler else {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take on a state. Raises `ValueError` for one that is of other parameters, or of another optimiser."""
        groups = [{**group, "params": None} for group in self.optimiser.param_groups]
        self.optimiser.load_state_dict(state["optimiser"])
        for group, before in zip(self.optimiser.param_groups, groups, strict=True):
            group.update({**before, "params": group["params"]})  # they follow from the options
        _refuse_others(self.optimiser)
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def apply(self, tally: Tally, share: float) -> tuple[Tally, float]:
        """One update by the gradients that all processes have added up; `share` is how far training has come.

        Gradients are sums over the lists that `tally` counts in this process; what is applied is their mean, or for
        a loss that adds up their sum. Returns the tally of all processes (where it counts none, weights stay as they
        are) and the length of the gradient. Raises `BadInput` where that is infinite or no number, before it does harm.
        """
        present = [float(parameter.grad is not None) for parameter in self.parameters]
        totals = torch.tensor([*dataclasses.astuple(tally), *present], dtype=torch.float64)
        totals = totals.to(self.accelerator.device) if processes.count() > 1 else totals  # Apple's GPU has no float64
        processes.add_up([totals, *self._gradients()])
        cost, counted, lists, *given = totals.tolist()
        for parameter, somewhere in zip(self.parameters, given, strict=True):
            gradient = parameter.grad if somewhere and counted else None
            parameter.grad = None if gradient is None else gradient.div_(1 if self.adds_up else counted)
        tally = Tally(cost, counted, lists)
        if not counted:
            return tally, 0.0
        length = float(self.accelerator.clip_grad_norm_(self.parameters, self.options.clip or math.inf))
        if not math.isfinite(length) and not self.accelerator.scaler:  # of fp16 the scaler passes over such a step
            raise BadInput(f"the norm of the gradient is {length}. {ADVICE}")
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.learning_rate * factor(share, self.options) * group.get("factor", 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return tally, length

    def _gradients(self) -> list[Tensor]:
        """The gradient of each parameter; zeros where this process has none and another may."""
        if processes.count() > 1:
            for parameter in self.parameters:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        return [parameter.grad for parameter in self.parameters if parameter.grad is not None]


def _fused(parameters: Sequence[Tensor], options: Options) -> dict[str, bool]:
    """The setting by which Adam updates a parameter in one pass over memory, where torch has that."""
    usual = options.optimizer != "sgd" and all(each.device.type in ("cpu", "cuda") for each in parameters)
    return {"fused": True} if usual else {}


def _count_versions(optimiser: torch.optim.Optimizer, *_: Any) -> None:
    """Count a step as a change of the parameters, which fused ones do not: compiled graphs and new heads look at it."""
    increment_version([each for group in optimiser.param_groups for each in group["params"] if each.grad is not None])


def _refuse_others(optimiser: Any) -> None:
    """Raise `ValueError` unless the state of each parameter is what this optimiser keeps of it, in its shape."""
    kind = _OPTIMISERS[type(getattr(optimiser, "optimizer", optimiser)).__name__.lower()]
    for parameter, kept in optimiser.state.items():
        like = torch.zeros_like(parameter, requires_grad=True)
        like.grad = torch.zeros_like(parameter)
        fresh = kind([like])
        fresh.step()
        if kept and _shapes(kept) != _shapes(fresh.state[like]):
            raise ValueError(f"of a parameter of {list(parameter.shape)} it has {_shapes(kept)}")


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(getattr(value, "shape", [])) for name, value in state.items()}


def trainable(component: Component) -> dict[str, nn.Parameter]:
    """The parameters of a component that are not frozen, by name.

    Raises `BadInput` where there are none, and for half-precision ones: small updates would be rounded away.
    """
    named = dict(component.target.named_parameters()) if isinstance(component.target, nn.Module) else {}
    found = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    if not found:
        raise BadInput(f"{component.spec} has nothing to train: a torch.nn.Module with parameters is expected.")
    half = [name for name, parameter in found.items() if parameter.dtype in (torch.float16, torch.bfloat16)]
    if half:
        raise BadInput(
            f"{component.spec} has weights of {found[half[0]].dtype}, in which small updates are lost: "
            'load it in float32 and train with precision = "bfloat16".'
        )
    return found


def factor(share: float, options: Options) -> float:
    """The factor of the learning rate after this share of training (between 0 and 1)."""
    if share < options.warmup:
        return share / options.warmup
    left = (1 - share) / (1 - options.warmup) if options.warmup < 1 else 0.0
    return {"linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2, "constant": 1.0}[options.schedule]


def _groups(
    parameters: dict[str, nn.Parameter], learned: Mapping[float, list[Tensor]], options: Options
) -> list[dict[str, Any]]:
    """Matrices decay; biases, scales of norms and what the loss learns do not. `learned` is by factors of the rate."""
    matrices = [parameter for parameter in parameters.values() if parameter.ndim > 1]
    vectors = [*(parameter for parameter in parameters.values() if parameter.ndim < 2), *learned.get(1.0, [])]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": options.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
        *(
            {"params": tensors, "weight_decay": 0.0, "factor": factor}
            for factor, tensors in learned.items()
            if factor != 1
        ),
    ]
    return [group for group in groups if group["params"]]
