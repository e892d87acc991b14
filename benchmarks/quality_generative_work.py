"""What parts of `quality.py generative` share: outcomes by seed, collections of pictures, and how they are ranked."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from losses_cells import Cells, Outcome

import nirank
from nirank.data import Candidates, Collection, Queries
from nirank.evaluation import Evaluation
from nirank.pipeline import Ranking, Stage

LITE0 = "weights/efficientnet-lite0/efficientnet-lite0-57934424.pth"
SMALL = 96  # pixels of an icon or an emoji, for EfficientNet-lite0
NDCG = ("nDCG@10",)


@dataclass(frozen=True)
class Work:
    """A training and all that it is asked: from a seed to values by measure, and what dev says."""

    name: str
    told: Mapping[str, Any]
    make: Callable[[argparse.Namespace, int], tuple[dict[str, list[float]], float | None]]

    def outcomes(self, asked: argparse.Namespace) -> list[Outcome]:
        """An outcome for each seed, from the cells where it is kept."""
        cells, seeds = Cells(asked.cells), range(1 if asked.quick else min(asked.seeds, 3))
        told = {**self.told, "quick": asked.quick}
        return [cells.get("generative", self.name, told | {"seed": s}, partial(self._timed, asked, s)) for s in seeds]

    def _timed(self, asked: argparse.Namespace, seed: int) -> Outcome:
        start = time.perf_counter()
        values, dev = self.make(asked, seed)
        return Outcome(values, dev, [], time.perf_counter() - start)


def ranked(ranking: Ranking, collection: Collection, measures: Sequence[str]) -> Evaluation:
    """The measures of a ranking on a collection."""
    found = (ranking % len(collection.corpus)).search(collection.queries, collection.corpus)
    return nirank.evaluate(found, collection.judgments, measures)


def columns(prefix: str, found: Evaluation) -> dict[str, list[float]]:
    """Values of each query, by measure; names of measures begin with `prefix`."""
    return {prefix + measure: column.tolist() for measure, column in found.values.items()}


def few(asked: argparse.Namespace, steps: int) -> int:
    """Steps of a training: four where little of everything is asked."""
    return min(steps, 4) if asked.quick else steps


def icons(asked: argparse.Namespace, split: str) -> Collection:
    """Pictures of icons."""
    return nirank.collection(f"icons:{asked.data / 'icons'}", split=split)


def over_names() -> Stage:
    """MiniLM over names."""
    return nirank.load("minilm", "names", field="name")


def emoji(split: str) -> Collection:
    """Pictures of emoji."""
    return nirank.collection("emoji", split=split, content="image")


def with_names(collection: Collection) -> Collection:
    """The collection, and each emoji asked for by its name too."""
    corpus, asked = collection.corpus, collection.queries
    names = corpus.column("name", slice(None))
    ids = [*asked.ids, *(f"name{ordinal}" for ordinal in range(len(names)))]
    own = Candidates.of(np.arange(len(names))[:, None], np.ones((len(names), 1)), corpus)
    judged = Candidates.stack([collection.judgments, own])
    return Collection(f"{collection.name}+names", corpus, Queries(ids, [*asked.contents, *names]), judged)


def dual(asked: argparse.Namespace, train: Collection, told: Mapping[str, Any], seed: int) -> Stage:
    """A trained `dual`: MiniLM's space as it is, features of a frozen EfficientNet-lite0 projected into it.

    `told` are `hidden` and options of the training.
    """
    options = dict(told)
    settings = {
        "image": "efficientnet_lite0",
        "image_size": SMALL,
        "image_weights": str(asked.data / LITE0),
        "passed": 16,  # of a CPU half the time of 64
    }
    stage = nirank.load("dual", hidden=options.pop("hidden"), freeze=["text", "image"], seed=seed, **settings)
    return fitted(asked, stage, "clip", train, "in_batch", options, seed)


def fitted(
    asked: argparse.Namespace,
    stage: Stage,
    loss: str | None,
    train: Collection,
    sampler: Any,
    told: Mapping[str, Any],
    seed: int,
) -> Stage:
    """The stage, trained: in a few steps where little of everything is asked."""
    nirank.fit(stage, loss, train, sampler=sampler, seed=seed, **{**told, "steps": few(asked, told["steps"])})
    return stage
