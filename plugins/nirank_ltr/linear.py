"""A weighted sum of features."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from nirank.data import Candidates, Explanation, Queries, to_numpy
from nirank_ltr.explaining import by_features
from nirank_ltr.ranker import FeatureRanker, RankerSettings, chosen
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

    def explain(self, queries: Queries, candidates: Candidates) -> list[Explanation]:
        """Explain each pair by its features, each times its weight, and the bias.

        With several `classes` the score is no sum of them, and there are no parts.
        """
        scores = to_numpy(self.score(queries, candidates))
        if self.settings["classes"] > 1:
            note = "the expected grade of several classes is no sum of features"
            return [Explanation(self.name, float(score), note=note) for score in scores]
        values = chosen(candidates.features, self.names, self.name)
        rows, layer = torch.from_numpy(candidates.rows), cast("_Sum", self.layers).weights
        normal = to_numpy(
            self.normaliser(torch.from_numpy(values).to(layer.weight.device), rows.to(layer.weight.device))
        )
        worth = normal.astype(np.float64) * to_numpy(layer.weight)[0]
        return by_features(self, scores, values, worth, float(to_numpy(layer.bias)[0]))


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
