"""Losses of whole lists: the scores of a list as a distribution over its documents, or over their orders."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from nirank_losses.gain import gains
from nirank_losses.lists import ListLoss, Lists, softplus


@dataclass(kw_only=True, eq=False)
class SoftmaxCrossEntropy(ListLoss):
    """`L = -sum over d of t(d) log( exp(gamma s(q,d)) / sum over d' of exp(gamma s(q,d')) )`.

    Localised cross-entropy where the list is what a first stage found (Gao, Dai and Callan, Rethink Training of
    BERT Rerankers, ECIR 2021), InfoNCE (van den Oord et al. 2018) where it is the batch. The `target` t of a list:

        "normalised"  y / sum of y: with one relevant document, that one
        "gains"       (2^y - 1) / sum of (2^y - 1)
        "any"         L = -log of the share of all relevant documents together: any of them will do

    For in-batch negatives every list is the whole batch, and `documents` (ids `[length]`) keeps a document that came
    for several queries from being its own negative. Lists without a relevant document, or of equal labels, do not
    count.
    """

    gamma: float = 1.0
    target: Literal["normalised", "gains", "any"] = "normalised"

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        logs = log_shares(self.gamma * lists.scores, lists.mask)
        if self.target == "any":
            return -log_sum(logs, lists.relevant & lists.rankable[:, None])
        return -(self.targets(lists) * logs).sum(1)

    def targets(self, lists: Lists) -> Tensor:
        """The distribution that each list is to have, `[lists, length]`; 0 where nothing is relevant."""
        worth = gains(lists) if self.target == "gains" else lists.labels.clamp(min=0)
        total = worth.sum(1, keepdim=True)
        return worth / total.where(total > 0, 1)


@dataclass(kw_only=True, eq=False)
class ListNet(ListLoss):
    """`L = -sum over d of softmax(y)_d log softmax(gamma s)_d`, the top-one probabilities of labels and scores.

    Cao et al., Learning to Rank: From Pairwise Approach to Listwise Approach, ICML 2007. `gamma` does not touch the
    labels. Lists without a relevant document, or of equal labels, do not count.
    """

    gamma: float = 1.0

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        lowest = _lowest(lists.scores)
        target = torch.softmax(lists.filled(lists.labels, lowest), dim=1)
        return F.cross_entropy(lists.filled(self.gamma * lists.scores, lowest), target, reduction="none")


@dataclass(kw_only=True, eq=False)
class ListMLE(ListLoss):
    """`L = -sum over i of [ gamma s_pi(i) - log sum over j >= i of exp(gamma s_pi(j)) ]`, pi sorting by label.

    Xia et al., Listwise Approach to Learning to Rank: Theory and Algorithm, ICML 2008: the likelihood of the right
    order in the model of Plackett and Luce. Where labels are equal there are several right orders, and `ties` says

        "together"  documents of one label are all drawn from the same documents, those of a label as low or lower
                    (Breslow's likelihood of tied events), and the order within the lowest label says nothing;
                    whatever order a list comes in, the loss is the same
        "shuffle"   one right order is drawn at random, anew in each call, from `seed`

    Without ties both are the formula above. Lists without a relevant document, or of equal labels, do not count.
    """

    gamma: float = 1.0
    ties: Literal["together", "shuffle"] = "together"
    seed: int = 0
    _random: torch.Generator = field(default_factory=torch.Generator, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._random.manual_seed(self.seed)

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        lists = lists.taken(self._rising(lists))  # padding first, the best last
        scores = (self.gamma * lists.scores).masked_fill(~lists.mask, -torch.inf)
        left = _log_cumulative(scores, lists.mask)
        drawn = lists.mask
        if self.ties == "together":
            last = torch.searchsorted(*[_keys(lists)] * 2, right=True) - 1  # of each run of equal labels
            left = left.gather(1, last)
            drawn = drawn & (lists.labels > _least(lists))
        return ((left - self.gamma * lists.scores) * self.weights(lists)).where(drawn, 0).sum(1)

    def weights(self, lists: Lists) -> Tensor | float:
        """The weight of each step of drawing, for lists sorted by rising label behind their padding: 1 for all."""
        del lists
        return 1.0

    def _rising(self, lists: Lists) -> Tensor:
        if self.ties == "together":
            return _keys(lists).argsort(dim=1, stable=True)
        chance = torch.rand(lists.labels.shape, generator=self._random).to(lists.labels.device).argsort(dim=1)
        return chance.gather(1, _keys(lists).gather(1, chance).argsort(dim=1, stable=True))


@dataclass(kw_only=True, eq=False)
class PositionListMLE(ListMLE):
    """`L = -sum over i of a_i [ gamma s_pi(i) - log sum over j >= i of exp(gamma s_pi(j)) ]`, a_i = (2^(n-i) - 1) / A.

    Lan et al., Position-Aware ListMLE, UAI 2014: mistakes at the top cost more; A is the sum of all 2^(n-j) - 1, as
    sentence-transformers has it, without which the loss of long lists would overflow. Documents of one label have the
    mean of the weights of their places. The rest is as in `ListMLE`.
    """

    def weights(self, lists: Lists) -> Tensor:
        """The weight of each step, `[lists, length]`; the best document, which is drawn first, comes last."""
        length = lists.scores.shape[1]
        place = torch.arange(length, device=lists.scores.device) - (
            length - lists.lengths[:, None]
        )  # 0 is the last drawn
        log_weights = place.to(lists.scores.dtype).clamp(min=0) - (lists.lengths[:, None] - 1).clamp(min=0)
        weights = (torch.exp2(log_weights) - torch.exp2(1.0 - lists.lengths[:, None])).clamp(min=0)
        weights = weights.where(lists.mask, 0)
        weights = weights / weights.sum(1, keepdim=True).where(weights.sum(1, keepdim=True) > 0, 1)
        return weights if self.ties == "shuffle" else _mean_of_runs(weights, _keys(lists))


def log_shares(scores: Tensor, mask: Tensor) -> Tensor:
    """`log softmax` over the documents of each list, `[lists, length]`; 0 in the padding."""
    return torch.log_softmax(scores.where(mask, _lowest(scores)), dim=1).where(mask, 0)


def log_sum_before(values: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
    """For each entry the logarithm of the sum of the exponentials of those with a lower key, `[lists, length]`.

    Keys rise, and those of the padding are infinite. Where no key is lower it is so little that it adds nothing.
    """
    lowest = _lowest(values)
    running = torch.logcumsumexp(values.where(mask, lowest), dim=1)
    shifted = torch.cat([torch.full_like(running[:, :1], lowest), running], dim=1)
    return shifted.gather(1, torch.searchsorted(keys, keys))


def log_total(values: Tensor, chosen: Tensor) -> Tensor:
    """The logarithm of the sum of the exponentials of the chosen, `[lists]`; for none so little that it adds 0."""
    return values.masked_fill(~chosen, _lowest(values)).logsumexp(1)


def log_one_plus_total(values: Tensor, chosen: Tensor) -> Tensor:
    """`log(1 + sum of exp(chosen))`, `[lists]`."""
    return softplus(log_total(values, chosen)) if values.shape[1] else values.sum(1)


def log_sum(logs: Tensor, chosen: Tensor) -> Tensor:
    """The logarithm of the sum of the exponentials of the chosen, `[lists]`; 0 where none is."""
    some = chosen.any(1, keepdim=True)
    return logs.masked_fill(~chosen & some, -torch.inf).logsumexp(1).where(some[:, 0], 0)


def _lowest(scores: Tensor) -> float:
    """So little that it has no share beside a score; finite, or an empty list would be NaN."""
    return torch.finfo(scores.dtype).min / 4


def _mean_of_runs(values: Tensor, keys: Tensor) -> Tensor:
    """The mean of the values over each run of equal keys, `[lists, length]`; keys rise."""
    first, last = torch.searchsorted(keys, keys), torch.searchsorted(keys, keys, right=True)
    running = torch.cat([torch.zeros_like(values[:, :1]), values.cumsum(1)], dim=1)
    return (running.gather(1, last) - running.gather(1, first)) / (last - first).clamp(min=1)


def _keys(lists: Lists) -> Tensor:
    return lists.labels.masked_fill(~lists.mask, -torch.inf)


def _least(lists: Lists) -> Tensor:
    labels = lists.labels.masked_fill(~lists.mask, torch.inf)
    return labels.amin(1, keepdim=True) if labels.shape[1] else labels


def _log_cumulative(scores: Tensor, mask: Tensor) -> Tensor:
    """Running log-sum-exp from the left; 0 in the padding, which stands there and is -inf."""
    return torch.logcumsumexp(scores.where(mask, _lowest(scores)), dim=1).where(mask, 0)
