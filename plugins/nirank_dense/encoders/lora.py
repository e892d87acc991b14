"""Low-rank adaptation: a transformer is frozen, and small matrices beside its own are trained.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022: a matrix W of the model becomes W + (alpha/r)
B A, with A `[r, in]` drawn and B `[out, r]` zero at first, so that training starts from the model itself. Afterwards
both are one matrix again, and cost nothing.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from nirank.errors import BadInput, MissingDependency

#: The scale alpha, in units of the rank.
_SCALE = 2


def adapt(transformer: nn.Module, rank: int, seed: int = 0) -> None:
    """Freeze a transformer and put matrices of rank `rank` beside all that are multiplied in its layers.

    Raises `BadInput` for a rank below 1, `MissingDependency` without peft.
    """
    if rank < 1:
        raise BadInput(f"lora_rank = {rank}; it must be 1 or more.")
    try:
        from peft import LoraConfig, LoraModel
    except ModuleNotFoundError as error:
        raise MissingDependency("lora_rank needs the package peft. Run: pip install 'nirank[lora]'") from error
    transformer.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=_SCALE * rank, target_modules="all-linear", exclude_modules=r".*pooler.*")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        LoraModel(transformer, config, "default")


def merged(model: nn.Module) -> nn.Module:
    """A copy of a model in which what was trained beside its matrices is added to them."""
    from peft.tuners.lora import LoraLayer

    copied = copy.deepcopy(model)
    for name, layer in list(copied.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            above, _, last = name.rpartition(".")
            setattr(copied.get_submodule(above), last, layer.get_base_layer())
    return copied
