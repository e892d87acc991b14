"""Losses of metric learning on the similarities of an anchor: what is relevant is near it, all else is far.

Scores are cosines, `[anchors, others]`: with the sampler `categories` a list is an image with all images of the batch.
A document is positive where its label is above 0. Lists without a positive and another do not count.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nirank.errors import BadInput
from nirank_losses.lists import ListLoss, Lists, softplus
from nirank_losses.listwise import SoftmaxCrossEntropy, log_one_plus_total, log_total


@dataclass(kw_only=True, eq=False)
class SimilarityLoss(ListLoss):
    """A loss of similarities to positives and to others."""

    def counts(self, lists: Lists) -> Tensor:
        """The lists with a positive and another."""
        return lists.contrasted


@dataclass(kw_only=True, eq=False)
class MultiSimilarity(SimilarityLoss):
    """`L = 1/alpha log(1 + sum+ of exp(-alpha (s - base))) + 1/beta log(1 + sum- of exp(beta (s - base)))`.

    Wang et al., Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning, CVPR 2019, equation 15. The
    sums are over positives and over others; with `epsilon` over those that are mined (equations 11 and 12): others
    nearer than the farthest positive less `epsilon`, positives farther than the nearest other plus `epsilon`. `epsilon`
    None takes all pairs. A list in which nothing is mined costs 0 and counts.
    """

    alpha: float = 2.0
    beta: float = 50.0
    base: float = 0.5
    epsilon: float | None = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _above_zero(self, "alpha", "beta")

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        positive, other = self._mined(lists)
        near = log_one_plus_total(-self.alpha * (lists.scores - self.base), positive) / self.alpha
        far = log_one_plus_total(self.beta * (lists.scores - self.base), other) / self.beta
        return near + far

    def _mined(self, lists: Lists) -> tuple[Tensor, Tensor]:
        positive, other = lists.relevant, lists.mask & ~lists.relevant
        if self.epsilon is None or not lists.mask.shape[1]:
            return positive, other
        scores = lists.scores.detach()
        farthest = scores.masked_fill(~positive, torch.inf).amin(1, keepdim=True)
        nearest = scores.masked_fill(~other, -torch.inf).amax(1, keepdim=True)
        return positive & (scores < nearest + self.epsilon), other & (scores > farthest - self.epsilon)


@dataclass(kw_only=True, eq=False)
class Circle(SimilarityLoss):
    """`L = log(1 + sum- of exp(scale a- (s - margin)) * sum+ of exp(-scale a+ (s - 1 + margin)))`.

    Sun et al., Circle Loss: A Unified Perspective of Pair Similarity Optimization, CVPR 2020, equation 6, with the
    weights a+ = max(0, 1 + margin - s) and a- = max(0, s + margin), which have no gradient (as in their equation 10,
    where they are not differentiated).
    """

    margin: float = 0.25
    scale: float = 256.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _above_zero(self, "scale")

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        scores, known = lists.scores, lists.scores.detach()
        near = -(1 + self.margin - known).clamp(min=0) * (scores - 1 + self.margin)
        far = (known + self.margin).clamp(min=0) * (scores - self.margin)
        positive, other = lists.relevant, lists.mask & ~lists.relevant
        both = log_total(self.scale * near, positive) + log_total(self.scale * far, other)
        return softplus(both).where(self.counts(lists), 0)


@dataclass(kw_only=True, eq=False)
class SupCon(SoftmaxCrossEntropy):
    """`L = -1/|P| sum over p in P of log( exp(gamma s_p) / sum over all of exp(gamma s) )`, P the positives.

    Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, equation 2 (L_out), with `gamma` = 1 / tau. It is
    `softmax_cross_entropy` for labels of 0 and 1, and takes all labels above 0 for 1. Lists without a positive and
    another do not count.
    """

    gamma: float = 10.0

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        return super().costs(_binary(lists))

    def counts(self, lists: Lists) -> Tensor:
        """The lists with a positive and another."""
        return _binary(lists).rankable


@dataclass(kw_only=True, eq=False)
class MegaBatchMargin(SimilarityLoss):
    """`L = mean over positives of max(0, positive_margin - s_p) + max(0, max- s - negative_margin)`, max- over others.

    Wieting and Gimpel, ParaNMT-50M, ACL 2018, as sentence-transformers has it: a positive is to be nearer than one
    margin, the nearest other farther than the second. Large batches (`in_batch`, with `chunk`) make the nearest one
    hard. Lists without a positive and another do not count.
    """

    positive_margin: float = 0.8
    negative_margin: float = 0.3

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        if not lists.mask.shape[1]:
            return lists.scores.sum(1)
        far = (self.positive_margin - lists.scores).clamp(min=0).where(lists.relevant, 0).sum(1)
        nearest = lists.scores.masked_fill(~lists.mask | lists.relevant, -torch.inf).amax(1)
        return far / lists.relevant.sum(1).clamp(min=1) + (nearest - self.negative_margin).clamp(min=0)


def _binary(lists: Lists) -> Lists:
    return Lists(lists.scores, lists.relevant.to(lists.labels.dtype), lists.mask, lists.full)


def _above_zero(loss: object, *names: str) -> None:
    for name in names:
        if not getattr(loss, name) > 0:
            raise BadInput(f"{type(loss).__name__}: {name} = {getattr(loss, name)}; a number above 0 is expected.")
