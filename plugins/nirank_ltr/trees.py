"""Gradient-boosted trees of LightGBM over features, by its own objectives of ranking or by any loss of nirank.

LambdaMART: Burges, From RankNet to LambdaRank to LambdaMART: An Overview, 2010. XE-NDCG: Bruch, An Alternative Cross
Entropy Loss for Learning-to-Rank, WWW 2021. LightGBM: Ke et al., NeurIPS 2017.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from nirank import evaluate
from nirank.data import Candidates, Explanation, Floats, Queries
from nirank.errors import BadInput, UnknownName
from nirank_ltr import tree_files
from nirank_ltr.explaining import by_features
from nirank_ltr.ranker import chosen
from nirank_ltr.sample import collection

FILE = "lightgbm.txt"
OBJECTIVES = ("lambdarank", "rank_xendcg")

Gradient = Callable[[NDArray[Any]], NDArray[np.float64]]


@dataclass(frozen=True)
class Growth:
    """Settings of the growth of trees.

    At most `trees` trees of `leaves` leaves, of which each has `least` pairs; with dev as many as do best there by the
    measure of the training, which ends when `patience` trees have brought nothing. Each leaf is taken `learning_rate`
    times. `features` is the share of features, `queries` that of queries, that each tree sees.

    Raises `BadInput` for numbers that make no sense.
    """

    trees: int = 300
    leaves: int = 15
    least: int = 20
    patience: int = 30
    learning_rate: float = 0.05
    features: float = 1.0
    queries: float = 1.0

    def __post_init__(self) -> None:
        counts = (self.trees, self.leaves - 1, self.least, self.patience)
        shares = (self.learning_rate, self.features, self.queries)
        if min(counts) < 1 or not all(0 < share <= 1 for share in shares):
            chosen = ", ".join(f"{name} = {value}" for name, value in asdict(self).items())
            raise BadInput(f"{chosen}: whole numbers from 1 (leaves from 2), then shares above 0 up to 1 are expected.")


class LightGBM:
    """Scores pairs by their features, as the sum of the leaves that they fall into: `features(manual) >> lightgbm`.

    It is trained without a loss, by its `objective` ("lambdarank" or "rank_xendcg", on whole labels from 0; those below
    0 count as 0), or with any loss of nirank. Of a loss there is the gradient and no curvature: a leaf is the mean of
    the negative gradients in it, which are scaled so that their mean square is 1 before the first tree.

    A missing value goes where it did best. On one machine, equal data and `seed` give equal trees, with any number of
    `threads` (None: all). `model` is a file that `save` wrote, or any model of LightGBM's in text; `names` are those of
    its features. The other settings are those of `Growth`.

    Raises `BadInput` for another file, `UnknownName` for another objective.
    """

    reads = "features"
    cacheable = False  # a score depends on features, and not on a text

    def __init__(
        self,
        objective: str = "lambdarank",
        seed: int = 0,
        threads: int | None = None,
        names: Sequence[str] = (),
        model: str | None = None,
        growth: Growth = Growth(),
    ) -> None:
        if objective not in OBJECTIVES:
            raise UnknownName("objective", objective, OBJECTIVES)
        self.settings: dict[str, Any] = {"objective": objective, **asdict(growth), "seed": seed}
        self.threads, self.names = threads, tuple(names)
        self.booster: Any = None if model is None else self._load(Path(model))

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"LightGBM({len(self.names)} features, {settings})"

    def learn(self, train: Candidates, dev: Candidates | None, gradient: Gradient | None, options: Any) -> int:
        """Grow trees anew, and return the number of those that are kept. See `nirank.training.non_gradient`.

        Raises `BadInput` for labels that LightGBM's objectives do not take.
        """
        features = train.features
        if features is None:
            raise BadInput("lightgbm ranks by features, but there are none: train `features(...) >> lightgbm`.")
        self.names = features.names
        labels = np.maximum(train.scores, 0)
        if gradient is None:
            _check(labels)
        known = lightgbm.Dataset(features.values, labels, group=_groups(train), params=self._parameters(gradient))
        watched = [] if dev is None else [known.create_valid(self._read(dev), dev.scores, group=_groups(dev))]
        self.booster = lightgbm.train(
            self._parameters(gradient),
            known,
            self.settings["trees"],
            valid_sets=watched,
            feval=None if dev is None else _measured(dev, options.measure),
            callbacks=[lightgbm.early_stopping(self.settings["patience"], verbose=False)] if watched else [],
        )
        kept = self.booster.best_iteration if watched else self.booster.current_iteration()
        self.booster = _booster(self.booster.model_to_string(num_iteration=kept))
        return int(kept)

    def score(self, queries: Queries, candidates: Candidates) -> Floats:  # noqa: ARG002 (as scorers are called)
        """Scores, float32 `[pairs]`. Raises `BadInput` where a feature is missing that it was trained with."""
        if self.booster is None:
            raise BadInput("this lightgbm has no trees yet: train it, or set `model` to the file of a trained one.")
        values = self._read(candidates)
        if not len(values):
            return np.empty(0, np.float32)
        scores: Floats = self.booster.predict(values, num_threads=self.threads or 0).astype(np.float32)
        return scores

    def explain(self, queries: Queries, candidates: Candidates) -> list[Explanation]:
        """Explain each pair by its features: SHAP values of the trees, and the bias, their mean.

        Lundberg, Erion and Lee, Consistent Individualized Feature Attribution for Tree Ensembles, 2018.
        """
        scores, values = self.score(queries, candidates), self._read(candidates)
        worth = self.booster.predict(values, pred_contrib=True, num_threads=self.threads or 0)
        return by_features(self, scores, values, worth[:, :-1], worth[:, -1])

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the trees into `folder`, as LightGBM's own text. Returns the table of a stage that builds it again."""
        if self.booster is None:
            raise BadInput("this lightgbm has no trees to save: train it first.")
        (folder / FILE).write_text(self.booster.model_to_string(), encoding="utf-8")
        return {"use": "scorer/lightgbm", **self.settings, "names": list(self.names), "model": Path(FILE)}

    def gains(self) -> dict[str, float]:
        """The gain of each feature: the sum by which its splits have lowered the objective, over all trees."""
        if self.booster is None:
            raise BadInput("this lightgbm has no trees yet, and so no gains of features: train it first.")
        return dict(zip(self.names, self.booster.feature_importance("gain").tolist(), strict=True))

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of names, settings and trees."""
        text = self.booster.model_to_string() if self.booster else ""
        trees = text.partition("\nparameters:")[0]  # among which are the threads
        return hashlib.blake2b(f"{json.dumps(self.names)}{self!r}{trees}".encode(), digest_size=16).hexdigest()

    def _parameters(self, gradient: Gradient | None) -> dict[str, Any]:
        own = self.settings
        return {
            "objective": own["objective"] if gradient is None else _scaled(gradient),
            "metric": "none",
            "num_leaves": own["leaves"],
            "learning_rate": own["learning_rate"],
            "min_data_in_leaf": own["least"],
            "min_sum_hessian_in_leaf": 1e-3,
            "feature_fraction": own["features"],
            "bagging_fraction": own["queries"],
            "bagging_by_query": own["queries"] < 1,
            "bagging_freq": int(own["queries"] < 1),
            "seed": own["seed"],
            "num_threads": self.threads or 0,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }

    def _read(self, candidates: Candidates) -> Floats:
        return chosen(candidates.features, self.names, "lightgbm")

    def _load(self, path: Path) -> Any:
        try:
            booster = _booster(tree_files.checked(path.read_text(encoding="utf-8")))
        except (lightgbm.basic.LightGBMError, OSError, ValueError) as error:
            raise BadInput(f"cannot be read as a text model of LightGBM: {error}", path) from error
        self.names = self.names or tuple(booster.feature_name())
        if len(self.names) != booster.num_feature():
            raise BadInput(
                f"has {booster.num_feature()} features, but `names` has {len(self.names)}; one for each is expected.",
                path,
            )
        return booster


def _booster(text: str) -> Any:
    """A model from its text."""
    return lightgbm.Booster(model_str=text)


def _groups(candidates: Candidates) -> NDArray[np.int64]:
    """The lengths of the lists; LightGBM takes none that is empty."""
    return candidates.lengths[candidates.lengths > 0]


def _check(labels: Floats) -> None:
    if (labels % 1).any() or labels.max(initial=0) > 30:
        raise BadInput(
            f"LightGBM's own objectives take whole labels up to 30; these go up to {labels.max():g} or are not whole "
            "numbers. Train with a loss of nirank."
        )


def _scaled(gradient: Gradient) -> Callable[[NDArray[Any], Any], tuple[NDArray[Any], NDArray[Any]]]:
    """The gradient as LightGBM calls for it, with a curvature of 1, and of the same size whatever the loss is."""
    scale = 0.0

    def objective(scores: NDArray[Any], known: Any) -> tuple[NDArray[Any], NDArray[Any]]:  # noqa: ARG001
        nonlocal scale
        slope = gradient(scores)
        scale = scale or 1 / max(float(np.sqrt((slope**2).mean())), np.finfo(np.float64).tiny)
        return slope * scale, np.ones(len(slope))

    return objective


def _measured(dev: Candidates, measure: str) -> Callable[[NDArray[Any], Any], tuple[str, float, bool]]:
    def metric(scores: NDArray[Any], known: Any) -> tuple[str, float, bool]:  # noqa: ARG001
        ranked = dev.with_scores(scores).ranked()
        return measure, next(iter(evaluate(ranked, dev, [measure]).mean.values())), True

    return metric


def tiny() -> LightGBM:
    """A few trees over three features."""
    ranker = LightGBM(threads=1, growth=Growth(trees=5, leaves=4, least=2))
    ranker.learn(collection().judgments, None, None, None)
    return ranker
