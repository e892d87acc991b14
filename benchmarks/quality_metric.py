"""Losses of metric learning beside the triplet loss, and STIR as its paper has it beside ours, on images.

The collections, the small ViT and the batches are those of `quality_omniglot.py`, with fewer steps; all losses see the
same batches. What is chosen on dev is the step. Every image of test is a query, sought among all others of test.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

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
#: The settings of each loss beside its defaults. Those of `arc_face`, and the factors of the proxies' rates, were
#: chosen among two or three on dev (one seed, Omniglot, the ViT of `quality_omniglot.py` after 60 steps).
LOSSES: dict[str, Mapping[str, Any]] = {
    "triplet": {"distance": "euclidean", "over": "active"},
    "multi_similarity": {},
    "arc_face": {"scale": 16.0, "margin": 0.3, "rate_factor": 10.0},
    "proxy_anchor": {"rate_factor": 10.0},
}
#: Both are trained on what the first stage confuses, the paper's with the loss that its authors take.
RERANKERS = {"stir": "softmax_cross_entropy", "stacked_stir": "binary_cross_entropy"}
#: A smaller transformer than that of `quality_omniglot.py`.
CONFIG = {"patch": 8, "dim": 48, "depth": 2}
TOLD = {
    "Omniglot": "Characters of four alphabets train, those of a fifth choose, those of three others test.",
    "Fashion-MNIST": RECIPES["Fashion-MNIST"].told,
}


@dataclass(frozen=True)
class Steps:
    """How long first stages and rerankers are trained for one collection."""

    first: Mapping[str, Any]
    rerankers: Mapping[str, Any]


STEPS = {
    "Omniglot": Steps({"steps": 300, "evaluate_every": 100}, {"steps": 60, "evaluate_every": 30}),
    "Fashion-MNIST": Steps({"steps": 150, "evaluate_every": 50}, {"steps": 60, "evaluate_every": 30}),
}


def tables(asked: argparse.Namespace) -> list[Table]:
    """A table a collection."""
    return [_table(name, asked) for name in STEPS if not asked.only or name in asked.only]


def recipe_of(name: str) -> Recipe:
    """The recipe of a collection with the smaller transformer; Omniglot's characters are not turned for training."""
    recipe = RECIPES[name]
    return replace(recipe, train=recipe.pairs, model={**recipe.model, "config": CONFIG})


# Measuring


def rows(name: str, asked: argparse.Namespace) -> list[Row]:
    """The systems that were measured, with what they came to with each seed."""
    recipe, steps = recipe_of(name), STEPS[name]
    limits = {"steps": 4, "evaluate_every": 4} if asked.quick else {}
    told = {"recipe": asdict(recipe), "steps": asdict(steps), "limits": limits, "measures": MEASURES}
    cells, seeds = Cells(asked.cells), range(1 if asked.quick else asked.seeds)

    def kept(line: str, settings: Any, make: Callable[..., Outcome]) -> list[Outcome]:
        known = told | {"settings": settings}
        given = recipe, steps, asked.data, limits
        return [
            cells.get("metric", f"{name} {line}", known | {"seed": seed}, partial(make, *given, seed)) for seed in seeds
        ]

    found = [Row(loss, kept(loss, own, partial(_one, loss))) for loss, own in LOSSES.items()]
    others = kept("rerankers", [RERANKERS, LOSSES[BASELINE], DEPTH], reranked)
    names = dict.fromkeys(key.rpartition(" ")[0] for key in others[0].values)
    return [*found, *(Row(each, others, prefix=f"{each} ") for each in names)]


def _one(loss: str, recipe: Recipe, steps: Steps, data: Path, limits: Mapping[str, Any], seed: int) -> Outcome:
    """A first stage trained with one loss, on the test images."""
    start = time.perf_counter()
    encoder, step = first_stage(recipe, loss, data, {**steps.first, **limits, "seed": seed})
    found = _ranked(nirank.others(encoder >> nirank.load("exact")), recipe.open("test", data))
    values = {measure: found.values[measure].tolist() for measure in MEASURES}
    return Outcome(values, None, [step], time.perf_counter() - start)


