"""Several rankings made into one.

Each method takes the candidates of every system and one weight for each, and returns their union with new
scores. A document that one system did not find gets nothing from it: that is part of each method's
definition, which is why fusing is a function with a name and not a sum of scores.

The Comb methods (Fox and Shaw 1994) take scores, normalised within each list unless told otherwise, times the weight of
their system; the others take ranks, of which no two documents of a list have the same one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.types import Floats
from nirank.errors import BadInput, CompositionError, UnknownName
from nirank.hints import is_finite
from nirank.pipeline.norms import NORMS, Column, normalised

Weights = NDArray[np.float64]
#: What `normalise` says where scores are taken as they are.
RAW = "none"
#: The kind of votes that are ranks, from 1; no norm has this name.
RANKS = "ranks"
#: So many pairs of documents are compared at a time: of float32, 128 KiB.
_COMPARED = 2**15
#: Margins of votes below this share of all weights are rounding, and no majority.
_ROUNDING = 1e-6
#: The rank of what was not found, behind every rank: as a float32 exact, as ranks are.
_UNRANKED = 2**24


def rrf(found: Sequence[Candidates], weights: Weights, k: float = 60.0) -> Candidates:
    """Reciprocal rank fusion: `sum_i w_i / (k + rank_i(d))`, ranks from 1 (Cormack, Clarke and Büttcher 2009)."""
    votes = _of_ranks(found, lambda ranks: 1.0 / (k + ranks))
    return votes.fused(votes.total(weights))


def combsum(found: Sequence[Candidates], weights: Weights, normalise: str = "minmax") -> Candidates:
    """CombSUM: the sum of the scores (Fox and Shaw 1994; scaled for each query, Lee 1997)."""
    votes = _of_scores(found, normalise)
    return votes.fused(votes.total(weights))


def combmnz(found: Sequence[Candidates], weights: Weights, normalise: str = "minmax") -> Candidates:
    """CombMNZ: CombSUM times the number of systems that found the document (Fox and Shaw 1994)."""
    votes = _of_scores(found, normalise)
    return votes.fused(votes.total(weights) * votes.finders)


def combgmnz(
    found: Sequence[Candidates], weights: Weights, normalise: str = "minmax", gamma: float = 0.5
) -> Candidates:
    """CombGMNZ: CombSUM times the number of finders to the power of `gamma` (Lee 1997); 0 is CombSUM, 1 CombMNZ."""
    votes = _of_scores(found, normalise)
    return votes.fused(votes.total(weights) * votes.finders**gamma)


def wmnz(found: Sequence[Candidates], weights: Weights, normalise: str = "minmax") -> Candidates:
    """Weighted MNZ: the sum of the scores times the sum of the finders' weights (Wu and Crestani 2002)."""
    votes = _of_scores(found, normalise)
    return votes.fused(votes.total(np.ones(len(found))) * _weighted_sum(weights, votes.found))


def combanz(found: Sequence[Candidates], weights: Weights, normalise: str = "minmax") -> Candidates:
    """CombANZ: CombSUM over the number of systems that found the document (Fox and Shaw 1994)."""
    votes = _of_scores(found, normalise)
    return votes.fused(votes.total(weights) / votes.finders)


def combmax(found: Sequence[Candidates], weights: Weights, normalise: str = "minmax") -> Candidates:
    """CombMAX: the highest of the scores that a document was found with (Fox and Shaw 1994)."""
    votes = _of_scores(found, normalise)
    return votes.fused(votes.weighted(weights, missing=-np.inf).max(axis=0))


def combmin(found: Sequence[Candidates], weights: Weights, normalise: str = "minmax") -> Candidates:
    """CombMIN: the least of the scores that a document was found with (Fox and Shaw 1994)."""
    votes = _of_scores(found, normalise)
    return votes.fused(votes.weighted(weights, missing=np.inf).min(axis=0))


def combmed(found: Sequence[Candidates], weights: Weights, normalise: str = "minmax") -> Candidates:
    """CombMED: the median of the scores that a document was found with (Fox and Shaw 1994)."""
    votes = _of_scores(found, normalise)
    rising = np.sort(votes.weighted(weights, missing=np.inf), axis=0)
    lower, upper = (np.take_along_axis(rising, middle[None], 0)[0] for middle in _middles(votes.finders))
    return votes.fused((lower + upper) / 2)


def isr(found: Sequence[Candidates], weights: Weights) -> Candidates:
    """Inverse square ranks, times the number of finders: `n sum_i w_i / rank_i(d)**2` (Mourão and others 2013)."""
    votes = _of_ranks(found, lambda ranks: 1.0 / ranks**2)
    return votes.fused(votes.total(weights) * votes.finders)


