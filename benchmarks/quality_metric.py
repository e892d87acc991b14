"""Losses of metric learning beside the triplet loss, and STIR as its paper has it beside ours, on images.

The collections, the small ViT and the batches are those of `quality_omniglot.py`, with fewer steps; all losses see the
same batches. What is chosen on dev is the step. Every image of test is a query, sought among all others of test.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from losses_cells import Cells, Outcome
from quality_omniglot import FIRST, MEASURES, PRECISION, RECIPES, Recipe
from quality_rows import Row
from quality_table import Cell, Table

import nirank
from nirank.data import Collection
from nirank.evaluation import Evaluation
from nirank.pipeline import Ranking, Stage

BASELINE = "triplet"
#: How many of the best are reranked.
DEPTH = 10
COLLECTIONS = ("Omniglot", "Fashion-MNIST")
#: The settings of each loss; the factors of the proxies' learning rates were chosen on dev (one seed, Omniglot).
LOSSES: dict[str, Mapping[str, Any]] = {
    "triplet": {"distance": "euclidean", "over": "active"},
    "multi_similarity": {},
    "arc_face": {"scale": 16.0, "margin": 0.3, "rate_factor": 10.0},
    "proxy_anchor": {"rate_factor": 10.0},
}
#: Both are trained on what the first stage confuses, the paper's with the loss that its authors take.
RERANKERS = {"stir": "softmax_cross_entropy", "stacked_stir": "binary_cross_entropy"}


@dataclass(frozen=True)
class Steps:
    """How long everything is trained for one collection."""

    first: Mapping[str, Any]
    rerankers: Mapping[str, Any]


STEPS = {
    "Omniglot": Steps({"steps": 240, "evaluate_every": 80}, {"steps": 80, "evaluate_every": 40}),
    "Fashion-MNIST": Steps({"steps": 75, "evaluate_every": 25}, {"steps": 80, "evaluate_every": 40}),
}


def tables(asked: argparse.Namespace) -> list[Table]:
    """A table a collection."""
    return [_table(name, asked) for name in COLLECTIONS if not asked.only or name in asked.only]


# Measuring


def outcomes(name: str, asked: argparse.Namespace) -> list[Outcome]:
    """One a seed, with the values of all systems."""
    steps = STEPS[name]
    limits = {"steps": 4, "evaluate_every": 4} if asked.quick else {}
    recipe = RECIPES[name]
    told = {
        "recipe": asdict(recipe) | {"stir": dict(recipe.stir)},
        "steps": asdict(steps),
        "losses": LOSSES,
        "rerankers": RERANKERS,
        "limits": limits,
        "measures": MEASURES,
    }
    cells, make = Cells(asked.cells), partial(measured, recipe, steps, asked.data, limits)
    seeds = range(1 if asked.quick else asked.seeds)
    return [cells.get("metric", name, told | {"seed": seed}, partial(make, seed)) for seed in seeds]


def measured(recipe: Recipe, steps: Steps, data: Path, limits: Mapping[str, Any], seed: int) -> Outcome:
    """All systems on the test images."""
    start = time.perf_counter()
    train, dev, test = (recipe.open(part, data) for part in ("train", "dev", "test"))
    ranked: dict[str, Evaluation] = {}
    with tempfile.TemporaryDirectory() as folder:
        best = []
        for loss, settings in LOSSES.items():
            out = f"{folder}/{loss}"
            options = {**recipe.triplet, **steps.first, **limits, "seed": seed}
            encoder, step = first_stage(recipe, loss, settings, train, dev, options, out)
            ranking = nirank.others(encoder >> nirank.load("exact"))
            ranked[loss] = _ranked(ranking, test)
            best.append(step)
            if loss == BASELINE:
                for name, system, step in _reranked(recipe, steps, data, limits, seed, ranking, out):
                    ranked[name] = _ranked(system, test)
                    best.append(step)
                for scaled in (False, True):
                    index = nirank.load("k_reciprocal", scaled=scaled)
                    told = "k_reciprocal" + ", scaled as its authors do" * scaled
                    ranked[told] = _ranked(nirank.others(encoder >> index), test)
    values = {f"{name} {measure}": one.values[measure].tolist() for name, one in ranked.items() for measure in MEASURES}
    return Outcome(values, None, best, time.perf_counter() - start)


def first_stage(
    recipe: Recipe,
    loss: str,
    settings: Mapping[str, Any],
    train: Collection,
    dev: Collection,
    options: Mapping[str, Any],
    out: str | None = None,
) -> tuple[Stage, int]:
    """A small ViT trained with a loss, and its best step."""
    encoder = nirank.load("siamese", "siamese", **recipe.model, seed=options["seed"])
    pipeline = nirank.others(encoder >> nirank.load("exact"))
    sampler = nirank.load("categories", images=4)
    given = nirank.load(loss, **settings)
    fitted = nirank.fit(encoder, given, train, sampler=sampler, dev=dev, pipeline=pipeline, out=out, **options)
    return encoder, fitted.best_step or 0


def _reranked(
    recipe: Recipe,
    steps: Steps,
    data: Path,
    limits: Mapping[str, Any],
    seed: int,
    first: Ranking,
    start: str,
) -> Iterator[tuple[str, Ranking, int]]:
    """Both kinds of STIR over the best of the first stage, by name, with their best steps."""
    pairs, dev = recipe.open("pairs", data), recipe.open("dev", data)
    sampler = dict(recipe.sampler)
    confused = nirank.load(sampler.pop("use"), pipeline=first, **sampler)
    for name, loss in RERANKERS.items():
        reranker = nirank.load(name, name, start=start, jitter=recipe.model["jitter"] / 2, seed=seed)
        system = first >> nirank.top(DEPTH, reranker)
        options = {**recipe.stir, **steps.rerankers, **limits, "measure": FIRST, "seed": seed}
        pipeline = first % DEPTH >> reranker
        fitted = nirank.fit(reranker, nirank.load(loss), pairs, sampler=confused, dev=dev, pipeline=pipeline, **options)
        yield f"{name}, top {DEPTH} of {BASELINE}", system, fitted.best_step or 0


def _ranked(ranking: Ranking, collection: Collection) -> Evaluation:
    found = ranking.search(collection.queries, collection.corpus)
    return nirank.evaluate(found, collection.judgments, MEASURES)


# Tables


def _table(name: str, asked: argparse.Namespace) -> Table:
    found, recipe, steps = outcomes(name, asked), RECIPES[name], STEPS[name]
    names = list(dict.fromkeys(key.rpartition(" ")[0] for key in found[0].values))
    seconds = np.mean([each.seconds for each in found])
    return Table(
        title=name,
        about=(
            f"{recipe.told} First stages are trained for {steps.first['steps']} steps, rerankers for "
            f"{steps.rerankers['steps']}: a fraction of those of `quality_omniglot.md`, on two busy cores, so figures "
            f"are lower than there. {len(found)} seeds; means over seeds ± their standard deviation, 95 % bootstrap "
            f"intervals over queries, and the significance of the difference from {BASELINE} (randomisation test, "
            f"two-sided, not corrected). {seconds:.0f} seconds a seed; best steps {[each.steps for each in found]}."
        ),
        columns=["system", FIRST, PRECISION],
        rows=[_cells(each, found) for each in names],
        notes=[_settings()],
    )


def _settings() -> str:
    told = (f"{loss} {', '.join(f'{name} {value}' for name, value in own.items())}" for loss, own in LOSSES.items())
    return f"Settings beside the defaults: {'; '.join(told)}."


def _cells(name: str, found: Sequence[Outcome]) -> list[Cell]:
    row, baseline = (Row(each, found, prefix=f"{each} ") for each in (name, BASELINE))
    compared = None if name == BASELINE else baseline
    return [name, row.figure(FIRST, compared), row.figure(PRECISION, compared)]
