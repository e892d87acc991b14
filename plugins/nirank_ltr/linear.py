"""A weighted sum of features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from nirank.data import Candidates
from nirank_ltr.ranker import FeatureRanker, RankerSettings
from nirank_ltr.sample import taught


class Linear(FeatureRanker):
    """Scores a pair by a weighted sum of its features: `features(manual, minilm) >> linear`.

    Weights are 0 at first, so that `seed` is without effect; with several `classes` there is a sum for each grade. The
    settings are those of `RankerSettings`.
    """

    name = "linear"

    def __init__(self, shared: RankerSettings = RankerSettings()) -> None:
        super().__init__({}, shared)

    def network(self, features: int, random: torch.Generator) -> nn.Module:  # noqa: ARG002 (nothing is drawn)
        """One layer."""
        return _Sum(features, self.settings["classes"])


class _Sum(nn.Module):
    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weights = skip_init(nn.Linear, features, classes)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, values: Tensor, candidates: Candidates) -> Tensor:  # noqa: ARG002 (others look at the lists)
        return self.weights(values)  # (pairs, features) -> (pairs, classes)


def tiny() -> Linear:
    """Three features."""
    return taught(Linear(RankerSettings(device="cpu")))
