"""BM25, RM3 and MiniLM on NFCorpus, fused: with equal weights, with weights of dev, and cross-validated.

In five-fold cross-validation the queries of test are dealt out to folds, and each is fused by weights that the other
folds chose: no query is measured with weights that saw it. Trainings there are none, and `--seeds` changes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from quality_table import Cell, Figure, Table

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.evaluation import Comparison, Evaluation
from nirank.pipeline import Ranking, normalise
from nirank.training.fused import Trials, cross_validated

MEASURES = ("nDCG@10", "R@100", "AP")
MEASURE = MEASURES[0]
BASELINES = ("BM25", "MiniLM", "RM3")
#: Steps of the grid of weights, and folds.
STEP, FOLDS = 0.05, 5
#: Weights of RM3's scores beside MiniLM's cosines.
SCALES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
DEEP = 1000


@dataclass(frozen=True)
class Searched:
    """A collection with what BM25, RM3 and MiniLM found for it; MiniLM has scored every document."""

    collection: Collection
    found: Mapping[str, Candidates]
    everything: Candidates

    def generator(self, name: str) -> Ranking:
        """A pipeline that finds what was found."""
        return nirank.load(_Found(self.found[name]), name)


class _Found:
    """Finds for each query what was found for it before."""

    def __init__(self, run: Candidates) -> None:
        self._run, self._rows = run, {name: row for row, name in enumerate(run.query_ids or ())}

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The best `k` of each query."""
        return self._run.take(np.array([self._rows[name] for name in queries.ids], np.int64)).top(k)


@dataclass(frozen=True)
class System:
    """What a system came to on test, and the weights that it had."""

    evaluation: Evaluation
    weights: str = ""


def tables(asked: argparse.Namespace) -> list[Table]:
    """One table."""
    dev, test = (searched(asked, split) for split in ("dev", "test"))
    systems = {name: system() for name, system in _systems(dev, test).items() if _is_asked(name, asked)}
    evaluations = {name: system.evaluation for name, system in systems.items()}
    compared = [nirank.compare(evaluations, baseline, [MEASURE]) for baseline in BASELINES]
    return [
        Table(
            title="nfcorpus",
            about=(
                f"{len(test.collection.corpus):,} documents, {len(test.collection.queries):,} queries of test, "
                f"{len(dev.collection.queries):,} of dev; {DEEP:,} documents of each system are fused. Weights are "
                f"multiples of {STEP} that add up to 1, of BM25 (or RM3) and of MiniLM; folded ones were found for "
                f"{MEASURE} in {FOLDS}-fold cross-validation over queries. Differences are those of {MEASURE}, with a "
                "95 % bootstrap interval over queries and the p of a randomisation test, after Holm's correction."
            ),
            columns=["system", *MEASURES, *(f"over {name}" for name in BASELINES), "weights"],
            rows=[_row(name, system, compared) for name, system in systems.items()],
        )
    ]


def _is_asked(name: str, asked: argparse.Namespace) -> bool:
    return not asked.only or name in BASELINES or name in asked.only


def _row(name: str, system: System, compared: Sequence[Comparison]) -> list[Cell]:
    (mean,) = (row for row in compared[0].means if row.system == name)
    figures = [Figure(mean.mean, low=mean.low, high=mean.high), *map(system.evaluation.mean.get, MEASURES[1:])]
    return [name, *figures, *(_gain(name, *pair) for pair in zip(compared, BASELINES, strict=True)), system.weights]


def _gain(name: str, compared: Comparison, baseline: str) -> Figure | None:
    if name == baseline:
        return None
    row = compared.of(name, baseline, MEASURE)
    return Figure(row.difference, low=row.low, high=row.high, p=row.corrected)


def searched(asked: argparse.Namespace, split: str) -> Searched:
    """What the three systems find for the queries of a split."""
    collection = nirank.collection(f"beir:{asked.data / 'nfcorpus'}", split=split)
    collection = few(collection) if asked.quick else collection
    bm25, dense = nirank.load("bm25", k1=0.9, b=0.4), nirank.load("minilm") >> nirank.load("exact", device="cpu")
    everything = (dense % len(collection.corpus)).search(collection.queries, collection.corpus)
    rankings = {"BM25": bm25 % DEEP, "RM3": bm25 % 10 >> nirank.load("rm3") >> bm25 % DEEP}
    found = {name: ranking.search(collection.queries, collection.corpus) for name, ranking in rankings.items()}
    return Searched(collection, {**found, "MiniLM": everything.top(DEEP)}, everything)


def few(collection: Collection) -> Collection:
    """The beginning of a collection, and queries that are judged there."""
    ids, contents = collection.corpus.ids[:120], collection.corpus[:120]
    judged = collection.judgments.where(collection.judgments.docs < 120)
    corpus = Documents(ids, contents)
    cut = dataclasses.replace(collection, corpus=corpus, judgments=judged.over(corpus))
    return cut.take(np.flatnonzero(judged.lengths)[:20])


