"""Further measures on columns: gains that grow with 2^y, cascades, persistence, and counts.

nDCG(dcg='exp-log2')@10   nDCG with gains 2^y - 1 (Burges et al. 2005), the measure of papers on learning to rank
DCG@10                    the same without the ideal; gains are grades, or 2^y - 1 with dcg='exp-log2'
ERR@20                    expected reciprocal rank; grades up to 4, as for gdeval, unless max_rel says otherwise
RBP, RBP(p=0.5,rel=1)@10  rank-biased precision; p is 0.8 unless given, and gains are graded without `rel`
F1@10                     the harmonic mean of precision and recall
Accuracy                  how often a relevant document stands before one that is not, among those retrieved
NumRel                    how many documents are relevant, summed over queries
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.errors import BadInput
from nirank.evaluation.kinds import Kind, check_cutoff, check_settings
from nirank.evaluation.measures import Grades, Measure, Values, is_rank, ndcg, precision, ratio, recall, within_cutoff

#: How measures are written elsewhere (BEIR, ranx, papers), and their names here.
SPELLINGS = {
    **dict.fromkeys(["ndcg"], "nDCG"),
    **dict.fromkeys(["dcg"], "DCG"),
    **dict.fromkeys(["map", "ap"], "AP"),
    **dict.fromkeys(["mrr", "rr"], "RR"),
    **dict.fromkeys(["recall", "r"], "R"),
    **dict.fromkeys(["precision", "p"], "P"),
    **dict.fromkeys(["success", "hits", "hit", "hit_rate", "hitrate"], "Success"),
    **dict.fromkeys(["f1"], "F1"),
    **dict.fromkeys(["err"], "ERR"),
    **dict.fromkeys(["rbp"], "RBP"),
    **dict.fromkeys(["judged"], "Judged"),
    **dict.fromkeys(["accuracy"], "Accuracy"),
    **dict.fromkeys(["rprec", "r_precision"], "Rprec"),
    **dict.fromkeys(["bpref"], "Bpref"),
}
_LARGEST = 4  # the largest grade of gdeval, which ERR is known by
_ALMOST = 1 - 2.0**-53  # the largest probability below 1: from grade 54 on `1 - 2^-y` is rounded to 1
_PERSISTENCE = 0.8
_BURGES = "_burges"  # as ranx names gains of 2^y - 1: `ndcg_burges@10`


def respelled(measure: Measure) -> Measure | None:
    """The measure by its name here, where it is written as elsewhere: `ndcg@10`, `Hits@1`; else None."""
    written = measure.name.lower().removesuffix(_BURGES)
    name = SPELLINGS.get(written)
    if name is None or name == measure.name:
        return None
    gains = {"dcg": "exp-log2"} if measure.name.lower().endswith(_BURGES) else {}
    return Measure(name, {**gains, **measure.settings}, measure.cutoff)


def graded(measure: Measure, level: int = 1) -> Callable[[Grades], Values] | None:
    """A function that computes this measure, or None where this module does not.

    `level` is the least grade that counts as relevant. Raises `BadInput` or `UnknownName` for settings that the
    measure cannot have.
    """
    kind = _KINDS.get(measure.name)
    settings = dict(measure.settings)
    cutoff = settings.pop("cutoff", measure.cutoff)
    if kind is None or (measure.name == "nDCG" and "dcg" not in settings) or "judged_only" in settings:
        return None
    check_settings(measure.name, settings, [*kind.settings, "cutoff"], _SETTINGS)
    check_cutoff(measure.name, cutoff, kind.cut)
    if "rel" in kind.settings and (level != 1 or measure.name != "RBP"):  # which is graded unless one says otherwise
        settings.setdefault("rel", level)
    return lambda judged: kind.compute(judged, cutoff, **settings)


def exponential_ndcg(judged: Grades, cutoff: int | None, dcg: str) -> Values:
    """Compute nDCG with gains `2^y - 1`, over 2 to the query's largest grade, so that none overflows. `[queries]`"""
    if dcg == "log2":
        return ndcg(judged, cutoff)
    rows, ranks, best = judged.ideal
    largest = np.zeros(len(judged))
    np.maximum.at(largest, rows, best)
    found = np.maximum(judged.grades, 0).astype(np.float64)
    gained = _discounted(judged.rows, judged.ranks, _gains(found, largest[judged.rows]), cutoff, len(judged))
    ideal = _discounted(rows, ranks, _gains(best, largest[rows]), cutoff, len(judged))
    return ratio(gained, ideal)


def discounted_gain(judged: Grades, cutoff: int | None, dcg: str = "log2") -> Values:
    """Discounted cumulative gain, with the discount log2(rank + 1); negative grades gain nothing. `[queries]`"""
    gains = np.maximum(judged.grades, 0).astype(np.float64)
    if dcg == "exp-log2":
        gains = _gains(gains, np.zeros(len(gains)))
    return _discounted(judged.rows, judged.ranks, gains, cutoff, len(judged))


def _gains(grades: Values, largest: Values) -> Values:
    """`(2^y - 1) / 2^largest`."""
    return np.asarray(np.exp2(grades - largest) - np.exp2(-largest), np.float64)


def _discounted(
    rows: NDArray[np.int64], ranks: NDArray[np.int64], gains: Values, cutoff: int | None, queries: int
) -> Values:
    within = within_cutoff(ranks, cutoff)
    return np.bincount(rows[within], gains[within] / np.log2(ranks[within] + 1.0), queries).astype(np.float64)


