"""The parts of nDCG: gains, discounts and the DCG of the ideal ranking."""

from __future__ import annotations

import torch
from torch import Tensor

from nirank_losses.lists import Lists, cleared

#: Labels above this are scaled by their list: 2^y overflows in float32 from 128 on, and sums of such gains before.
_LARGE = 64


def gains(lists: Lists) -> Tensor:
    """`2^y - 1`, `[lists, length]`; 0 for labels below 0 and in the padding.

    In a list with a label above 64 it is divided by 2 to the largest one: losses take ratios of gains within a list,
    which stay as they are, and no gain overflows.
    """
    labels = lists.labels.clamp(min=0)
    exact = torch.expm1(labels * torch.log(labels.new_tensor(2.0)))
    largest = labels.amax(1, keepdim=True) if labels.shape[1] else labels
    if labels.device.type == "cpu" and not (largest > _LARGE).any():  # a GPU would be waited for
        return cleared(exact, lists.mask)
    scaled = torch.exp2(labels - largest) - torch.exp2(-largest)
    return cleared(torch.where(largest > _LARGE, scaled, exact), lists.mask)


def discounts(scores: Tensor) -> Tensor:
    """`1 / log2(1 + rank)` for ranks 1, 2, ... to the length of `scores` `[lists, length]`; `[length]`."""
    return 1 / torch.log2(2 + torch.arange(scores.shape[1], device=scores.device, dtype=scores.dtype))


def ideal_dcg(lists: Lists, k: int | None = None, ranked: bool = False) -> Tensor:
    """The largest DCG that the first `k` ranks (all for None) can have, `[lists]`; 1 where nothing is relevant.

    `ranked` says that the lists are sorted by falling label.
    """
    best = gains(lists) if ranked else gains(lists).sort(dim=1, descending=True).values
    best = best[:, :k]
    ideal = best @ discounts(best)
    return ideal.where(ideal > 0, 1)
