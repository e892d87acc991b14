"""The agreement of two runs without judgments: which queries have the same results, and how alike the others are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.differences.aligned import Aligned, Ranked
from nirank.evaluation.overlap import rank_biased_overlap


@dataclass(frozen=True)
class Agreement:
    """The number of queries that either run has, by how far the results are the same; each query counts once.

    `same_bits`: the same documents in the same order, with the same scores (float32). `same_order`: with other scores.
    `same_set`: the same documents in another order. `other`: other documents; those that only one run has,
    `only_a` and `only_b`, are among these. `overlap` is the mean of the extrapolated rank-biased overlap with
    persistence `p`, and `overlaps` that of each query. `gap` is the largest difference of two scores of one document,
    over the larger of the two; None where no document has two. `documents` are the mean lengths of the lists, `ties`
    the numbers of documents that only the rule for ties ordered, both of a and b.
    """

    queries: int
    same_bits: int
    same_order: int
    same_set: int
    other: int
    only_a: int
    only_b: int
    overlap: float
    p: float
    overlaps: dict[str, float]
    gap: float | None
    documents: tuple[float, float]
    ties: tuple[int, int]


def agreement(aligned: Aligned, p: float) -> Agreement:
    """Count the queries whose results are the same, and measure the overlap of all."""
    asked = np.flatnonzero(aligned.asked)
    first, second = aligned.a.run, aligned.b.run
    order, bits = _same_order(aligned.a, aligned.b)
    sets = _same_sets(aligned)
    found = [int(np.count_nonzero(which[asked])) for which in (bits, order & ~bits, sets & ~order, ~sets)]
    overlaps = rank_biased_overlap(_tied(aligned.a).take(asked), _tied(aligned.b).take(asked), p)
    lengths = [side.lengths[asked] for side in (first, second)]
    return Agreement(
        len(asked),
        *found,
        only_a=int(np.count_nonzero(lengths[1] == 0)),
        only_b=int(np.count_nonzero(lengths[0] == 0)),
        overlap=float(overlaps.mean()),
        p=p,
        overlaps=dict(zip([aligned.query_ids[row] for row in asked.tolist()], overlaps.tolist(), strict=True)),
        gap=_gap(aligned),
        documents=(float(lengths[0].mean()), float(lengths[1].mean())),
        ties=(aligned.a.ties, aligned.b.ties),
    )


def _tied(ranked: Ranked) -> Candidates:
    """The run with one score for each group of equal ones, so that they stay tied and the groups ordered."""
    return ranked.run.with_scores(-ranked.groups)


def _same_order(a: Ranked, b: Ranked) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The queries with the same documents in the same order, and those with the same scores too."""
    alike = a.run.lengths == b.run.lengths
    order, bits = alike.copy(), alike.copy()
    within = np.flatnonzero(alike)
    first, second = a.run.take(within), b.run.take(within)
    scores = [side.run.with_scores(side.scores).take(within).scores for side in (a, b)]
    rows = within[first.rows]
    order[rows[first.docs != second.docs]] = False
    bits[rows[(first.docs != second.docs) | (scores[0] != scores[1])]] = False
    return order, bits


def _same_sets(aligned: Aligned) -> NDArray[np.bool_]:
    """The queries with the same documents, in whatever order."""
    first, second = aligned.a.run, aligned.b.run
    shared = np.bincount(first.rows[first.places(second) >= 0], minlength=len(first))
    return np.asarray((shared == first.lengths) & (shared == second.lengths), bool)


def _gap(aligned: Aligned) -> float | None:
    """The largest difference of the scores that a document has in both runs, over the larger one."""
    places = aligned.a.run.places(aligned.b.run)
    both = places >= 0
    if not both.any():
        return None
    one, other = (side.astype(np.float64) for side in (aligned.a.scores[both], aligned.b.scores[places[both]]))
    largest = np.maximum(np.abs(one), np.abs(other))
    with np.errstate(invalid="ignore"):  # infinite scores
        gaps = np.abs(one - other) / np.where(largest == 0, 1, largest)
    return float(np.nan_to_num(gaps, nan=0.0).max())
