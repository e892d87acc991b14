"""How each ranker of features is trained on MQ2008: what is tried, of which validation chooses.

A try is settings of the ranker and options of training. Networks see the lists of 128 queries a step, at most 60
epochs, until validation has not been better for ten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: What teaches others, and what they are held against.
REFERENCE = "LightGBM lambdarank"

OPTIONS = {"epochs": 60, "patience": 10, "batch_size": 128, "schedule": "constant", "warmup": 0.0, "clip": 0.0}


@dataclass(frozen=True, kw_only=True)
class Try:
    """Settings of a ranker, and options of its training."""

    settings: Mapping[str, Any]
    options: Mapping[str, Any]

    def told(self) -> str:
        """Both in words."""
        both = {**self.settings, **self.options}
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in both.items())


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A ranker by its registered name, the loss that trains it (None: its own), and what is tried.

    `teacher` says that LightGBM's trees of the same fold teach it.
    """

    ranker: str
    loss: str | None = None
    tries: Sequence[Try] = (Try(settings={}, options={}),)
    teacher: bool = False


def _trees(objective: str) -> list[Try]:
    return [_try({"objective": objective, "leaves": leaves}) for leaves in (15, 7)]


def _try(settings: Mapping[str, Any] | None = None, **options: Any) -> Try:
    return Try(settings=settings or {}, options=options)


_LINEAR = [_try({"normalise": method}, learning_rate=0.03) for method in ("z-score", "quantile")]
_MLP = [_try(learning_rate=rate) for rate in (0.003, 0.001)]
_SMALL = {"dim": 32, "blocks": 1, "hidden": 64, "dropout": 0.2}
_ATTENTION = [_try(_SMALL, learning_rate=rate, epochs=30) for rate in (0.003, 0.001)]

RECIPES = {
    REFERENCE: Recipe(ranker="lightgbm", tries=_trees("lambdarank")),
    "LightGBM xendcg": Recipe(ranker="lightgbm", tries=_trees("rank_xendcg")),
    "LightGBM ranknet": Recipe(ranker="lightgbm", loss="ranknet", tries=[_try({"leaves": 15})]),
    "linear ranknet": Recipe(ranker="linear", loss="ranknet", tries=_LINEAR),
    "linear taught": Recipe(ranker="linear", loss="kl", tries=_LINEAR, teacher=True),
    "mlp ranknet": Recipe(ranker="mlp", loss="ranknet", tries=_MLP),
    "mlp taught": Recipe(ranker="mlp", loss="kl", tries=_MLP, teacher=True),
    "attention ranknet": Recipe(ranker="attention", loss="ranknet", tries=_ATTENTION),
    "attention taught": Recipe(ranker="attention", loss="kl", tries=_ATTENTION, teacher=True),
}
