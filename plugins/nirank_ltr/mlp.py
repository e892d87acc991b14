"""A feed-forward network over features."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from nirank.data import Candidates
from nirank.errors import BadInput
from nirank_ltr.ranker import FeatureRanker, RankerSettings, activation, drawn
from nirank_ltr.sample import taught


class MLP(FeatureRanker):
    """Scores a pair by its features, through layers of `hidden` units with an activation and dropout after each.

    `activation` is "relu", "gelu", "tanh" or "silu"; `dropout` the share of units that are left out in training. The
    other settings are those of `RankerSettings`.

    Raises `BadInput` for numbers that make no sense, `UnknownName` for another activation.
    """

    name = "mlp"

    def __init__(
        self,
        hidden: Sequence[int] = (64, 64),
        dropout: float = 0.3,
        activation: str = "relu",
        shared: RankerSettings = RankerSettings(),
    ) -> None:
        if isinstance(hidden, int) or min(hidden, default=1) < 1 or not 0 <= dropout < 1:
            raise BadInput(
                f"hidden = {hidden}, dropout = {dropout}: a list of numbers from 1, and a dropout from 0 to below 1, "
                "are expected."
            )
        super().__init__({"hidden": list(hidden), "dropout": dropout, "activation": activation}, shared)

    def network(self, features: int, random: torch.Generator) -> nn.Module:
        """The layers, drawn one after the other."""
        return _Layers([features, *self.settings["hidden"], self.settings["classes"]], self.settings, random)


class _Layers(nn.Module):
    def __init__(self, sizes: Sequence[int], settings: dict[str, Any], random: torch.Generator) -> None:
        super().__init__()
        self.layers = nn.ModuleList(drawn(before, after, random) for before, after in pairwise(sizes))
        self.between = nn.Sequential(activation(settings["activation"]), nn.Dropout(settings["dropout"]))

    def forward(self, values: Tensor, candidates: Candidates) -> Tensor:  # noqa: ARG002 (others look at the lists)
        for layer in self.layers[:-1]:
            values = self.between(layer(values))
        return self.layers[-1](values)  # (pairs, classes)


def tiny() -> MLP:
    """Three features, and layers of 8 and 4 units."""
    return taught(MLP(hidden=(8, 4), shared=RankerSettings(device="cpu")))