def log_isr(found: Sequence[Candidates], weights: Weights, sigma: float = 0.0) -> Candidates:
    """Inverse square ranks times `log(finders + sigma)` (Mourão and others 2013).

    With `sigma` at 0, what only one system found has the score 0; with a small one it still has an order ("logN").
    """
    votes = _of_ranks(found, lambda ranks: 1.0 / ranks**2)
    return votes.fused(votes.total(weights) * np.log(votes.finders + sigma))


def rbc(found: Sequence[Candidates], weights: Weights, phi: float = 0.9) -> Candidates:
    """Rank-biased centroids: `sum_i w_i (1 - phi) phi**(rank_i(d) - 1)` (Bailey, Moffat, Scholer and Thomas 2017)."""
    votes = _of_ranks(found, lambda ranks: (1 - phi) * phi ** (ranks - 1.0))
    return votes.fused(votes.total(weights))


def borda(found: Sequence[Candidates], weights: Weights) -> Candidates:
    """Borda's count: of n documents found, n points for a system's first and one less from rank to rank.

    What a system did not find shares its remaining points evenly (Aslam and Montague 2001).
    """
    votes = _of_ranks(found, lambda ranks: ranks)
    rows, sizes = votes.union.rows, np.repeat(votes.union.lengths, votes.union.lengths)
    left = np.array([(sizes - run.lengths[rows] + 1) / 2 for run in found])
    return votes.fused(_weighted_sum(weights, np.where(votes.found, sizes + 1 - votes.values, left)))


def condorcet(found: Sequence[Candidates], weights: Weights) -> Candidates:
    """Condorcet fusion: a document goes before another where systems of more weight rank it so.

    What a system did not find is behind all that it found. A document's score is Copeland's: 1, and 1 for each document
    that it beats, and a half for each that it ties with. Wherever the majorities are an order it is that order, the one
    of Montague and Aslam (2002); where they go in circles, it does not depend on how one sorts. Every pair of a query's
    documents is compared: of 2,000 it takes less than a tenth of a second, and memory does not grow with them.
    """
    votes = _of_ranks(found, lambda ranks: ranks)
    ranks = np.where(votes.found, votes.values, np.float32(_UNRANKED))
    scores = [_copeland(ranks[:, start:stop], weights) for start, stop in pairwise(votes.union.offsets.tolist())]
    return votes.fused(np.concatenate([np.empty(0), *scores]))


METHODS: dict[str, Callable[..., Candidates]] = {
    "rrf": rrf,
    "combsum": combsum,
    "combmnz": combmnz,
    "combgmnz": combgmnz,
    "wmnz": wmnz,
    "combanz": combanz,
    "combmax": combmax,
    "combmin": combmin,
    "combmed": combmed,
    "isr": isr,
    "log_isr": log_isr,
    "rbc": rbc,
    "borda": borda,
    "condorcet": condorcet,
}
#: What numbers a setting may have, where not every one makes sense.
_ALLOWED: dict[str, tuple[Callable[[float], bool], str]] = {
    "k": (lambda k: k >= 0, "from 0 on"),
    "phi": (lambda phi: 0 < phi < 1, "between 0 and 1"),
    "sigma": (lambda sigma: 0 <= sigma <= 1, "from 0 to 1"),
}


def check(method: str, settings: Mapping[str, Any]) -> None:
    """Raise `UnknownName` or `BadInput` unless `method` exists and takes these settings: a norm's name, and numbers."""
    if not isinstance(method, str):
        raise BadInput(f"fuse: method = {method!r} is not a name; a text such as 'rrf' is expected.")
    if method not in METHODS:
        raise UnknownName("fusion method", method, METHODS)
    known = list(inspect.signature(METHODS[method]).parameters)[2:]
    for name, value in settings.items():
        if name not in known:
            raise UnknownName(f"setting of fuse(method={method!r})", name, known)
        _check_norm(value) if name == "normalise" else _check_number(name, value)


def check_weights(weights: Any, rankings: int) -> tuple[float, ...]:
    """The weights as Python's own numbers.

    Raises `BadInput` unless they are a list (or a column) of finite numbers, `CompositionError` unless there is
    one for each ranking.
    """
    values = weights.tolist() if isinstance(weights, np.ndarray) else weights
    if not isinstance(values, Sequence) or isinstance(values, str) or not all(map(is_finite, values)):
        raise BadInput(f"fuse: weights = {weights!r} is not a list of finite numbers.")
    if len(values) != rankings:
        raise CompositionError(f"fuse: {len(values)} weights for {rankings} rankings; one weight for each is expected.")
    return tuple(value.item() if isinstance(value, np.generic) else value for value in values)


