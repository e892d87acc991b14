"""LambdaRank and the LambdaLoss family: pairs weighted by what swapping them would do to nDCG."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from nirank.errors import BadInput
from nirank_losses.gain import discounts, gains, ideal_dcg
from nirank_losses.lists import ListLoss, Lists
from nirank_losses.pairs import Block, logistic, pair_costs
from nirank_losses.pairwise import rows_with_pairs


class Ranked(NamedTuple):
    """Lists by falling label, padding last, with the ranks that scores give their documents; all `[lists, length]`."""

    scores: Tensor
    labels: Tensor
    mask: Tensor
    gains: Tensor  # divided by the ideal DCG
    ranks: Tensor  # 1, 2, ...
    discounts: Tensor


@dataclass(kw_only=True, eq=False)
class WeightedPairs(ListLoss):
    """The logistic cost of pairs, each weighted by the ranks and gains of its two documents in the present ranking.

        L = sum over pairs of w_ij log(1 + exp(-gamma (s_i - s_j))),   no gradient through w

    Gains are `G = (2^y - 1) / maxDCG@k` (labels below 0 gain nothing), discounts `D = 1 / log2(1 + rank)`. With
    `k`, a pair counts if *either* document is among the first k, so a relevant document below the cut is still
    pulled over those above it. Documents of equal score are ranked worst first (`ties="worst"`: by rising label,
    which is the same whatever order they come in) or at "random", anew in each call, from `seed`.
    Lists without a relevant document, or of equal labels, do not count.
    """

    gamma: float = 1.0
    k: int | None = None
    ties: Literal["worst", "random"] = "worst"
    seed: int = 0
    _random: torch.Generator = field(default_factory=torch.Generator, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k is not None and self.k < 1:
            raise BadInput(f"{type(self).__name__}: k = {self.k}: a number from 1 is expected, or None for all ranks.")
        self._random.manual_seed(self.seed)

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        ranked = self._ranked(lists)
        return self.over_pairs(ranked, rows_with_pairs(ranked.labels, ranked.mask))

    def over_pairs(self, ranked: Ranked, rows: int) -> Tensor:
        """The weighted cost of the pairs of a better document, among the first `rows`, with a later one, `[lists]`."""
        full = bool(ranked.mask.all())

        def weights(block: Block) -> Tensor:
            weight = self.weights(ranked, block)
            if not full:
                weight.mul_(block.column(ranked.mask))
            if self.k is not None:
                weight.mul_(torch.minimum(block.row(ranked.ranks), block.column(ranked.ranks)) <= self.k)
            return weight

        return pair_costs(self.gamma * ranked.scores, ranked.mask, weights, logistic, rows)

    def weights(self, ranked: Ranked, block: Block) -> Tensor:
        """The weights of the pairs of a block; see `nirank_losses.pairs.Weights`."""
        raise NotImplementedError

    def _ranked(self, lists: Lists) -> Ranked:
        lists = lists.taken(lists.labels.masked_fill(~lists.mask, -torch.inf).argsort(dim=1, descending=True))
        ranks = self._ranks(lists)
        gain = gains(lists) / ideal_dcg(lists, self.k, ranked=True)[:, None]
        discount = discounts(lists.scores)[ranks - 1]
        return Ranked(lists.scores, lists.labels, lists.mask, gain, ranks, discount)

    def _ranks(self, lists: Lists) -> Tensor:
        """The rank of each document by its score, `[lists, length]`, of lists by falling label."""
        count, length = lists.mask.shape
        places = torch.arange(length, device=lists.mask.device).expand(count, length)
        first = places.flip(1)  # the worst
        if self.ties == "random":
            first = torch.rand((count, length), generator=self._random).argsort(dim=1).to(places.device)
        falling = lists.scores.detach().masked_fill(~lists.mask, -torch.inf).gather(1, first)
        order = first.gather(1, falling.argsort(dim=1, descending=True, stable=True))
        return torch.empty_like(order).scatter_(1, order, places + 1)


@dataclass(kw_only=True, eq=False)
class LambdaRank(WeightedPairs):
    """RankNet with each pair weighted by how much swapping its documents changes nDCG.

        w_ij = |(G_i - G_j) (D_i - D_j)|   for y_i > y_j

    Burges, Ragno and Le, Learning to Rank with Nonsmooth Cost Functions, NIPS 2006; Burges, From RankNet to
    LambdaRank to LambdaMART, 2010. The gradient is theirs exactly:
    `dL/ds_i = -gamma sum_j w_ij sigma(-gamma (s_i - s_j))`; LambdaRank defines no value, and the one computed here is
    that whose gradient this is while the ranking stays. `k` truncates as LightGBM does, and its normalisation by
    score differences is left out.
    """

    def weights(self, ranked: Ranked, block: Block) -> Tensor:
        """`(G_i - G_j) |D_i - D_j|`, which is above 0 only where the row has the higher label."""
        return _gain_difference(ranked, block).mul_(_discount_difference(ranked, block))


@dataclass(kw_only=True, eq=False)
class LambdaLoss(WeightedPairs):
    """The bounds on nDCG of Wang et al., The LambdaLoss Framework for Ranking Metric Optimization, CIKM 2018.

        "1"    w_ij = G_i D_i                                     for all i != j
        "2"    w_ij = |G_i - G_j| delta_ij                        for y_i > y_j
        "2++"  w_ij = |G_i - G_j| (|D_i - D_j| + mu delta_ij)     for y_i > y_j

    with `delta_ij = 1 / log2(1 + |rank_i - rank_j|) - 1 / log2(2 + |rank_i - rank_j|)`. Natural logarithms; the
    paper's base 2 makes the same loss 1.4427 times as large.
    """

    variant: Literal["1", "2", "2++"] = "2++"
    mu: float = 10.0

    def over_pairs(self, ranked: Ranked, rows: int) -> Tensor:
        """As for all; variant "1" takes every pair both ways."""
        if self.variant != "1":
            return super().over_pairs(ranked, rows)
        length = ranked.scores.shape[1]
        turned = Ranked(*(column.flip(1) for column in ranked))
        return super().over_pairs(ranked, length) + super().over_pairs(turned, length)

    def weights(self, ranked: Ranked, block: Block) -> Tensor:
        """The weights of the variant."""
        if self.variant == "1":
            worth = block.row(ranked.gains * ranked.discounts)
            return (worth * block.column(ranked.mask)).triu_(1)  # rows and columns begin at one place
        apart = (block.row(ranked.ranks) - block.column(ranked.ranks)).abs_().clamp_(min=1).to(ranked.scores.dtype)
        weight = 1 / torch.log2(1 + apart) - 1 / torch.log2(2 + apart)
        if self.variant == "2++":
            weight = weight.mul_(self.mu).add_(_discount_difference(ranked, block))
        return weight.mul_(_gain_difference(ranked, block))


def _gain_difference(ranked: Ranked, block: Block) -> Tensor:
    """`G_i - G_j`, and 0 below the diagonal, `[lists, rows, columns]`: labels fall, so none is below 0."""
    return (block.row(ranked.gains) - block.column(ranked.gains)).clamp_(min=0)


def _discount_difference(ranked: Ranked, block: Block) -> Tensor:
    """`|D_i - D_j|`, `[lists, rows, columns]`."""
    return (block.row(ranked.discounts) - block.column(ranked.discounts)).abs_()
