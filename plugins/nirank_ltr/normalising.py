"""Bring features to one scale before a network reads them, as learned from the pairs of a training.

    none            as they are
    z-score         (x - mean) / deviation
    log             the same of sign(x) log(1 + |x|)
    min-max         (x - least) / (largest - least)
    quantile        the share of the training's values that are smaller, and half of those that are equal
    query           min-max over the documents of a query that are ranked together

A missing value (NaN; so is taken what is infinite) stands for the mean of those in the training that are not missing,
for 0 where all are. A feature that was constant in the training becomes 0 (by "quantile" 1/2 where it is the same
again), and one that is constant in a query by "query".
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nirank.data import Floats
from nirank.errors import UnknownName

Normalisation = Literal["none", "z-score", "log", "min-max", "quantile", "query"]

_STEPS = 256  # quantiles
_PAIRS = 1 << 20  # of a training, that are sorted for quantiles at most
_SMALL = 1e-12  # relative to the size of a feature: what differs by less is rounding


class Normaliser(nn.Module):
    """Normalises features `[pairs, features]`; its statistics are buffers, and saved with the ranker.

    `missing`, `shift` and `scale` are float32 `[features]`, `quantiles` float32 `[features, steps]` for "quantile",
    else empty. Raises `UnknownName` for another method.
    """

    missing: Tensor
    shift: Tensor
    scale: Tensor
    quantiles: Tensor

    def __init__(self, features: int, method: str = "z-score") -> None:
        super().__init__()
        if method not in get_args(Normalisation):
            raise UnknownName("normalisation", method, get_args(Normalisation))
        self.method = method
        self.register_buffer("missing", torch.zeros(features))
        self.register_buffer("shift", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("quantiles", torch.zeros(features, _STEPS if method == "quantile" else 0))

    @property
    def is_listwise(self) -> bool:
        """True where the normalised feature depends on the documents beside it."""
        return self.method == "query"

    def learn(self, values: Floats) -> None:
        """Take the statistics of the pairs of a training, `[pairs, features]`; of none there are none."""
        if not len(values):
            return
        known = np.where(np.isfinite(values), values.astype(np.float64), np.nan)
        means = _means(known)
        self.missing.copy_(torch.from_numpy(means))
        if self.method in ("z-score", "log"):
            filled = _log(np.where(np.isnan(known), means, known)) if self.method == "log" else known
            centre = _means(filled)
            self._set(centre, np.sqrt(_means((filled - centre) ** 2)))
        elif self.method == "min-max":
            least, largest = (edge(np.where(np.isnan(known), means, known), axis=0) for edge in (np.min, np.max))
            self._set(least, largest - least)
        elif self.method == "quantile":
            self.quantiles.copy_(torch.from_numpy(_quantiles(np.where(np.isnan(known), means, known))))

    def forward(self, values: Tensor, rows: Tensor) -> Tensor:
        """The features of pairs, `[pairs, features]`, normalised; `rows` `[pairs]` is the query of each, rising."""
        values = torch.where(values.isfinite(), values, self.missing)
        if self.method == "none":
            return values
        if self.method == "quantile":
            return _ranks(values, self.quantiles)
        if self.method == "query":
            return _within(values, rows)
        return ((_signed_log(values) if self.method == "log" else values) - self.shift) * self.scale

    def _set(self, shift: NDArray[np.float64], spread: NDArray[np.float64]) -> None:
        varies = spread > _SMALL * np.abs(shift)
        self.shift.copy_(torch.from_numpy(shift))
        self.scale.copy_(torch.from_numpy(np.where(varies, 1 / np.where(varies, spread, 1), 0)))


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each column, without what is missing; 0 where all is."""
    known = ~np.isnan(values)
    return np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sign(values) * np.log1p(np.abs(values))


def _signed_log(values: Tensor) -> Tensor:
    return values.sign() * values.abs().log1p()


def _quantiles(values: NDArray[np.float64]) -> Floats:
    """Evenly spaced ones of each column, `[features, steps]`; of very many pairs those of an even sample."""
    some = values[:: -(-len(values) // _PAIRS)]
    found = np.quantile(some, np.linspace(0, 1, _STEPS), axis=0, method="inverted_cdf")
    return np.ascontiguousarray(found.T, dtype=np.float32)


def _ranks(values: Tensor, quantiles: Tensor) -> Tensor:
    columns = values.T.contiguous()
    below, up_to = (torch.searchsorted(quantiles, columns, side=side) for side in ("left", "right"))
    return ((below + up_to) / (2 * quantiles.shape[1])).T.to(values.dtype)


def _within(values: Tensor, rows: Tensor) -> Tensor:
    """Min-max over the pairs of each row."""
    if not len(rows):
        return values
    shape = int(rows[-1]) + 1, values.shape[1]
    places = rows[:, None].expand_as(values)
    least, largest = (
        values.new_zeros(shape).scatter_reduce(0, places, values, how, include_self=False)[rows]
        for how in ("amin", "amax")
    )
    spread = largest - least
    return (values - least) / torch.where(spread > 0, spread, 1)