def _check_norm(value: Any) -> None:
    if not isinstance(value, str):
        raise BadInput(f"fuse: normalise = {value!r:.80} is not a name; a text such as 'minmax' is expected.")
    if value not in NORMS and value != RAW:
        raise UnknownName("norm", value, [*NORMS, RAW])


def _check_number(name: str, value: Any) -> None:
    if not is_finite(value):
        raise BadInput(f"fuse: {name} = {value!r} is not a number.")
    is_allowed, allowed = _ALLOWED.get(name, (is_finite, ""))
    if not is_allowed(value):
        raise BadInput(f"fuse: {name} = {value!r} is not a number {allowed}.")


@dataclass(frozen=True, eq=False)
class _Votes:
    """The opinion of each system of each document of their union.

    `values` (float32, 0 where it says nothing) and `found` are `[systems, pairs]`.
    """

    union: Candidates
    values: Floats
    found: NDArray[np.bool_]

    @classmethod
    def of(cls, runs: Sequence[Candidates]) -> _Votes:
        """The scores of the runs."""
        union = reduce(Candidates.union, runs)
        places = [union.places(run) for run in runs]
        values = [np.append(run.scores, np.float32(0))[at] for run, at in zip(runs, places, strict=True)]
        return cls(union, np.array(values), np.array([at >= 0 for at in places]))

    @property
    def finders(self) -> NDArray[np.int64]:
        """The number of systems that found each document, `[pairs]`."""
        return self.found.sum(axis=0)

    def total(self, weights: Weights) -> Column:
        """The weighted sum of what was said of each document, `[pairs]`."""
        return _weighted_sum(weights, self.values)

    def weighted(self, weights: Weights, missing: float) -> NDArray[np.float64]:
        """The values times their system's weight, and `missing` where nothing was said: `[systems, pairs]`."""
        return np.where(self.found, weights[:, None] * self.values, missing)

    def fused(self, scores: Column) -> Candidates:
        """The union, ranked by these scores."""
        return self.union.with_scores(scores).ranked()


class Runs(tuple[Candidates, ...]):
    """The candidates of several systems: their votes are counted once, however often they are weighed."""

    def votes(self, kind: str) -> _Votes:
        """The votes by ranks (`RANKS`), by scores (`RAW`), or by scores with a norm."""
        counted: dict[str, _Votes] = vars(self)
        if kind not in counted:
            counted[kind] = _Votes.of([_voting(run, kind) for run in self])
        return counted[kind]


def _voting(run: Candidates, kind: str) -> Candidates:
    """A run with what it gives to its documents as scores."""
    if kind == RANKS:
        ranked = run.ranked()
        return ranked.with_scores(1 + np.arange(run.pairs) - np.repeat(run.offsets[:-1], run.lengths))
    return run if kind == RAW else run.with_scores(normalised(run, kind))


def _of_scores(found: Sequence[Candidates], normalise: str) -> _Votes:
    """The votes of systems by their scores."""
    return (found if isinstance(found, Runs) else Runs(found)).votes(normalise)


def _of_ranks(found: Sequence[Candidates], points: Callable[[NDArray[np.float64]], Any]) -> _Votes:
    """The votes of systems by what the ranks in their lists, from 1, are worth."""
    votes = _of_scores(found, RANKS)
    worth = points(np.maximum(votes.values, 1).astype(np.float64)).astype(np.float32)
    return replace(votes, values=np.where(votes.found, worth, np.float32(0)))


def _weighted_sum(weights: Weights, rows: Iterable[NDArray[Any]]) -> Column:
    """The sum of the rows times their weights, in their order: as a matrix product does not promise."""
    return reduce(np.add, (weight * row for weight, row in zip(weights, rows, strict=True)))


def _middles(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places of the one or two values in the middle of so many."""
    return (counts - 1) // 2, counts // 2


def _copeland(ranks: Floats, weights: Weights) -> Column:
    """Copeland's score of each document of a query, from its ranks `[systems, documents]`."""
    documents = ranks.shape[1]
    step = max(1, _COMPARED // max(1, documents))
    wins = [_wins(ranks[:, start : start + step], ranks, weights) for start in range(0, documents, step)]
    return (1 + documents + np.concatenate([np.empty(0), *wins])) / 2  # a document ties with itself


def _wins(some: Floats, ranks: Floats, weights: Weights) -> NDArray[np.int64]:
    """Count how many more documents of their query some documents beat than they are beaten by."""
    margins = np.zeros((some.shape[1], ranks.shape[1]), np.float32)
    for weight, ours, theirs in zip(weights.astype(np.float32), some, ranks, strict=True):
        margins += weight * np.sign(theirs - ours[:, None])
    rounding = np.float32(_ROUNDING * np.abs(weights).sum())
    return np.count_nonzero(margins > rounding, axis=1) - np.count_nonzero(margins < -rounding, axis=1)
