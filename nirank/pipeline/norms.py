"""Scores brought to one scale within each list, so that those of different systems can be added.

Each norm maps the scores of a list, whatever their scale, by what the list holds: its least score, its mean, its
length. They are computed in float64 over columns, all lists at once, and each list by itself. The names are the
field's, and ranx's where it has them: `zscore` is its "zmuv".
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.types import Floats
from nirank.errors import BadInput, UnknownName
from nirank.hints import is_finite

Column = NDArray[np.float64]


class Lists:
    """The lists that a column of scores is cut into; those without a document take no room in it."""

    def __init__(self, candidates: Candidates) -> None:
        filled = candidates.lengths > 0
        self.starts, self.lengths = candidates.offsets[:-1][filled], candidates.lengths[filled]

    def each(self, reduce: np.ufunc, column: Column) -> Column:
        """The reduction of each list, beside every pair of it: `[pairs]`."""
        return self.spread(reduce.reduceat(column, self.starts))

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """A value of each list, beside every pair of it: `[pairs]`."""
        return np.repeat(values, self.lengths)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The length of the list of each pair, `[pairs]`."""
        return self.spread(self.lengths)


def minmax(scores: Column, lists: Lists) -> Column:
    """Scale to 0..1: `(s - min) / (max - min)` (Lee 1997); 1 where all are equal, for to be found counts."""
    lowest, highest = lists.each(np.minimum, scores), lists.each(np.maximum, scores)
    return _over(scores - lowest, highest - lowest, otherwise=1.0)


def zscore(scores: Column, lists: Lists) -> Column:
    """Give mean 0 and variance 1 (Montague and Aslam 2001): `(s - mean) / deviation`; 0 where all are equal."""
    centred = scores - lists.each(np.add, scores) / lists.sizes
    return _over(centred, np.sqrt(lists.each(np.add, centred**2) / lists.sizes), otherwise=0.0)


def softmax(scores: Column, lists: Lists, temperature: float = 1.0) -> Column:
    """Make shares that add up to 1: `exp(s / temperature)` over their sum. A low temperature favours the best."""
    with np.errstate(over="ignore"):  # a difference beyond every number is infinite, and its share 0
        powers = np.exp((scores - lists.each(np.maximum, scores)) / temperature)
    return powers / lists.each(np.add, powers)


def rank(scores: Column, lists: Lists) -> Column:
    """Fall evenly from 1 at the best: `1 - (rank - 1) / length`. Equal scores share the mean of their ranks."""
    order = np.lexsort((-scores, lists.spread(lists.starts)))
    ordered = scores[order]
    first = np.append(True, ordered[1:] != ordered[:-1])
    first[lists.starts] = True
    begin = np.flatnonzero(first)
    length = np.diff(np.append(begin, len(scores)))
    places = np.empty(len(scores))
    places[order] = np.repeat(begin + (length - 1) / 2, length)
    return 1 - (places - lists.spread(lists.starts)) / lists.sizes


def by_max(scores: Column, lists: Lists) -> Column:
    """Divide by the highest score (Lee 1995), of scores from 0 up; 0 where all are 0."""
    if (scores < 0).any():
        raise BadInput(
            f'normalise: "max" divides by the highest score, and {int((scores < 0).sum())} of {len(scores)} scores are '
            'negative: take "minmax".'
        )
    return _over(scores, lists.each(np.maximum, scores), otherwise=0.0)


def by_sum(scores: Column, lists: Lists) -> Column:
    """Make shares of what lies above the least score (Montague and Aslam 2001); equal shares where all are equal."""
    above = scores - lists.each(np.minimum, scores)
    return _over(above, lists.each(np.add, above), otherwise=1 / lists.sizes)


NORMS: dict[str, Callable[..., Column]] = {
    "minmax": minmax,
    "zscore": zscore,
    "softmax": softmax,
    "rank": rank,
    "max": by_max,
    "sum": by_sum,
}


def normalised(candidates: Candidates, norm: str, **settings: float) -> Floats:
    """The scores of each list, normalised: float32 `[pairs]`.

    Raises `BadInput` for scores that are not finite; for `rank` only for what is no number.
    """
    if not candidates.pairs:
        return candidates.scores
    scores = candidates.scores.astype(np.float64)
    _refuse(np.isnan(scores) if norm == "rank" else ~np.isfinite(scores), norm)
    return NORMS[norm](scores, Lists(candidates), **settings).astype(np.float32)


def check_norm(norm: Any, settings: Mapping[str, Any]) -> None:
    """Raise `BadInput` or `UnknownName` unless there is such a norm, with such settings."""
    if not isinstance(norm, str):
        raise BadInput(f"normalise: {norm!r:.80} is not the name of a norm; a text such as 'minmax' is expected.")
    if norm not in NORMS:
        raise UnknownName("norm", norm, NORMS)
    known = list(inspect.signature(NORMS[norm]).parameters)[2:]
    for name, value in settings.items():
        if name not in known:
            raise UnknownName(f"setting of normalise(..., {norm!r})", name, known)
        if not is_finite(value) or value <= 0:
            raise BadInput(f"normalise: {name} = {value!r} is not a number above 0.")


def _over(values: Column, divisor: Column, otherwise: Any) -> Column:
    """The quotient, and `otherwise` where the divisor is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(divisor > 0, values / divisor, otherwise)


def _refuse(wrong: NDArray[np.bool_], norm: str) -> None:
    if wrong.any():
        raise BadInput(
            f"normalise: {int(wrong.sum())} of {len(wrong)} scores are infinite or no number (NaN), and {norm!r} has "
            'no place for them. "rank" takes infinite ones.'
        )
