"""Losses over the pairs of a list in which one document is better than the other."""

import functools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nirank_losses.lists import ListLoss, Lists
from nirank_losses.pairs import Block, PairCost, hinge, logistic_unweighted, pair_costs


@dataclass(kw_only=True, eq=False)
class PairwiseLoss(ListLoss):
    """A cost of `gamma * (s_i - s_j)`, summed over all pairs of a list with `y_i > y_j`.

    `pairs` says what a list costs: the "mean" over its pairs, so that long lists do not dominate, or the "sum".
    Labels may be any numbers: only their order matters. Lists without such a pair do not count.
    """

    gamma: float = 1.0
    pairs: Literal["mean", "sum"] = "mean"

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        costs = ordered_pair_costs(lists, self.gamma * lists.scores, self.cost)
        return costs / count_pairs(lists).clamp(min=1) if self.pairs == "mean" else costs

    def counts(self, lists: Lists) -> Tensor:
        """The lists with a pair."""
        return lists.graded

    @property
    def cost(self) -> PairCost:
        """The cost of one pair by its margin."""
        raise NotImplementedError


@dataclass(kw_only=True, eq=False)
class RankNet(PairwiseLoss):
    """`L = mean over y_i > y_j of log(1 + exp(-gamma (s_i - s_j)))`.

    Burges et al., Learning to Rank using Gradient Descent, ICML 2005, without its pairs of equal labels. Written
    with softplus, so that no margin overflows and none is without a gradient; its own gradient is in closed form,
    with memory for a few rows of pairs.
    """

    @property
    def cost(self) -> PairCost:
        """The logistic cost."""
        return logistic_unweighted


@dataclass(kw_only=True, eq=False)
class Hinge(PairwiseLoss):
    """`L = mean over y_i > y_j of max(0, margin - gamma (s_i - s_j))`.

    Herbrich, Graepel and Obermayer, Large Margin Rank Boundaries for Ordinal Regression, 2000; the cost of
    RankSVM (Joachims, KDD 2002). Pairs that are right by the margin have no gradient.
    """

    margin: float = 1.0

    @property
    def cost(self) -> PairCost:
        """The hinge at the margin."""
        return functools.partial(hinge, margin=self.margin)


def ordered_pair_costs(lists: Lists, scores: Tensor, cost: PairCost) -> Tensor:
    """The cost of `scores` `[lists, length]` summed over the pairs of each list with `y_i > y_j`, `[lists]`."""
    labels, order = lists.labels.masked_fill(~lists.mask, -torch.inf).sort(dim=1, descending=True)
    mask = lists.mask.gather(1, order)
    rows = rows_with_pairs(labels, mask)
    labels = labels.masked_fill(~mask, torch.nan)  # neither above nor below any label

    def weights(block: Block) -> Tensor:
        row, column = block.row(labels), block.column(labels)
        better = scores.new_empty(torch.broadcast_shapes(row.shape, column.shape))
        return torch.gt(row, column, out=better)

    return pair_costs(scores.gather(1, order), mask, weights, cost, rows)


def rows_with_pairs(labels: Tensor, mask: Tensor) -> int:
    """The largest number of documents, the best first, that have a worse one in their list."""
    if not labels.numel():
        return 0
    least = labels.masked_fill(~mask, torch.inf).amin(1, keepdim=True)
    return int(((labels > least) & mask).sum(1).amax())


def count_pairs(lists: Lists) -> Tensor:
    """The number of pairs with `y_i > y_j` in each list, `[lists]`."""
    rising = (-lists.labels).masked_fill(~lists.mask, torch.inf).sort(dim=1).values
    not_lower = torch.searchsorted(rising, rising, right=True)
    return (lists.lengths[:, None] - not_lower).clamp(min=0).sum(1)
