"""Smooth approximations of nDCG. Both are bounded like it, so far from any swap they are flat."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nirank.errors import BadInput
from nirank_losses.gain import discounts, gains, ideal_dcg
from nirank_losses.lists import ListLoss, Lists

#: Pairs compared at once.
_AT_ONCE = {"cpu": 2**17, "cuda": 2**24}


@dataclass(kw_only=True, eq=False)
class ApproxNDCG(ListLoss):
    """`L = 1 - sum over i of G_i / log2(1 + r_i) / maxDCG`, with smooth ranks

        r_i = 1 + sum over j != i of sigma(gamma (s_j - s_i))

    Qin, Liu and Li, A General Approximation Framework for Direct Optimization of Information Retrieval Measures,
    2010; G = 2^y - 1. `gamma` says how near to nDCG: 10 was found best by Bruch et al., SIGIR 2019. The gradient is
    in closed form and needs the relevant rows of the pairs of a few lists at a time. Far from a swap the derivative
    of sigma vanishes; in the gradient (not in the value) it is kept at `floor`, so that a document that is hopelessly
    misplaced is not left there. `floor=0` gives the exact derivative. Lists without a relevant document, or of equal
    labels, do not count.

    With `gumbel` = n > 0 the loss is the mean over n copies of each list whose scores have Gumbel noise of the scale
    `noise` added, drawn anew in each call from `seed` (Bruch et al., A Stochastic Treatment of Learning to Rank Scoring
    Functions, WSDM 2020).
    """

    gamma: float = 10.0
    floor: float = 1e-9
    gumbel: int = 0
    noise: float = 1.0
    seed: int = 0
    _random: torch.Generator = field(default_factory=torch.Generator, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gumbel < 0 or not self.noise > 0:
            raise BadInput(
                f"{type(self).__name__}: gumbel = {self.gumbel}, noise = {self.noise}: 0 or more copies, and "
                "a scale above 0, are expected."
            )
        self._random.manual_seed(self.seed)

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        if not self.gumbel:
            return self.at_scores(lists)
        copies = [self.at_scores(self._perturbed(lists)) for _ in range(self.gumbel)]
        return torch.stack(copies).mean(0)

    def _perturbed(self, lists: Lists) -> Lists:
        chance = torch.rand(lists.scores.shape, generator=self._random, dtype=torch.float64).clamp(min=1e-12)
        noise = -torch.log(-torch.log(chance)).to(lists.scores)
        return replace(lists, scores=(lists.scores + self.noise * noise).where(lists.mask, 0))

    def at_scores(self, lists: Lists) -> Tensor:
        """The cost of each list at its own scores, `[lists]`."""
        lists = lists.taken(lists.labels.masked_fill(~lists.mask, -torch.inf).argsort(dim=1, descending=True))
        worth = gains(lists) / ideal_dcg(lists, ranked=True)[:, None]
        return 1 - _SmoothDCG.apply(self.gamma * lists.scores, worth, lists.mask, self.floor)  # type: ignore[no-untyped-call]


@dataclass(kw_only=True, eq=False)
class ApproxMRR(ApproxNDCG):
    """`L = 1 - sum over relevant i of 1 / r_i / sum over relevant i of 1`, with the smooth ranks of `ApproxNDCG`.

    As TF-Ranking has it: with one relevant document an approximation of 1 - RR (Qin, Liu and Li 2010), with several
    the mean of their reciprocal ranks. `floor` and `gumbel` are as there. Lists without a relevant document, or of
    equal labels, do not count.
    """

    gamma: float = 1.0

    def at_scores(self, lists: Lists) -> Tensor:
        """The cost of each list at its own scores, `[lists]`."""
        reciprocal = (1 / smooth_ranks(self.gamma * lists.scores, lists.mask, self.floor)).where(lists.relevant, 0)
        return 1 - reciprocal.sum(1) / lists.relevant.sum(1).clamp(min=1)


def smooth_ranks(scores: Tensor, mask: Tensor, floor: float = 1e-9) -> Tensor:
    """`1 + sum over j != i of sigma(s_j - s_i)`, `[lists, length]`; the derivative of sigma is at least `floor`."""
    ahead = _Sigmoid.apply(scores[:, None, :] - scores[:, :, None], floor)  # type: ignore[no-untyped-call]
    others = mask[:, None, :] & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    ranks: Tensor = 1 + ahead.where(others, 0).sum(2)
    return ranks


class _Sigmoid(torch.autograd.Function):
    """The logistic function, with a derivative that does not vanish."""

    @staticmethod
    def forward(ctx: Any, margin: Tensor, floor: float) -> Tensor:
        ctx.save_for_backward(margin)
        ctx.floor = floor
        return torch.sigmoid(margin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        (margin,) = ctx.saved_tensors
        return outer * (torch.sigmoid(margin) * torch.sigmoid(-margin)).clamp(min=ctx.floor), None


class _SmoothDCG(torch.autograd.Function):
    """The discounted gains `[lists]` at the smooth ranks of scores `[lists, length]`; the best labels come first."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, worth: Tensor, mask: Tensor, floor: float) -> Tensor:
        values, slopes = scores.new_zeros(len(scores)), torch.zeros_like(scores)
        rows = int((worth > 0).sum(1).amax()) if scores.numel() else 0  # what gains nothing needs no rank
        step = max(1, _AT_ONCE.get(scores.device.type, _AT_ONCE["cpu"]) // max(rows * scores.shape[1], 1))
        for first in range(0, len(scores) if rows else 0, step):
            part = slice(first, first + step)
            values[part], slopes[part] = _smooth_dcg(scores[part], worth[part, :rows], mask[part], floor)
        ctx.save_for_backward(slopes)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return outer[:, None] * slopes, None, None, None


def _smooth_dcg(scores: Tensor, worth: Tensor, mask: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """The value `[lists]` and its gradient `[lists, length]`; `worth` is that of the first documents alone."""
    margin = scores[:, None, :] - scores[:, : worth.shape[1], None]
    ahead = torch.sigmoid(margin).mul_(mask[:, None, :])
    rank = 0.5 + ahead.sum(2)  # a document is half ahead of itself
    # The derivative of sigma; as sigma (1 - sigma) it would be rounded to 0 early.
    steep = ahead.mul_(torch.sigmoid(margin.neg_())).clamp_(min=floor).mul_(mask[:, None, :])
    log = torch.log2(1 + rank)
    pull = worth / (log.square() * (1 + rank) * torch.log(rank.new_tensor(2.0)))  # - d value / d rank
    slopes = -(pull[:, None] @ steep)[:, 0]
    slopes[:, : worth.shape[1]] += pull * steep.sum(2)
    return (worth / log).sum(1), slopes


@dataclass(kw_only=True, eq=False)
class NeuralNDCG(ListLoss):
    """`L = 1 - sum over ranks i <= k of (P G)_i D_i / maxDCG@k`, with a soft permutation P instead of a sort.

    Pobrotyn and Bialobrzeski, NeuralNDCG, 2021: P is NeuralSort (Grover et al., ICLR 2019) at `temperature` tau,

        P_i = softmax over j of ((n + 1 - 2 i) gamma s_j - sum over l of |gamma s_j - gamma s_l|) / tau

    made nearly doubly stochastic by at most `iterations` of Sinkhorn's scaling, which end when rows and columns sum
    to one within `tolerance`. Lists are taken one by one, each at its own length, and their gradient at once: memory
    is for one list. Lists without a relevant document, or of equal labels, do not count.
    """

    gamma: float = 1.0
    temperature: float = 1.0
    k: int | None = None
    iterations: int = 50
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature <= 0 or (self.k is not None and self.k < 1):
            raise BadInput(f"NeuralNDCG: temperature = {self.temperature}, k = {self.k}: numbers above 0 are expected.")

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        worth = gains(lists) / ideal_dcg(lists, self.k)[:, None]
        return 1 - _OneByOne.apply(self.gamma * lists.scores, worth, lists.mask & lists.rankable[:, None], self._dcg)  # type: ignore[no-untyped-call]

    def _dcg(self, scores: Tensor, worth: Tensor) -> Tensor:
        """The smooth nDCG of one list, from scores and gains `[length]`."""
        length = len(scores)
        apart = (scores[:, None] - scores).abs().sum(1)
        ranks = torch.arange(1, length + 1, device=scores.device, dtype=scores.dtype)
        logits = ((length + 1 - 2 * ranks)[:, None] * scores - apart) / self.temperature
        soft = self._sinkhorn(torch.softmax(logits, dim=1))
        return ((soft @ worth) * discounts(scores[None]))[: self.k].sum()

    def _sinkhorn(self, soft: Tensor) -> Tensor:
        least = torch.finfo(soft.dtype).eps
        for _ in range(self.iterations):
            soft = soft / soft.sum(0, keepdim=True).clamp(min=least)
            soft = soft / soft.sum(1, keepdim=True).clamp(min=least)
            if bool((soft.detach().sum(0) - 1).abs().amax() < self.tolerance):
                break
        return soft


class _OneByOne(torch.autograd.Function):
    """A function of scores and gains `[length]` for each list, its gradient taken list by list."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, worth: Tensor, mask: Tensor, function: Any) -> Tensor:
        values, slopes = scores.new_zeros(len(scores)), torch.zeros_like(scores)
        for place in mask.any(1).nonzero()[:, 0].tolist():
            present = mask[place]
            with torch.enable_grad():
                own = scores[place, present].detach().requires_grad_()
                value = function(own, worth[place, present])
                (slopes[place, present],) = torch.autograd.grad(value, own)
            values[place] = value.detach()
        ctx.save_for_backward(slopes)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return outer[:, None] * slopes, None, None, None
