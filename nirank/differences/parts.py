"""The parts of a difference between two runs' measures: ties, rank changes of the same documents, new documents.

From run a to run b a measure changes in four steps, and each has its part:

    a -> a'   the documents that a ties are put into the order that b has of them
    a' -> b'  the documents of both go where b has them, and those of a alone make room for those of b alone
    b' -> b   the documents that b ties, which b' has in the order of a, are put back

The first and the last step are the part of the *ties*: what would vanish if each run had broken its ties as the other
ranks. The step between has two parts, which depend on which comes first: the documents of both may first change places
among the ranks that they hold in a', and the others be exchanged then, or the others be exchanged first, and those of
both change places among the ranks that they hold in b'. Each part is the mean of what it is either way (the Shapley
value of two players), so that the three parts add up to the difference, and have the other sign if a and b are
exchanged. What only one of the runs lists for a query is new, or gone: cut runs of different depth at one depth first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.differences.aligned import Ranked, in_order, reordered
from nirank.evaluation.evaluating import Evaluation

Measured = Callable[[Candidates], Evaluation]


@dataclass(frozen=True)
class Parts:
    """The parts of a measure's difference, b minus a, that fall to ties, rank changes and new documents."""

    ties: float
    ranks: float
    documents: float


def parts(a: Ranked, b: Ranked, measured: Measured, names: list[str]) -> dict[str, Parts]:
    """The parts of the difference of each measure, of the means over queries; they add up to it."""
    before, after = untied(a, b), untied(b, a)
    steps = (in_order(a.run), before, moved(before, after), moved(after, before), after, in_order(b.run))
    values = [measured(step) for step in steps]
    return {name: _parts(*(value[name] for value in values)) for name in names}


def _parts(a: float, before: float, first: float, last: float, after: float, b: float) -> Parts:
    return Parts(
        ties=(before - a) + (b - after),
        ranks=((first - before) + (after - last)) / 2,
        documents=((after - first) + (last - before)) / 2,
    )


def untied(one: Ranked, other: Ranked) -> Candidates:
    """The lists of `one`, each group of equal scores in the order of `other`, and last what `other` lacks."""
    places = _behind(one.run.places(other.run))
    order = np.lexsort((np.arange(one.run.pairs), places, one.groups, one.run.rows))
    return reordered(one.run, order)


def moved(one: Candidates, other: Candidates) -> Candidates:
    """The lists of `one`, in which the documents of both have changed places until they stand as in `other`."""
    places = one.places(other)
    at = np.flatnonzero(places >= 0)
    order = np.arange(one.pairs)
    order[at] = at[np.lexsort((places[at], one.rows[at]))]
    return reordered(one, order)


def _behind(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places, with those of what is not there behind all others."""
    return np.where(places < 0, np.iinfo(np.int64).max, places)
