"""Settings of training that follow the number of lists to train on, beside those that were found on WikiQA.

KNRM and DRMM rank what is judged on WikiQA, and elsewhere the first documents that BM25 finds. Each collection is left
out in turn: the rule that does best on the others is then shown on it, beside the settings of `quality_wikiqa_recipes`.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from losses_cells import Cells, Outcome
from losses_columns import outcome
from quality_lexical import read
from quality_rows import Row
from quality_table import Cell, Table, number
from quality_wikiqa_recipes import RECIPES

import nirank
from nirank.data import Candidates, Collection
from nirank.evaluation import Evaluation
from nirank.pipeline import Stage
from nirank.training import Options
from nirank.training.examples import Timetable

MEASURE = "AP"
MODELS = ("KNRM", "DRMM")
#: How many documents of BM25 are ranked again, and the most queries that train outside of WikiQA.
_DEPTH, _MOST = 10, 300
#: WikiQA's lists of training make this many steps of an epoch in batches of 32.
_STEPS = 28

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """Options of training that follow from how many lists there are; `told` says how."""

    told: str
    options: Callable[[int], Settings]


def _batch(lists: int) -> int:
    return Timetable.of(lists, 1, Options(batch_size=32, epoch_steps=_STEPS)).step_size


def _steps(lists: int) -> int:
    """As many steps as ten epochs of batches of 32 have, and as many as those have on WikiQA at least."""
    return max(10 * _STEPS, 10 * -(-lists // 32))


TODAY = "today's"
RULES: Mapping[str, Rule] = {
    TODAY: Rule("batches of 32, 10 epochs, dev once an epoch", lambda lists: {"batch_size": 32, "epochs": 10}),
    "smaller batches": Rule(
        f"`epoch_steps = {_STEPS}`: batches of lists / {_STEPS}, from 4 to 32; else as today",
        lambda lists: {"batch_size": _batch(lists), "epochs": 10},
    ),
    "as many steps": Rule(
        f"batches of 32, {10 * _STEPS} steps at least, dev every {_STEPS} steps",
        lambda lists: {"batch_size": 32, "steps": _steps(lists), "evaluate_every": _STEPS},
    ),
    "both, and an early end": Rule(
        f"such batches, {10 * _STEPS} steps at least, dev every {_STEPS // 2} steps, and an end after {3 * _STEPS} "
        "steps without a better one",
        lambda lists: {
            "batch_size": _batch(lists),
            "steps": _steps(lists),
            "evaluate_every": _STEPS // 2,
            "patience": 6,
        },
    ),
}


@dataclass(frozen=True)
class Lists:
    """Lists to train on, to choose the step, and to test; `all_of_test` also has what the lists of test lack."""

    train: Collection
    dev: Collection
    test: Collection
    all_of_test: Candidates

    @property
    def count(self) -> int:
        """How many lists of training have something to learn from."""
        labels = self.train.judgments
        relevant = np.bincount(labels.rows, labels.scores > 0, len(labels))
        return int(((relevant > 0) & (relevant < np.diff(labels.offsets))).sum())


def _wikiqa(data: Path, few: int | None = None) -> Lists:
    name = f"beir:{data / 'wikiqa'}"
    train, dev, test = (nirank.collection(name, split=split, candidates="judged") for split in ("train", "dev", "test"))
    if few:
        train = train.take(np.random.default_rng(0).permutation(len(train.queries))[:few])
    return Lists(train, dev, test, test.judgments)


def _split(data: Path, name: str) -> Lists:
    """A collection of one split: of its queries, in an order of chance, 60 % train, 15 % choose, and 25 % test."""
    whole = read(data / name, quick=False)
    order = np.random.default_rng(0).permutation(len(whole.queries))
    first, second = int(0.6 * len(order)), int(0.75 * len(order))
    return _found(*(whole.take(np.sort(part)) for part in np.split(order, [first, second])))


def _parts(data: Path, name: str) -> Lists:
    """A collection with a split of training; a fifth of this chooses where there is no split for that."""
    train, test = (nirank.collection(f"beir:{data / name}", split=split) for split in ("train", "test"))
    order = np.random.default_rng(0).permutation(len(train.queries))
    if (data / name / "qrels.dev.txt").exists():
        dev = nirank.collection(f"beir:{data / name}", split="dev")
    else:
        dev, order = train.take(np.sort(order[: len(order) // 5])), order[len(order) // 5 :]
    return _found(train.take(np.sort(order[:_MOST])), dev, test)


def _found(*parts: Collection) -> Lists:
    """What BM25 finds for the queries, with labels."""
    first = nirank.load("bm25") % _DEPTH
    lists = []
    for part in parts:
        found = first.search(part.queries, part.corpus)
        lists.append(replace(part, judgments=found.with_scores(found.lookup(part.judgments, default=0))))
    return Lists(*lists, parts[-1].judgments)


COLLECTIONS: Mapping[str, Callable[[Path], Lists]] = {
    "WikiQA": _wikiqa,
    "WikiQA, 93 questions": partial(_wikiqa, few=93),
    "Cranfield": partial(_split, name="cranfield"),
    "Vaswani": partial(_split, name="vaswani"),
    "SciFact": partial(_parts, name="scifact"),
    "NFCorpus": partial(_parts, name="nfcorpus"),
}
#: What is left out together.
_KIN = {"WikiQA": "WikiQA", "WikiQA, 93 questions": "WikiQA"}


def tables(asked: argparse.Namespace) -> list[Table]:
    """What each rule comes to, and the rule that the others chose on each collection; `--only` names collections."""
    names = [name for name in COLLECTIONS if not asked.only or name in asked.only]
    rows = {(model, name): _rows(model, name, asked) for name in names for model in MODELS}
    about = (
        f"{' and '.join(MODELS)} with the losses and rates of WikiQA. Means over seeds ± their standard deviation, "
        "95 % bootstrap intervals over queries; differences have the significance of a randomisation test, two-sided, "
        f"not corrected. Outside of WikiQA the first {_DEPTH} documents of BM25 are ranked; Cranfield and Vaswani are "
        "cut into 60 % training, 15 % dev and 25 % test. Lists are those of training that have something to learn from."
    )
    rules = [f"`{name}`: {rule.told}." for name, rule in RULES.items()]
    return [
        Table("every rule, MAP on test", about, ["model", "collection", "lists", "BM25", *RULES],
              [_all(*key, found, asked) for key, found in rows.items()], rules),
        Table("a collection left out", "The rule that has the highest mean MAP on test over the other collections and "
              "both models.", ["model", "collection", "rule", "MAP", "above today's"],
              [_left_out(*key, rows) for key in rows]),
    ]  # fmt: skip


@functools.cache
def _lists(name: str, data: Path) -> Lists:
    return COLLECTIONS[name](data)


def _rows(model: str, name: str, asked: argparse.Namespace) -> dict[str, Row]:
    return {rule: _row(model, name, rule, asked) for rule in RULES}


def _row(model: str, name: str, rule: str, asked: argparse.Namespace) -> Row:
    lists, cells = _lists(name, asked.data), Cells(asked.cells)
    options = {**RULES[rule].options(lists.count), **({"steps": 4} if asked.quick else {})}
    told = {"model": model, "collection": name, "lists": lists.count, "options": options, "depth": _DEPTH}
    seeds = range(1 if asked.quick else asked.seeds)
    make = partial(_measured, model, lists, options, asked.data)
    return Row(rule, [cells.get(f"sizes-{model}", name, told | {"seed": seed}, partial(make, seed)) for seed in seeds])


def _measured(model: str, lists: Lists, options: Settings, data: Path, seed: int) -> Outcome:
    """A model trained by these options, on the lists of test."""
    start, recipe = time.perf_counter(), RECIPES[model]
    ((_, use, settings),) = (stage for stage in recipe.built(seed, data) if stage[0] == "model")
    stage, table = nirank.load(use, "model", **settings), recipe.train["model"]
    loss = nirank.load(f"loss/{table['loss']['use']}")
    rate = table["options"]["learning_rate"]
    given = {"dev": lists.dev, "measure": MEASURE, "learning_rate": rate, "seed": seed}
    fitted = nirank.fit(stage, loss, lists.train, **given, **options)
    return outcome(_tested(stage, lists), start, fitted)


def _tested(stage: Stage, lists: Lists) -> Evaluation:
    found = lists.test.judgments
    scored = found.with_scores(stage.score(lists.test.queries, found))
    return nirank.evaluate(scored.ranked(), lists.all_of_test, [MEASURE])


def _all(model: str, name: str, rows: Mapping[str, Row], asked: argparse.Namespace) -> list[Cell]:
    lists = _lists(name, asked.data)
    baseline = _tested(nirank.load("bm25"), lists)[MEASURE]
    return [model, name, str(lists.count), number(baseline), *(row.figure(MEASURE) for row in rows.values())]


def _left_out(model: str, name: str, rows: Mapping[tuple[str, str], Mapping[str, Row]]) -> list[Cell]:
    others = [found for (_, other), found in rows.items() if _KIN.get(other, other) != _KIN.get(name, name)]
    if not others:
        return [model, name, "no other collection", None, None]
    best = max(RULES, key=lambda rule: np.mean([found[rule].values(MEASURE).mean() for found in others]))
    chosen, today = rows[model, name][best], rows[model, name][TODAY]
    return [model, name, best, chosen.figure(MEASURE), None if best == TODAY else chosen.gain(today, MEASURE)]
