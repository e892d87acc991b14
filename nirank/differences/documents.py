"""The documents that moved a query's measure most: the contribution of each, in either run.

A document contributes to a measure what would be lost if nobody had judged it, at the rank where it stands. For
measures that add up gains (nDCG, P, R, RBP) the contributions of all documents add up to the measure, and their
differences to the difference of the runs; for others, such as AP and RR, they say which documents matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.explanation import Explanation
from nirank.data.offsets import offsets_of
from nirank.differences.aligned import Aligned, in_order
from nirank.evaluation.evaluating import Evaluation

Measured = Callable[[Candidates, Candidates], Evaluation]

#: Judged documents of a query that are looked at, those that stand highest in either run.
_LOOKED_AT = 100


@dataclass(frozen=True)
class MovedDocument:
    """A judged document of a query: its grade, its rank in either run (None where it is not found), and by how much
    that changed the measure. `why_a` and `why_b` explain its scores, where a pipeline at hand can.
    """

    id: str
    grade: float
    rank_a: int | None
    rank_b: int | None
    contribution: float
    why_a: Explanation | None = None
    why_b: Explanation | None = None


def moved_documents(
    aligned: Aligned, row: int, measure: str, measured: Measured, most: int
) -> tuple[MovedDocument, ...]:
    """The documents of a query whose change of rank changed the measure most, at most so many, the most first."""
    judged, grades = aligned.judgments[row]
    places = [_ranks_of(run, row, judged) for run in (aligned.a.run, aligned.b.run)]
    apart = np.flatnonzero(places[0] != places[1])
    highest = np.minimum(*_far(places))[apart]
    chosen = apart[np.argsort(highest, kind="stable")[:_LOOKED_AT]]
    parts = [_contributions(aligned, side, row, judged[chosen], measure, measured) for side in ("a", "b")]
    moved = parts[1] - parts[0]
    best = np.argsort(-np.abs(moved), kind="stable")[:most]
    names = aligned.ids.take(judged[chosen[best]])
    return tuple(
        MovedDocument(name, float(grades[at]), _rank(places[0][at]), _rank(places[1][at]), float(moved[place]))
        for name, place, at in zip(names, best.tolist(), chosen[best].tolist(), strict=True)
        if moved[place]
    )


def _ranks_of(run: Candidates, row: int, docs: NDArray[np.integer]) -> NDArray[np.int64]:
    """The rank of each document in a list, 0 where it is not there."""
    one = run.take(slice(row, row + 1))
    asked = Candidates(np.array([0, len(docs)]), docs, np.zeros(len(docs)))
    return asked.places(one) + 1


def _far(places: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """Ranks, that of what is not there below all."""
    return [np.where(each == 0, np.iinfo(np.int64).max, each) for each in places]


def _rank(place: np.int64) -> int | None:
    return int(place) or None


def _contributions(
    aligned: Aligned, side: str, row: int, docs: NDArray[np.integer], measure: str, measured: Measured
) -> NDArray[np.float64]:
    """The contribution of each document to the measure of one run: with all judged, less without this one."""
    run = in_order((aligned.a if side == "a" else aligned.b).run.take(slice(row, row + 1)))
    variants = _without(run, docs, len(aligned.ids))
    judgments = _repeated(aligned.judgments.take(slice(row, row + 1)), len(variants))
    values = measured(variants, judgments).values[measure]
    return values[0] - values[1:]


def _without(run: Candidates, docs: NDArray[np.integer], size: int) -> Candidates:
    """The list of a query, and for each document the list with one that nobody knows in its place."""
    several = _repeated(run, len(docs) + 1)
    gone = np.concatenate([[-1], docs])[several.rows]
    return in_order(Candidates(several.offsets, np.where(several.docs == gone, size, several.docs), several.scores))


def _repeated(one: Candidates, times: int) -> Candidates:
    """The only list of candidates, several times."""
    offsets = offsets_of(np.full(times, one.pairs))
    return Candidates(offsets, np.tile(one.docs, times), np.tile(one.scores, times))
