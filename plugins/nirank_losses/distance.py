"""Losses on distances: relevant documents are pulled to the query, others pushed away."""

import functools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nirank_losses.lists import ListLoss, Lists, softplus
from nirank_losses.pairs import Block, hinge, logistic_unweighted, pair_costs

#: How scores become distances.
Distance = Literal["cosine", "euclidean", "negated"]


@dataclass(kw_only=True, eq=False)
class DistanceLoss(ListLoss):
    """A loss of `dist(q,d)`, which `distance` makes from the score:

        "cosine"     dist = 1 - s              scores are cosines
        "euclidean"  dist = sqrt(2 - 2 s)      scores are cosines, dist that of the unit vectors
        "negated"    dist = -s                 scores are distances already, with their sign turned

    A document is relevant (y = 1) where its label is above 0.
    """

    distance: Distance = "cosine"

    def distances(self, scores: Tensor) -> Tensor:
        """The distances that scores stand for, of the same shape."""
        if self.distance == "euclidean":
            # The root has no derivative at 0, where query and document are the same.
            return (2 - 2 * scores).clamp(min=0).add(1e-12).sqrt()
        return -scores if self.distance == "negated" else 1 - scores


@dataclass(kw_only=True, eq=False)
class Contrastive(DistanceLoss):
    """`L = y/2 dist^2 + (1 - y)/2 max(0, margin - dist)^2` with **y = 1 for relevant**.

    Hadsell, Chopra and LeCun, Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006, whose Y is 1
    for *dissimilar* pairs: theirs is 1 - y. With `squared=False` both terms are `y dist + (1 - y) max(0, margin -
    dist)`. A list costs the mean over its documents; every list with a document counts, as each pair has a target.
    """

    margin: float = 0.5
    squared: bool = True

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        distances = self.distances(lists.scores)
        wrong = torch.where(lists.relevant, distances, (self.margin - distances).clamp(min=0))
        return lists.per_item(wrong.square() / 2 if self.squared else wrong)

    def counts(self, lists: Lists) -> Tensor:
        """All lists but empty ones."""
        return lists.lengths > 0


@dataclass(kw_only=True, eq=False)
class Triplet(DistanceLoss):
    """`L = max(0, dist(q,d+) - dist(q,d-) + margin)`, or `log(1 + exp(dist(q,d+) - dist(q,d-)))` if `soft`.

    Schroff, Kalenichenko and Philbin, FaceNet, CVPR 2015; soft: Hermans, Beyer and Leibe, In Defense of the Triplet
    Loss, 2017. d+ are the documents of a list with a label above 0, d- the others. `miner` chooses the triplets:

        "all"        every relevant document with every other
        "hard"       the farthest relevant document with the nearest other
        "semi-hard"  every relevant document with the nearest other that is farther than it; with the farthest
                     of all others where none is, so that a triplet that is all wrong is not without a gradient

    A list costs the mean over its triplets, or over those that cost anything (`over="active"`): with these the
    gradient does not fade as fewer are left. Lists without a triplet do not count.
    """

    margin: float = 0.2
    soft: bool = False
    miner: Literal["all", "hard", "semi-hard"] = "all"
    over: Literal["all", "active"] = "all"

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        distances = self.distances(lists.scores)
        if self.miner == "all" or not lists.mask.any():
            return self._all(lists, distances)
        mine = _hard if self.miner == "hard" else _semi_hard
        positives, negatives, mined = mine(distances, lists)
        costs = self._cost(positives - negatives).where(mined, 0)
        taken = mined & (costs > 0) if self.over == "active" else mined
        return costs.sum(1) / taken.sum(1).clamp(min=1)

    def counts(self, lists: Lists) -> Tensor:
        """The lists with a relevant document and another."""
        return lists.contrasted

    def _cost(self, violation: Tensor) -> Tensor:
        return softplus(violation) if self.soft else (violation + self.margin).clamp(min=0)

    def _all(self, lists: Lists, distances: Tensor) -> Tensor:
        order = lists.relevant.to(torch.int8).argsort(dim=1, descending=True, stable=True)
        nearness, mask, relevant = (each.gather(1, order) for each in (-distances, lists.mask, lists.relevant))
        others = mask & ~relevant
        cost = logistic_unweighted if self.soft else functools.partial(hinge, margin=self.margin)
        active = torch.zeros(len(order), dtype=torch.int64, device=order.device)

        def weights(block: Block) -> Tensor:
            pairs = block.row(relevant) & block.column(others)
            if not self.soft:
                short = block.column(nearness) - block.row(nearness) + self.margin > 0
                active[block.lists] += (pairs & short).sum((1, 2))
            return pairs.to(distances.dtype)

        costs = pair_costs(nearness, mask, weights, cost, int(relevant.sum(1).amax()) if len(relevant) else 0)
        every = relevant.sum(1) * others.sum(1)
        return costs / (active if self.over == "active" and not self.soft else every).clamp(min=1)


def _hard(distances: Tensor, lists: Lists) -> tuple[Tensor, Tensor, Tensor]:
    """The distances of one triplet a list, `[lists, 1]`, and where there is one."""
    relevant, others = lists.relevant, lists.mask & ~lists.relevant
    farthest = distances.masked_fill(~relevant, -torch.inf).argmax(1, keepdim=True)
    nearest = distances.masked_fill(~others, torch.inf).argmin(1, keepdim=True)
    both = relevant.any(1, keepdim=True) & others.any(1, keepdim=True)
    return distances.gather(1, farthest), distances.gather(1, nearest), both


def _semi_hard(distances: Tensor, lists: Lists) -> tuple[Tensor, Tensor, Tensor]:
    """For each document, `[lists, length]`, its distance and that of the other it is compared with."""
    others = lists.mask & ~lists.relevant
    rising, order = distances.detach().masked_fill(~others, torch.inf).sort(dim=1)
    count = others.sum(1, keepdim=True)
    farther = torch.searchsorted(rising, distances.detach().contiguous(), right=True)
    place = torch.minimum(farther, (count - 1).clamp(min=0))
    return distances, distances.gather(1, order.gather(1, place)), lists.relevant & (count > 0)