def _systems(dev: Searched, test: Searched) -> dict[str, Callable[[], System]]:
    """Every row by its name."""
    return {
        **{name: partial(_alone, test, name) for name in ("BM25", "MiniLM", "RM3")},
        "reciprocal ranks": lambda: _fused(test, method="rrf"),
        "CombSUM, equal weights": lambda: _fused(test, method="combsum"),
        "CombSUM, weights of dev": lambda: _of_dev(dev, test),
        "CombSUM, folded weights": lambda: _folded(test),
        "CombSUM of z-scores, folded weights": lambda: _folded(test, normalise="zscore"),
        "CombSUM of RM3 and MiniLM, folded weights": lambda: _folded(test, "RM3"),
        "the union by a sum of normalised scores, folded weights": lambda: _union_by_scores(test),
        "the union by RM3's scores plus MiniLM's, folded weight": lambda: _union_by_rm3(test),
    }


def _alone(test: Searched, name: str) -> System:
    return System(_evaluated(test, test.found[name]))


def _evaluated(searched: Searched, found: Candidates) -> Evaluation:
    return nirank.evaluate(found, searched.collection.judgments, list(MEASURES))


def _fuse(searched: Searched, first: str = "BM25", **settings: str) -> Any:
    given: dict[str, Any] = {"method": "combsum", **settings}
    return nirank.fuse(searched.generator(first), searched.generator("MiniLM"), **given)


def _fused(test: Searched, **settings: str) -> System:
    return System(_evaluated(test, _fuse(test, **settings).search(test.collection.queries, test.collection.corpus)))


def _of_dev(dev: Searched, test: Searched) -> System:
    fitted = nirank.fit_fusion(_fuse(dev), dev.collection, measure=MEASURE, step=STEP, folds=FOLDS)
    weights = fitted.pipeline.weights or ()
    fused = dataclasses.replace(fitted.pipeline, rankings=_fuse(test).rankings)
    return System(_evaluated(test, fused.search(test.collection.queries, test.collection.corpus)), _told(weights))


def _folded(test: Searched, first: str = "BM25", **settings: str) -> System:
    fitted = nirank.fit_fusion(_fuse(test, first, **settings), test.collection, measure=MEASURE, step=STEP, folds=FOLDS)
    return System(_evaluated(test, fitted.held_out), "; ".join(map(_told, fitted.fold_weights)))


def _union_by_scores(test: Searched) -> System:
    """`(bm25 | minilm >> exact) >> w * normalise(bm25, "minmax") + (1 - w) * normalise(minilm, "minmax")`."""
    union = test.found["BM25"].union(test.found["MiniLM"])
    lexical = normalise(nirank.load("bm25", k1=0.9, b=0.4), "minmax").score(test.collection.queries, union)
    dense = normalise(nirank.load(_Looked(test.everything), "minilm"), "minmax").score(test.collection.queries, union)
    weights = np.round(np.arange(0, 1 + STEP, STEP), 10)
    return _cross_validated(test, union, lexical, dense, np.stack([weights, 1 - weights], axis=1))


def _union_by_rm3(test: Searched) -> System:
    """`(rm3 | minilm >> exact) >> w * rm3 + minilm`, where what RM3 did not find has the least score that it gave."""
    expanded = test.found["RM3"]
    union = expanded.union(test.found["MiniLM"])
    least = np.full(len(expanded), np.inf, np.float32)
    np.minimum.at(least, expanded.rows, expanded.scores)
    given = union.lookup(expanded)
    given = np.where(np.isnan(given), np.where(np.isfinite(least), least, 0)[union.rows], given)
    weights = np.array([[scale, 1.0] for scale in SCALES])
    return _cross_validated(test, union, given, union.lookup(test.everything), weights)


class _Looked:
    """A scorer of pairs whose scores are known."""

    def __init__(self, known: Candidates) -> None:
        self._known = known

    def score(self, queries: Queries, candidates: Candidates) -> np.ndarray:  # noqa: ARG002 - all are known
        """Look them up."""
        return candidates.lookup(self._known)


def _cross_validated(
    test: Searched, union: Candidates, first: np.ndarray, second: np.ndarray, weights: np.ndarray
) -> System:
    """Two scores of the same pairs, added with the weights that the other folds chose."""
    ranked = [union.with_scores(one * first + other * second).ranked() for one, other in weights]
    measured = [nirank.evaluate(run, test.collection.judgments, [MEASURE]) for run in ranked]
    trials = Trials(weights, np.array([one.values[MEASURE] for one in measured]), measured[0].queries)
    chosen, folds = cross_validated(trials, len(union), FOLDS)
    places = [int(np.argmax((weights == each).all(axis=1))) for each in [chosen[0], *chosen]]  # fold 0: nobody judged
    parts = [np.flatnonzero(folds == fold) for fold in range(FOLDS + 1)]
    held_out = Candidates.stack([ranked[place].take(rows) for place, rows in zip(places, parts, strict=True)])
    found = held_out.take(np.argsort(np.concatenate(parts)))
    return System(_evaluated(test, found), "; ".join(map(_told, chosen)))


def _told(weights: Iterable[float]) -> str:
    return " / ".join(f"{weight:g}" for weight in weights)