def reranked(recipe: Recipe, steps: Steps, data: Path, limits: Mapping[str, Any], seed: int) -> Outcome:
    """What comes behind a first stage trained by triplets: both kinds of STIR, and k-reciprocal re-ranking."""
    start, test, values, best = time.perf_counter(), recipe.open("test", data), {}, []
    with tempfile.TemporaryDirectory() as folder:
        encoder, _ = first_stage(recipe, BASELINE, data, {**steps.first, **limits, "seed": seed}, folder)
        options = {**steps.rerankers, **limits, "seed": seed}
        first = nirank.others(encoder >> nirank.load("exact"))
        for name, system, step in _systems(recipe, data, options, first, encoder, folder):
            found = _ranked(system, test)
            values |= {f"{name} {measure}": found.values[measure].tolist() for measure in MEASURES}
            best.append(step)
    return Outcome(values, None, best, time.perf_counter() - start)


def first_stage(
    recipe: Recipe, loss: str, data: Path, options: Mapping[str, Any], out: str | None = None
) -> tuple[Stage, int]:
    """A small ViT trained with a loss, and its best step."""
    encoder = nirank.load("siamese", "siamese", **recipe.model, seed=options["seed"])
    fitted = nirank.fit(
        encoder,
        nirank.load(loss, **LOSSES[loss]),
        recipe.open("train", data),
        sampler=nirank.load("categories", images=4),
        dev=recipe.open("dev", data),
        pipeline=nirank.others(encoder >> nirank.load("exact")),
        out=out,
        **{**recipe.triplet, **options},
    )
    return encoder, fitted.best_step or 0


def _systems(
    recipe: Recipe, data: Path, options: Mapping[str, Any], first: Ranking, encoder: Stage, start: str
) -> Iterator[tuple[str, Ranking, int]]:
    """All that is measured behind a first stage, by name, with the best step of what is trained."""
    pairs, dev, sampler = recipe.open("pairs", data), recipe.open("dev", data), dict(recipe.sampler)
    confused = nirank.load(sampler.pop("use"), pipeline=first, **sampler)
    for name, loss in RERANKERS.items():
        reranker = nirank.load(name, name, start=start, jitter=recipe.model["jitter"] / 2, seed=options["seed"])
        pipeline = first % DEPTH >> reranker
        given = {**recipe.stir, "measure": FIRST, **options}
        fitted = nirank.fit(reranker, loss, pairs, sampler=confused, dev=dev, pipeline=pipeline, **given)
        yield f"{name}, top {DEPTH} of {BASELINE}", first >> nirank.top(DEPTH, reranker), fitted.best_step or 0
    for scaled, told in ((False, "k_reciprocal"), (True, "k_reciprocal, scaled")):
        yield told, nirank.others(encoder >> nirank.load("k_reciprocal", scaled=scaled)), 0


def _ranked(ranking: Ranking, collection: Collection) -> Evaluation:
    found = ranking.search(collection.queries, collection.corpus)
    return nirank.evaluate(found, collection.judgments, MEASURES)


# Tables


def _table(name: str, asked: argparse.Namespace) -> Table:
    found, steps = rows(name, asked), STEPS[name]
    baseline = found[0]
    return Table(
        title=name,
        about=(
            f"{TOLD[name]} First stages, a ViT of {CONFIG['depth']} blocks and {CONFIG['dim']} dimensions, are trained "
            f"for {steps.first['steps']} steps, rerankers for {steps.rerankers['steps']}: far less than in "
            "`quality_omniglot.md`, so figures are lower, and tell of the beginning of training. "
            f"{len(baseline.outcomes)} seeds; means over seeds ± their standard deviation, 95 % bootstrap intervals "
            f"over queries, and the significance of the difference from {BASELINE} (randomisation test, two-sided, not "
            "corrected). Seconds are those of one seed, on two busy cores; those of all that stands behind a first "
            "stage are together."
        ),
        columns=["system", FIRST, PRECISION, "best steps", "seconds"],
        rows=[_cells(row, baseline) for row in found],
        notes=[_settings()],
    )


def _settings() -> str:
    told = (f"{loss} {', '.join(f'{name} {value}' for name, value in own.items())}" for loss, own in LOSSES.items())
    return f"Settings beside the defaults: {'; '.join(told)}."


def _cells(row: Row, baseline: Row) -> list[Cell]:
    compared = None if row is baseline else baseline
    steps = ", ".join(str(each.steps[0]) for each in row.outcomes) if not row.prefix else "-"
    return [row.name, row.figure(FIRST, compared), row.figure(PRECISION, compared), steps, row.seconds]
