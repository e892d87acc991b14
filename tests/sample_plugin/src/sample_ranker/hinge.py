"""A loss: the pairwise hinge, max(0, margin - (score of the better - score of the worse))."""

from __future__ import annotations

import torch


class Hinge:
    """The mean over lists of the mean over pairs of different labels, which should be `margin` apart."""

    def __init__(self, margin: float = 1.0) -> None:
        self.margin = margin

    def __call__(self, scores: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """A scalar from `scores`, `labels` and `mask`, each `[lists, length]`."""
        wanted = mask[:, :, None] & mask[:, None, :] & (labels[:, :, None] > labels[:, None, :])
        present = torch.where(mask, scores, 0.0)
        costs = (self.margin - present[:, :, None] + present[:, None, :]).clamp(min=0)  # [lists, better, worse]
        return (torch.where(wanted, costs, 0.0).sum((1, 2)) / wanted.sum((1, 2)).clamp(min=1)).mean()
