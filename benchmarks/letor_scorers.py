"""Scorers of rows of features: two that nirank trains, and LightGBM's trees beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from letor import FEATURES
from numpy.typing import NDArray
from torch import Tensor, nn

from nirank.data import Candidates, Collection, Queries


class FeatureScorer(nn.Module):
    """Scores pairs by their features alone; `layers` gives `[pairs, classes]`.

    With several classes these are the logits of the grades 0, 1, ...: while it is trained they are what it returns,
    and afterwards the expected grade.
    """

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:  # noqa: ARG002 (as scorers are called)
        """Scores, `[pairs]`; `[pairs, classes]` while a scorer of several classes is trained."""
        scores = self.layers(torch.from_numpy(candidates.corpus[candidates.docs]))
        if scores.shape[1] == 1:
            return scores[:, 0]
        return scores if self.training else torch.softmax(scores, 1) @ torch.arange(scores.shape[1], dtype=scores.dtype)


def linear(classes: int = 1) -> FeatureScorer:
    """A weight for each feature, at first 0."""
    layer = nn.Linear(FEATURES, classes)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return FeatureScorer(layer)


def mlp(classes: int = 1, hidden: int = 64, dropout: float = 0.3, seed: int = 0) -> FeatureScorer:
    """Two hidden layers, with weights drawn from `seed`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Sequential(
            *(nn.Linear(FEATURES, hidden), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout)),
            nn.Linear(hidden, classes),
        )
    return FeatureScorer(layers)


class Trees:
    """LightGBM's lambdarank: at most 300 trees of 15 leaves, as many as do best on the validation queries."""

    def __init__(self, train: Collection, vali: Collection) -> None:
        import lightgbm

        settings = {"objective": "lambdarank", "num_leaves": 15, "learning_rate": 0.05, "eval_at": [10], "seed": 0}
        quiet = {"num_threads": 1, "deterministic": True, "verbose": -1}
        known = _dataset(train)
        self._trees = lightgbm.train(
            settings | quiet,
            known,
            300,
            valid_sets=[_dataset(vali, known)],
            callbacks=[lightgbm.early_stopping(30, verbose=False)],
        )

    def score(self, queries: Queries, candidates: Candidates) -> NDArray[np.float64]:  # noqa: ARG002
        """Scores, `[pairs]`."""
        return self._trees.predict(candidates.corpus[candidates.docs], num_threads=1)


def _dataset(collection: Collection, reference: Any = None) -> Any:
    import lightgbm

    judged = collection.judgments
    return lightgbm.Dataset(collection.corpus[judged.docs], judged.scores, reference=reference, group=judged.lengths)
