"""Emoji by keyword when documents are pictures: dual encoders trained here, beside text retrieval over the names.

A dual encoder keeps MiniLM as its text tower, frozen, and learns to put pictures into MiniLM's space: from the keywords
of train, and from the names of all emoji, which text retrieval reads as well. Keywords of dev choose when to stop and
the weight of the fusion; no test keyword is ever seen. Zero-shot, the encoder then finds the groups of OpenMoji's own
pictures, none of which it was ever told. Three groups are catch-alls whose names say nothing of what is in them, and
hold what is no emoji of Unicode: they are wrong answers to all other pictures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from losses_cells import Cells, Outcome
from quality_rows import Row
from quality_table import Cell, Table

import nirank
from nirank.data import Candidates, Collection, Queries
from nirank.evaluation import Evaluation
from nirank.pipeline import Ranking, Stage

MEASURES = ("nDCG@10", "AP")
#: The measure of classification: whether the first class is the right one.
FIRST = "P@1"
BM25, MINILM = "BM25 over names", "MiniLM over names"
FUSED, GROUPS, TELLING = "fused ", "groups ", "telling "
#: Groups whose names say nothing.
CATCH_ALLS = ("component", "extras-openmoji", "extras-unicode")
#: Of MiniLM's cosine with a name beside that with the picture; dev chooses.
WEIGHTS = (0.25, 0.5, 1.0, 2.0)
_DEPTH = 100


@dataclass(frozen=True)
class Recipe:
    """An image tower and how it is trained."""

    settings: Mapping[str, Any]
    options: Mapping[str, Any]
    weights: str | None = None  # below the folder of data
    loss: str = "clip"
    told: str = ""
    negatives: int = 512

    def build(self, data: Path, seed: int, quick: bool) -> Stage:
        """The encoder, untrained."""
        given = {**self.settings, "freeze": ["text", *self.settings.get("freeze", ())], "seed": seed}
        if self.weights:
            given["image_weights"] = str(data / self.weights)
        if quick:
            given["image_size"] = 32
        return nirank.load("encoder/dual", "dual", **given)


LITE0 = "weights/efficientnet-lite0/efficientnet-lite0-57934424.pth"
RECIPES = {
    "ViT": Recipe(
        {"image": "vit", "image_size": 48, "vit_patch": 16, "vit_width": 128, "vit_layers": 2, "vit_heads": 4},
        {"steps": 1000, "batch_size": 256, "learning_rate": 2e-3, "evaluate_every": 200},
        told="48 x 48 pixels, 2 layers of 128, from nothing",
        negatives=0,
    ),
    "EfficientNet-lite0": Recipe(
        {"image": "efficientnet_lite0", "image_size": 112, "hidden": 1024, "freeze": ["image"]},
        {"epochs": 20, "batch_size": 256, "learning_rate": 2e-3},
        LITE0,
        told="frozen, 112 x 112 pixels, a layer of 1,024 on top",
    ),
}


def tables(asked: argparse.Namespace) -> list[Table]:
    """Keywords that find pictures, and pictures that find their groups."""
    names = [name for name in RECIPES if not asked.only or name in asked.only]
    trained = {name: _trained(name, RECIPES[name], asked) for name in names}
    return [_keywords(trained), _groups(trained, openmoji(asked.data))]


# Measuring


def _trained(name: str, recipe: Recipe, asked: argparse.Namespace) -> list[Outcome]:
    limits = {"steps": 4, "epochs": 1} if asked.quick else {}
    told = {"recipe": vars(recipe), "limits": limits, "measures": MEASURES, "weights": WEIGHTS}
    cells, seeds = Cells(asked.cells), range(1 if asked.quick else asked.seeds)
    make = partial(_measured, recipe, asked, limits)
    return [cells.get("emoji-images", name, told | {"seed": seed}, partial(make, seed)) for seed in seeds]


def _measured(recipe: Recipe, asked: argparse.Namespace, limits: Mapping[str, Any], seed: int) -> Outcome:
    """One dual encoder, trained, on all that it is asked."""
    start = time.perf_counter()
    dual, exact, dev, test = (
        recipe.build(asked.data, seed, asked.quick),
        nirank.load("exact"),
        _emoji("dev"),
        _emoji("test"),
    )
    options = {**recipe.options, **limits, "seed": seed}
    sampler = nirank.load("in_batch", negatives=recipe.negatives)
    train = _with_names(_emoji("train"))
    fitted = nirank.fit(dual, recipe.loss, train, sampler=sampler, dev=dev, pipeline=dual >> exact, **options)
    names = _of_names()
    best = max(WEIGHTS, key=lambda weight: _ranked(_fused(dual, names, weight), dev).mean["nDCG@10"])
    values = _values("", _ranked(dual >> exact, test)) | _values(FUSED, _ranked(_fused(dual, names, best), test))
    values |= _of_groups(dual, asked.data)
    return Outcome(values, fitted.best, [fitted.best_step], time.perf_counter() - start)


def _fused(dual: Stage, names: Stage, weight: float) -> Ranking:
    """What either finds, by the sum of the cosines with the picture and with the name."""
    found = names >> nirank.load("exact") % _DEPTH | dual >> nirank.load("exact") % _DEPTH
    return found >> dual + weight * names


def _of_groups(dual: Stage, data: Path) -> dict[str, list[float]]:
    """Whether each picture of OpenMoji finds its group first; and those alone whose group has a telling name."""
    dual.component.target.templates = TEMPLATES
    dual.component.changed()
    groups = openmoji(data)
    found = (dual >> nirank.load("exact")).search(groups.queries, groups.corpus)
    values = nirank.evaluate(found, groups.judgments, [FIRST]).values[FIRST]
    return {GROUPS + FIRST: values.tolist(), GROUPS + TELLING + FIRST: values[_telling(groups)].tolist()}


#: What a group's name is put into, to be compared with pictures.
TEMPLATES = ("{}", "an emoji of {}", "a pictogram of {}", "a small coloured drawing of {}", "the sign for {}")


def openmoji(data: Path) -> Collection:
    """OpenMoji's pictures as queries, their groups as documents."""
    return nirank.collection(f"images:{data / 'openmoji' / 'index.jsonl'}", ask="zero_shot", classes="group")


