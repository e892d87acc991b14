"""Several rankings made into one.

Each method takes the candidates of every system and one weight for each, and returns their union with new
scores. A document that one system did not find gets nothing from it: that is part of each method's
definition, which is why fusing is a function with a name and not a sum of scores.
"""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.errors import BadInput, CompositionError, UnknownName

Weights = NDArray[np.float64]


def rrf(found: Sequence[Candidates], weights: Weights, k: float = 60.0) -> Candidates:
    """Reciprocal rank fusion: `sum_i w_i / (k + rank_i(d))`, ranks from 1 (Cormack, Clarke and Büttcher 2009)."""
    return _sum([run.with_scores(1.0 / (k + _ranks(run))) for run in map(Candidates.ranked, found)], weights)


def combsum(found: Sequence[Candidates], weights: Weights) -> Candidates:
    """CombSUM of scores scaled to 0..1 for each query (Fox and Shaw 1994; Lee 1997)."""
    return _sum([run.with_scores(_scaled(run)) for run in found], weights)


def combmnz(found: Sequence[Candidates], weights: Weights) -> Candidates:
    """CombMNZ: CombSUM times the number of systems that found the document (Fox and Shaw 1994)."""
    fused = combsum(found, weights)
    finders = sum(np.isfinite(fused.lookup(run)) for run in found)
    return fused.with_scores(fused.scores * finders).ranked()


METHODS: dict[str, Callable[..., Candidates]] = {"rrf": rrf, "combsum": combsum, "combmnz": combmnz}


def check(method: str, settings: Mapping[str, Any]) -> None:
    """Raise `UnknownName` or `BadInput` unless `method` exists and takes these settings, all of them numbers."""
    if not isinstance(method, str):
        raise BadInput(f"fuse: method = {method!r} is not a name; a text such as 'rrf' is expected.")
    if method not in METHODS:
        raise UnknownName("fusion method", method, METHODS)
    known = list(inspect.signature(METHODS[method]).parameters)[2:]
    for name, value in settings.items():
        if name not in known:
            raise UnknownName(f"setting of fuse(method={method!r})", name, known)
        if not _is_finite(value):
            raise BadInput(f"fuse: {name} = {value!r} is not a number.")


def check_weights(weights: Any, rankings: int) -> tuple[float, ...]:
    """The weights as Python's own numbers.

    Raises `BadInput` unless they are a list (or a column) of finite numbers, `CompositionError` unless there is
    one for each ranking.
    """
    values = weights.tolist() if isinstance(weights, np.ndarray) else weights
    if not isinstance(values, Sequence) or isinstance(values, str) or not all(map(_is_finite, values)):
        raise BadInput(f"fuse: weights = {weights!r} is not a list of finite numbers.")
    if len(values) != rankings:
        raise CompositionError(f"fuse: {len(values)} weights for {rankings} rankings; one weight for each is expected.")
    return tuple(value.item() if isinstance(value, np.generic) else value for value in values)


def _is_finite(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _sum(found: Sequence[Candidates], weights: Weights) -> Candidates:
    union = reduce(Candidates.union, found)
    total = np.zeros(union.pairs)
    for run, weight in zip(found, weights, strict=True):
        total += weight * union.lookup(run, default=0.0)
    return union.with_scores(total).ranked()


def _ranks(run: Candidates) -> NDArray[np.int64]:
    return 1 + np.arange(run.pairs) - np.repeat(run.offsets[:-1], run.lengths)


def _scaled(run: Candidates) -> NDArray[np.float32]:
    """Scores to 0..1 for each query; 1 where all are equal, since to be found at all counts for something."""
    _, scores, mask = run.padded()
    lowest = np.where(mask, scores, np.inf).min(axis=1, initial=np.inf, keepdims=True)
    highest = scores.max(axis=1, initial=-np.inf, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):  # queries without a document, or with equal scores
        scaled = np.where(highest > lowest, (scores - lowest) / (highest - lowest), 1.0)
    return scaled[mask].astype(np.float32)
