"""Negatives from a ranking: which of its documents may be drawn for each query, and how they are drawn."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Ints, offsets_of


def pool(run: Candidates, relevant: Candidates, skip: int, top: int, below: float | None) -> Candidates:
    """The documents from rank `skip` + 1 to `top` that are not relevant, one row a query.

    Ranks are those of all documents found, by falling score, then rising ordinal. `below` leaves out what scores above
    that share of the best relevant document found (`_limits`).
    """
    ranked = run.ranked()
    ranks = np.arange(ranked.pairs) - np.repeat(ranked.offsets[:-1], ranked.lengths)
    known = ranked.lookup(relevant, 0) > 0
    kept = (ranks >= skip) & (ranks < top) & ~known
    if below is not None:
        kept &= ranked.scores <= _limits(ranked, known, below)[ranked.rows]
    return ranked.where(kept)


def _limits(ranked: Candidates, known: NDArray[np.bool_], below: float) -> NDArray[np.float64]:
    """The highest score that a negative of each query may have, `[queries]`; infinite where no relevant one was found.

    It lies below the best relevant one's score s by (1 - `below`) |s|: at `below` s where s is positive, and as far
    down, at (2 - `below`) s, where it is negative.
    """
    queries, first = np.unique(ranked.rows[known], return_index=True)
    best = ranked.scores[known][first].astype(np.float64)
    limits = np.full(len(ranked), np.inf)
    limits[queries] = np.where(best > 0, below * best, (2 - below) * best)
    return limits


def draw(pool: Candidates, rows: Ints, most: int, random: np.random.Generator) -> Candidates:
    """At most `most` documents of each of the `rows` of `pool`, any set of them as likely as another; scores are 0."""
    starts = pool.offsets[rows]
    places = choose(pool.offsets[rows + 1] - starts, most, random)
    chosen = places >= 0
    docs = pool.docs[(starts[:, None] + places)[chosen]]
    return Candidates(offsets_of(chosen.sum(axis=1)), docs, np.zeros(len(docs), np.float32), pool.corpus)


def some(lists: Candidates, most: int, random: np.random.Generator) -> Candidates:
    """At most `most` documents of each list, drawn as `draw` does, in their order and with their scores."""
    drawn = draw(lists, np.arange(len(lists)), most, random)
    return lists.where(~np.isnan(lists.lookup(drawn)))


def choose(sizes: Ints, most: int, random: np.random.Generator) -> NDArray[Any]:
    """Choose for each n of `sizes` at most `most` different numbers below n, `[rows, most]`; -1 where n has no more.

    Floyd's algorithm for all rows at once: to choose k of n, draw from 0..j for j = n - k, ..., n - 1, and take j
    itself where what was drawn is taken already. The cost does not depend on n (Bentley and Floyd, A Sample of
    Brilliance, Communications of the ACM 30(9), 1987).
    """
    wanted = np.minimum(sizes, most)
    places = np.full((len(sizes), most), -1)
    for step in range(wanted.max(initial=0)):
        (rows,) = np.nonzero(step < wanted)
        last = (sizes - wanted)[rows] + step
        drawn = random.integers(0, last, endpoint=True)
        taken = (places[rows, :step] == drawn[:, None]).any(axis=1)
        places[rows, step] = np.where(taken, last, drawn)
    return places
