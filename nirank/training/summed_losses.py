"""Sums of losses: `0.5 * margin_mse + softmax_cross_entropy`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nirank.component import Component
from nirank.data.collection import Collection
from nirank.errors import BadInput
from nirank.hashing import digest


class Composed(nn.Module):
    """A loss made of others, which says by `named` what columns it is called with."""

    @property
    def named(self) -> set[str]:
        """The columns that any of the losses names."""
        raise NotImplementedError


class SummedLoss(Composed):
    """`L = sum over losses i of w_i / n sum over lists of L_i`, where n is how many lists count in most losses' terms.

    A list that one loss has nothing to learn from, and another has, costs 0 in the first. Each loss gets the columns
    that it names. Raises `BadInput` for losses that do not reduce to a mean, and for those over classes, whose scores
    are others.
    """

    def __init__(self, losses: Sequence[Component], weights: Sequence[float]) -> None:
        super().__init__()
        for loss, weight in zip(losses, weights, strict=True):
            _check(loss, weight)
        self.losses, self.weights = tuple(losses), tuple(weights)
        #: What a training notes of it, so that only the very same one goes on.
        self.composition = digest([[loss.fingerprint, weight] for loss, weight in zip(losses, weights, strict=True)])
        self.learned = nn.ModuleList(loss.target for loss in losses if isinstance(loss.target, nn.Module))
        self._named = [arguments(loss.target) for loss in losses]
        self._counted = (0, 0)

    @property
    def begin(self) -> Callable[[Collection, int | None], None] | None:
        """A call that makes losses ready for a collection and the dimensions of vectors; None if none asks for it."""
        begins = [begin for loss in self.losses if (begin := loss.method("begin"))]

        def begin_all(collection: Collection, dim: int | None) -> None:
            for begin in begins:
                begin(collection, dim)

        return begin_all if begins else None

    @property
    def skipped(self) -> int:
        """The number of lists of the last batch that no loss had anything to learn from, as far as can be told."""
        lists, most = self._counted
        return lists - most

    @property
    def named(self) -> set[str]:
        """The columns that any of the losses names."""
        return set().union(*self._named)

    def forward(self, scores: Tensor, labels: Tensor, mask: Tensor, **columns: Any) -> Tensor:
        """The weighted sum for `scores`, `labels`, `mask`, all `[lists, length]`, and named columns."""
        values, counted = [], []
        for loss, named in zip(self.losses, self._named, strict=True):
            values.append(loss.target(scores, labels, mask, **{name: columns[name] for name in named & columns.keys()}))
            counted.append(len(scores) - skipped(loss))
        most = max(counted)
        self._counted = len(scores), most
        terms = zip(self.weights, values, counted, strict=True)
        return torch.stack([weight * count / max(most, 1) * value for weight, value, count in terms]).sum()


def arguments(target: Callable[..., Any]) -> set[str]:
    """The names of the columns that a loss is called with."""
    if isinstance(target, Composed):
        return target.named
    call = target.forward if isinstance(target, nn.Module) else target
    return set(inspect.signature(call).parameters)


def skipped(loss: Component) -> int:
    """The number of lists of the last batch that a loss had nothing to learn from."""
    return int(getattr(loss.target, "skipped", 0))


def _check(loss: Component, weight: float) -> None:
    if not math.isfinite(weight):
        raise BadInput(f"{loss.spec} has the weight {weight}; a finite number is expected.")
    if loss.traits.reduction != "mean":
        raise BadInput(f"{loss.spec}: reduction = {loss.traits.reduction!r} in a sum of losses; 'mean' is expected.")
    if loss.traits.classes != 0:
        raise BadInput(f"{loss.spec} needs a score for each class: train with it alone, and not with a sum.")
