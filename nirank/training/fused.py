"""The weights of a fusion, found on judged queries and cross-validated.

    fitted = nirank.fit_fusion(nirank.fuse(bm25, minilm >> exact, method="combsum"), dev)
    fitted.pipeline       # fuse(bm25, minilm >> exact, method='combsum', weights=[0.4, 0.6])
    fitted.evaluation     # of `dev`, each query fused by weights that were found without it

Weights are tried on a grid over the simplex: multiples of a step that add up to 1. Each query is fused once with each,
whatever the folds, for what a query comes to does not depend on others.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.errors import BadInput, CompositionError
from nirank.evaluation.evaluating import Evaluation, check_measures, evaluate
from nirank.pipeline.algebra import Fused
from nirank.pipeline.fusion import METHODS, Runs
from nirank.progress import progress

#: So many fusions are tried at most.
_MOST = 5000
#: Means that are no further apart are equal: sums of the same values in another order.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class FittedFusion:
    """A fusion whose weights were found, and what it is worth on queries that did not find them.

    `pipeline` has the weights that are best for all judged queries, `value` is the mean of `measure` there. `held_out`
    is what cross-validation found for the queries of the collection: each judged one is fused by the weights of its
    fold, which the other folds' queries chose; `fold_weights` are those, and `evaluation` measures it.
    """

    pipeline: Fused
    measure: str
    value: float
    held_out: Candidates
    fold_weights: list[tuple[float, ...]]
    evaluation: Evaluation

    def __str__(self) -> str:
        return (
            f"{self.pipeline!r}: {self.measure} {self.value:.4f} where the weights were found, "
            f"{self.evaluation[self.measure]:.4f} in {len(self.fold_weights)}-fold cross-validation"
        )


@dataclass(frozen=True, eq=False)
class Trials:
    """The outcome of each choice of weights: `weights` is `[trials, rankings]`, `values` `[trials, queries]`.

    The evenest weights come first. `queries` are the rows of the queries that are judged.
    """

    weights: NDArray[np.float64]
    values: NDArray[np.float64]
    queries: NDArray[np.int64]

    @classmethod
    def of(cls, fused: Fused, found: Sequence[Candidates], judgments: Candidates, measure: str, step: float) -> Trials:
        """Fuse what was found with every choice of weights, and measure it."""
        grid, tried, found = simplex(len(found), step), [], Runs(found)
        with progress("Trying weights", len(grid)) as advance:
            for weights in grid:
                tried.append(evaluate(fuse(fused, found, weights), judgments, [measure]))
                advance(1)
        return cls(grid, np.array([one.values[measure] for one in tried]), tried[0].queries)

    def best(self, rows: Any = slice(None)) -> NDArray[np.float64]:
        """The weights with the best mean over some queries; of equal ones the evenest."""
        means = self.values[:, rows].mean(axis=1)
        return self.weights[np.argmax(means >= means.max() - _ROUNDING)]


def fit_fusion(
    pipeline: Fused,
    collection: Collection,
    *,
    measure: str = "nDCG@10",
    step: float = 0.1,
    folds: int = 5,
    seed: int = 0,
) -> FittedFusion:
    """Find the weights of `fuse(...)` that are best for the queries of a collection, such as those of dev.

    All weights that are multiples of `step` and add up to 1 are tried; of those that are equally good the evenest are
    kept. What that is worth on other queries is told by cross-validation: queries are dealt out to `folds`, by `seed`,
    and each is fused by weights that were found without its fold. Raises `CompositionError` for another pipeline,
    `BadInput` for a step that does not divide 1, a grid of more than 5,000 points, and fewer judged queries than folds.
    """
    if not isinstance(pipeline, Fused):
        raise CompositionError(f"fit_fusion finds the weights of `fuse(a, b)`; {pipeline!r:.80} is none.")
    if not isinstance(collection, Collection):
        raise BadInput(f"fit_fusion takes a collection with judgments; here is a {type(collection).__name__}.")
    check_measures([measure])
    simplex(len(pipeline.rankings), step)  # which is worth knowing before the search
    _check_folds(folds, int(np.count_nonzero(collection.judgments.lengths)))
    found = [ranking.search(collection.queries, collection.corpus) for ranking in pipeline.rankings]
    trials = Trials.of(pipeline, found, collection.judgments, measure, step)
    weights, of_folds, rows = trials.best(), *cross_validated(trials, len(collection.queries), folds, seed)
    held_out = _held_out(pipeline, found, [weights, *of_folds], rows)
    return FittedFusion(
        dataclasses.replace(pipeline, weights=tuple(weights.tolist())),
        measure,
        float(trials.values[(trials.weights == weights).all(axis=1)].mean()),
        held_out,
        [tuple(one.tolist()) for one in of_folds],
        evaluate(held_out, collection.judgments, [measure]),
    )


def cross_validated(
    trials: Trials, queries: int, folds: int, seed: int = 0
) -> tuple[list[NDArray[np.float64]], NDArray[np.int64]]:
    """The weights of each fold, found without its queries, and the fold of each query, from 1: `[queries]`.

    Queries without judgments, which choose nothing, are in fold 0.
    """
    dealt = np.random.default_rng(seed).permutation(len(trials.queries)) % folds
    rows = np.zeros(queries, np.int64)
    rows[trials.queries] = 1 + dealt
    return [trials.best(dealt != fold) for fold in range(folds)], rows


def _held_out(
    pipeline: Fused, found: Sequence[Candidates], weights: Sequence[NDArray[np.float64]], folds: NDArray[np.int64]
) -> Candidates:
    """Each query fused with the weights of its fold."""
    parts = [np.flatnonzero(folds == fold) for fold in range(len(weights))]
    fused = [fuse(pipeline, [run.take(rows) for run in found], each) for rows, each in zip(parts, weights, strict=True)]
    return Candidates.stack(fused).take(np.argsort(np.concatenate(parts)))


def fuse(fused: Fused, found: Sequence[Candidates], weights: NDArray[np.float64]) -> Candidates:
    """Fuse what the rankings found with these weights."""
    return METHODS[fused.method](found, weights, **dict(fused.settings))


def simplex(rankings: int, step: float) -> NDArray[np.float64]:
    """All weights that are multiples of `step` and add up to 1, the evenest first: `[trials, rankings]`.

    Raises `BadInput` where the step does not divide 1, or there are too many.
    """
    parts = _parts(step)
    if (trials := math.comb(parts + rankings - 1, rankings - 1)) > _MOST:
        raise BadInput(f"step = {step!r} makes {trials:,} weights of {rankings} rankings to try: take a larger one.")
    walls = np.array([*combinations(range(parts + rankings - 1), rankings - 1)], np.int64).reshape(trials, rankings - 1)
    edges = np.pad(walls, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, parts + rankings - 1)))
    weights = (np.diff(edges, axis=1) - 1) / parts
    return weights[np.argsort((weights**2).sum(axis=1).round(12), kind="stable")]


def _parts(step: Any) -> int:
    is_number = isinstance(step, (int, float)) and not isinstance(step, bool) and 0 < step <= 1
    parts = round(1 / step) if is_number else 0
    if not parts or abs(parts * step - 1) > 1e-9:
        raise BadInput(f"step = {step!r} does not divide 1: take one such as 0.1 or 0.05.")
    return parts


def _check_folds(folds: Any, judged: int) -> None:
    if isinstance(folds, bool) or not isinstance(folds, int) or not 2 <= folds <= judged:
        raise BadInput(f"folds = {folds!r} is not a whole number from 2 to that of the judged queries, {judged}.")