def expected_reciprocal_rank(judged: Grades, cutoff: int | None, max_rel: int = _LARGEST) -> Values:
    """The expected reciprocal of the rank at which a reader who stops where satisfied stops. `[queries]`

    Chapelle et al., Expected Reciprocal Rank for Graded Relevance, CIKM 2009: a document of grade y satisfies with
    the probability `(2^y - 1) / 2^max_rel`. Raises `BadInput` for a grade above `max_rel`.
    """
    highest = judged.judgments.scores.max(initial=0)
    if highest > max_rel:
        raise BadInput(f"ERR expects grades up to {max_rel}, but the highest is {highest:g}: ERR(max_rel={highest:g}).")
    satisfied = _gains(np.maximum(judged.grades, 0).astype(np.float64), np.zeros(1)) / 2.0**max_rel
    missed = np.log1p(-np.minimum(satisfied, _ALMOST))
    passed = np.cumsum(missed) - missed  # of all hits before, in whatever query
    first = np.searchsorted(judged.rows, judged.rows)
    stops = satisfied * np.exp(passed - passed[first]) / judged.ranks
    return judged.sums(stops, within_cutoff(judged.ranks, cutoff))


def rank_biased_precision(
    judged: Grades, cutoff: int | None, p: float = _PERSISTENCE, rel: int | None = None
) -> Values:
    """`(1 - p)` times the sum of `g p^(rank - 1)`; Moffat and Zobel, TOIS 2008. `[queries]`

    The gain g is 1 from grade `rel` on; without `rel` it is the grade over the largest that the query has, if that
    is above 1.
    """
    if rel is None:
        largest = np.ones(len(judged))
        np.maximum.at(largest, judged.judgments.rows, judged.judgments.scores)
        gains = np.maximum(judged.grades, 0) / largest[judged.rows]
    else:
        gains = (judged.grades >= rel).astype(np.float64)
    return judged.sums((1 - p) * gains * p ** (judged.ranks - 1.0), within_cutoff(judged.ranks, cutoff))


def rbp_residual(judged: Grades, p: float) -> Values:
    """The rise of rank-biased precision if all that is not judged, found or not, were relevant, `[queries]`.

    0 where nothing was retrieved, as trec_eval has it.
    """
    weights = (1 - p) * p ** (judged.ranks - 1.0)
    return np.where(judged.retrieved > 0, np.maximum(1 - judged.sums(weights, judged.grades >= 0), 0), 0)


def unjudged_rate(judged: Grades, cutoff: int) -> Values:
    """The part of the first `cutoff` ranks that holds documents which are not judged. `[queries]`"""
    known = judged.sums((judged.grades >= 0) & within_cutoff(judged.ranks, cutoff))
    return (np.minimum(judged.retrieved, cutoff) - known) / cutoff


def f1(judged: Grades, cutoff: int | None, rel: int = 1) -> Values:
    """The harmonic mean of precision and recall, of all that was retrieved without a cutoff. `[queries]`"""
    deepest = max(1, int(judged.retrieved.max(initial=0)))
    found = precision(judged, cutoff or deepest, rel) * (cutoff or deepest)
    at = judged.retrieved.astype(np.float64) if cutoff is None else np.full(len(judged), float(cutoff))
    precise = ratio(found, at)
    complete = recall(judged, cutoff or deepest, rel)
    both = precise + complete
    return ratio(2 * precise * complete, both)


def accuracy(judged: Grades, cutoff: int | None, rel: int = 1) -> Values:
    """The share of retrieved pairs in which a relevant document stands before one that is not, `[queries]`.

    1 where all are relevant, 0 where none is.
    """
    hits = (judged.grades >= rel) & within_cutoff(judged.ranks, cutoff)
    relevant, ranks = judged.sums(hits), judged.sums(judged.ranks, hits)
    retrieved = judged.retrieved if cutoff is None else np.minimum(judged.retrieved, cutoff)
    before = ranks - relevant * (relevant + 1) / 2  # pairs in the wrong order
    pairs = relevant * (retrieved - relevant)
    return np.where(relevant > 0, 1 - ratio(before, pairs), 0.0)


def number_relevant(judged: Grades, _: None, rel: int = 1) -> Values:
    """The number of documents that are judged relevant, retrieved or not. `[queries]`"""
    return judged.relevant(rel)


#: Measures whose value for all queries is a sum.
COUNTED = ("NumRel",)
_KINDS = {
    **dict.fromkeys(["nDCG", "NDCG"], Kind(exponential_ndcg, ("dcg",))),
    "DCG": Kind(discounted_gain, ("dcg",)),
    "ERR": Kind(expected_reciprocal_rank, ("max_rel",)),
    "RBP": Kind(rank_biased_precision, ("p", "rel")),
    "F1": Kind(f1, ("rel",)),
    "Accuracy": Kind(accuracy, ("rel",)),
    "NumRel": Kind(number_relevant, ("rel",), cut=False),
}
_SETTINGS: dict[str, Callable[[Any], bool]] = {
    "dcg": lambda value: value in ("log2", "exp-log2"),
    "max_rel": lambda value: is_rank(value) and value < 1024,
    "p": lambda value: isinstance(value, float) and 0 < value < 1,
    "rel": is_rank,
}