def _telling(groups: Collection) -> np.ndarray:
    """Which pictures are of a group whose name says what is in it, `[pictures]`."""
    return ~np.isin(groups.judgments.docs, groups.corpus.ids.find(list(CATCH_ALLS)))


def _emoji(split: str) -> Collection:
    return nirank.collection("emoji", split=split, content="image")


def _of_names() -> Stage:
    return nirank.load("minilm", "names", field="name")


def _with_names(collection: Collection) -> Collection:
    """The collection, and each emoji asked for by its name too."""
    corpus, asked = collection.corpus, collection.queries
    names = corpus.column("name", slice(None))
    ids = [*asked.ids, *(f"name{ordinal}" for ordinal in range(len(names)))]
    own = Candidates.of(np.arange(len(names))[:, None], np.ones((len(names), 1)), corpus)
    judgments = Candidates.stack([collection.judgments, own])
    return Collection(f"{collection.name}+names", corpus, Queries(ids, [*asked.contents, *names]), judgments)


def _ranked(ranking: Ranking, collection: Collection) -> Evaluation:
    found = ranking.search(collection.queries, collection.corpus)
    return nirank.evaluate(found, collection.judgments, MEASURES)


def _values(prefix: str, evaluation: Evaluation) -> dict[str, list[float]]:
    return {prefix + measure: column.tolist() for measure, column in evaluation.values.items()}


# Tables


def _keywords(trained: Mapping[str, Sequence[Outcome]]) -> Table:
    train, dev, test = (_emoji(split) for split in ("train", "dev", "test"))
    exact = nirank.load("exact")
    by_text = {BM25: nirank.load("bm25", field="name") % 1000, MINILM: _of_names() >> exact}
    rows = [Row(name, [Outcome(_values("", _ranked(one, test)), None, [], 0.0)]) for name, one in by_text.items()]
    for name, outcomes in trained.items():
        rows.append(Row(f"{name} over pictures", outcomes, RECIPES[name].told))
        rows.append(Row(f"{name} over pictures + MiniLM over names", outcomes, "weight chosen on dev", FUSED))
    return Table(
        title="Keywords that find pictures",
        about=(
            f"{len(train.queries)} keywords and {len(test.corpus):,} names train, {len(dev.queries)} keywords choose, "
            f"{len(test.queries)} test; {len(test.corpus):,} pictures are searched. Means over seeds ± their standard "
            "deviation, 95 % bootstrap intervals over keywords, and the significance of the difference "
            "from MiniLM over names (randomisation test, two-sided, not corrected)."
        ),
        columns=["system", "nDCG@10", "MAP", "nDCG@10 on dev", "seconds", "how"],
        rows=[_cells(row, rows[1]) for row in rows],
    )


def _cells(row: Row, baseline: Row) -> list[Cell]:
    alone = row.dev is not None and not row.prefix
    return [
        row.name,
        row.figure("nDCG@10", None if row is baseline else baseline),
        row.figure("AP"),
        row.dev if alone else None,
        row.seconds if alone else None,
        row.made,
    ]


def _groups(trained: Mapping[str, Sequence[Outcome]], groups: Collection) -> Table:
    telling = _telling(groups)
    chance = 1 / len(groups.corpus)
    largest = [np.bincount(docs).max() / len(docs) for docs in (groups.judgments.docs, groups.judgments.docs[telling])]
    rows: list[list[Cell]] = [
        ["one group at random", chance, chance],
        ["the largest group, always", *map(float, largest)],
    ]
    for name, outcomes in trained.items():
        of_all, of_telling = (Row(name, outcomes, prefix=GROUPS + part) for part in ("", TELLING))
        rows.append([name, of_all.figure(FIRST), of_telling.figure(FIRST)])
    return Table(
        title="Pictures that find their group",
        about=(
            f"{len(groups.queries):,} pictures of OpenMoji, {len(groups.corpus)} groups as documents, each the mean of "
            f"{len(TEMPLATES)} templates; the share of pictures whose first group is right. No encoder was told of "
            f"groups; the {int(telling.sum()):,} pictures of groups with a telling name were trained with, under names "
            "and keywords and drawn larger."
        ),
        columns=["encoder", "all pictures", "those whose group has a telling name"],
        rows=rows,
    )
