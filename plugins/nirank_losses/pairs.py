"""Costs summed over the pairs of each list, with the gradient in closed form.

What autograd would keep of a batch, several arrays `[lists, length, length]`, is never made: a few lists, or a few
rows of one, are compared at a time, and all that stays of them is the gradient, `[lists, length]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nirank_losses.lists import softplus

#: Pairs compared at once: on a processor what stays in its cache, on a GPU what keeps it busy.
_AT_ONCE = {"cpu": 2**18, "cuda": 2**24}
#: Rows compared at once: the pairs below the diagonal of a block are calculated in vain.
_ROWS = 32
#: Scores up to here, either way, have exponentials whose products float32 can hold.
_MODERATE = 40.0


@dataclass(frozen=True)
class Block:
    """Pairs of the documents in `rows` with those in `columns` of some lists; both ranges start at one place."""

    lists: slice
    rows: slice
    columns: slice

    def row(self, values: Tensor) -> Tensor:
        """The part of `[lists, length]` that belongs to the rows, `[lists, rows, 1]`."""
        return values[self.lists, self.rows, None]

    def column(self, values: Tensor) -> Tensor:
        """The part of `[lists, length]` that belongs to the columns, `[lists, 1, columns]`."""
        return values[self.lists, None, self.columns]


#: The weights of the pairs of a block, `[lists, rows, columns]`, which may be written to: above 0 where the row is to
#: be before the column, 0 for no pair.
Weights = Callable[[Block], Tensor]

#: From the scores of rows `[lists, rows, 1]` and columns `[lists, 1, columns]`, the weights of their pairs, and the
#: largest absolute score: what each list costs, `[lists]`, and the derivative of that in each pair's difference, row
#: less column.
PairCost = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]


def pair_costs(scores: Tensor, mask: Tensor, weights: Weights, cost: PairCost, rows: int | None = None) -> Tensor:
    """For each list the weighted cost of its pairs, `[lists]`, from `scores` and `mask`, `[lists, length]`.

    The better document of a pair, its row, comes first in the list: sort by falling label. Only the first `rows`
    are rows. Weights are constants, 0 for padding; the gradient goes into the scores, of which only differences
    may matter to the cost.
    """
    limit = scores.shape[1] if rows is None else min(rows, scores.shape[1])
    return _PairCosts.apply(_centred(scores, mask), weights, cost, limit)  # type: ignore[no-untyped-call]


def logistic(row: Tensor, column: Tensor, weight: Tensor, largest: float) -> tuple[Tensor, Tensor]:
    """`weight * log(1 + exp(column - row))`."""
    if largest > _MODERATE:
        margin = row - column
        return _dots(softplus(-margin), weight), torch.sigmoid(-margin).mul_(weight).neg_()
    odds = torch.exp(column) * torch.exp(-row)  # one product a pair instead of one exponential
    total = odds + 1
    slope = odds.div_(total).mul_(weight).neg_()
    return _dots(total.log_(), weight), slope


def logistic_unweighted(row: Tensor, column: Tensor, weight: Tensor, largest: float) -> tuple[Tensor, Tensor]:
    """As `logistic`, where all weights are 0 or 1."""
    if largest > _MODERATE:
        return logistic(row, column, weight, largest)
    odds = torch.exp(column) * torch.exp(-row)
    total = odds.mul_(weight) + 1
    slope = odds.div_(total).neg_()
    return _sum_of_logs(total.flatten(1), 2 * largest + 1), slope


def hinge(row: Tensor, column: Tensor, weight: Tensor, _largest: float, margin: float = 1.0) -> tuple[Tensor, Tensor]:
    """`weight * max(0, margin - (row - column))`."""
    short = column - row + margin
    wrong = (short > 0).to(weight.dtype).mul_(weight)
    return _dots(short, wrong), wrong.neg_()


def square(row: Tensor, column: Tensor, weight: Tensor, _largest: float) -> tuple[Tensor, Tensor]:
    """`weight * (row - column) ** 2`."""
    difference = row - column
    slope = difference * weight
    return _dots(difference, slope), slope.mul_(2)


class _PairCosts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, weights: Weights, cost: PairCost, rows: int) -> Tensor:
        costs, slopes = scores.new_zeros(len(scores)), torch.zeros_like(scores)
        largest = scores.abs().amax().item() if scores.numel() else 0.0
        for block in _blocks(scores, rows):
            each, slope = cost(block.row(scores), block.column(scores), weights(block), largest)
            costs[block.lists] += each
            slopes[block.lists, block.rows] += slope.sum(2)
            slopes[block.lists, block.columns] -= slope.sum(1)
        ctx.save_for_backward(slopes)
        return costs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return outer[:, None] * slopes, None, None, None


def _blocks(scores: Tensor, rows: int) -> Iterator[Block]:
    """Cut the pairs into blocks of about as many as are compared at once."""
    count, length = scores.shape
    budget = _AT_ONCE.get(scores.device.type, _AT_ONCE["cpu"])
    height = max(1, min(rows, _ROWS, budget // max(length, 1)))
    lists = max(1, budget // max(height * length, 1))
    for first in range(0, count, lists):
        for row in range(0, rows, height):
            yield Block(slice(first, first + lists), slice(row, min(row + height, rows)), slice(row, length))


def _centred(scores: Tensor, mask: Tensor) -> Tensor:
    """The scores less the middle of their list, 0 in the padding: small numbers wherever the list lies."""
    if not scores.shape[1]:
        return scores
    found = scores.detach()
    most = found.masked_fill(~mask, -torch.inf).amax(1, keepdim=True)
    least = found.masked_fill(~mask, torch.inf).amin(1, keepdim=True)
    return (scores - (most / 2 + least / 2)).where(mask, 0)


def _sum_of_logs(values: Tensor, largest_log: float) -> Tensor:
    """The sum of the logarithms of each row: of products of a few values, as many as do not overflow."""
    folds = 0
    while folds < 4 and largest_log * 3 * 2**folds < 2 * _MODERATE:
        half, odd = divmod(values.shape[1], 2)
        if not half:
            break
        folded = values[:, :half].mul_(values[:, half : 2 * half])
        if odd:
            folded[:, 0].mul_(values[:, -1])
        values, folds = folded, folds + 1
    return values.log().sum(1)


def _dots(values: Tensor, weights: Tensor) -> Tensor:
    """The sum of the products in each list, `[lists]`."""
    return torch.linalg.vecdot(values.flatten(1), weights.flatten(1))
