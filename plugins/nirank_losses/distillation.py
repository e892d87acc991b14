"""Losses that make a student score like a teacher.

The scores of the teacher are the named argument `teacher`, `[lists, length]`; without it the labels are taken for
them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nirank_losses.lists import ListLoss, Lists, beside
from nirank_losses.listwise import log_shares
from nirank_losses.pairs import square
from nirank_losses.pairwise import count_pairs, ordered_pair_costs
from nirank_losses.smooth import smooth_ranks


@dataclass(kw_only=True, eq=False)
class TeacherLoss(ListLoss):
    """The base of losses for students of a teacher: its scores stand beside their own."""

    gamma: float = 1.0

    def __call__(
        self,
        scores: Tensor,
        labels: Tensor,
        mask: Tensor,
        documents: Tensor | None = None,
        teacher: Tensor | None = None,
    ) -> Tensor:
        """The loss of `scores`, `labels`, `mask`, all `[lists, length]`; a scalar, or `[lists]` unreduced.

        `teacher` `[lists, length]` are scores of the teacher (by default the labels), `documents` ids; a document
        that is several times in a list counts once.
        """
        lists = Lists.of(scores, labels, mask, documents)
        taught = self.untaught(lists) if teacher is None else beside(lists, teacher, "teacher")
        return self.reduce(self.distances(lists, taught), self.counts(lists))

    def untaught(self, lists: Lists) -> Tensor:
        """The scores of a teacher where there is none, `[lists, length]`: the labels."""
        return lists.labels

    def distances(self, lists: Lists, teacher: Tensor) -> Tensor:
        """The distance of each list from the teacher, `[lists]`."""
        raise NotImplementedError


@dataclass(kw_only=True, eq=False)
class KLDivergence(TeacherLoss):
    """`L = sum over d of p(d) log(p(d) / softmax(gamma s)_d)` with `p = softmax(gamma t)`, t from the teacher.

    Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015: `gamma` (1 / T) is the same on both
    sides. `rescale` divides by gamma^2 (times T^2), as they do to keep the size of the gradient when T changes.
    Every list with a document counts; one of a single document costs 0.
    """

    rescale: bool = False

    def distances(self, lists: Lists, teacher: Tensor) -> Tensor:
        """The distance of each list from the teacher, `[lists]`."""
        target = log_shares(self.gamma * teacher, lists.mask)
        logs = log_shares(self.gamma * lists.scores, lists.mask)
        divergence = (target.exp() * (target - logs)).where(lists.mask, 0).sum(1)
        return divergence / self.gamma**2 if self.rescale else divergence

    def counts(self, lists: Lists) -> Tensor:
        """All lists but empty ones."""
        return lists.lengths > 0


@dataclass(kw_only=True, eq=False)
class MarginMSE(TeacherLoss):
    """`L = mean over y_i > y_j of ( gamma (s_i - s_j) - (t_i - t_j) )^2`, t from the teacher.

    Hofstaetter et al., Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation,
    2020, for pairs of a relevant document and another; here for all pairs of different labels. `gamma` touches
    the student alone. Lists without such a pair do not count.
    """

    def distances(self, lists: Lists, teacher: Tensor) -> Tensor:
        """The distance of each list from the teacher, `[lists]`."""
        ahead = self.gamma * lists.scores - teacher
        return ordered_pair_costs(lists, ahead, square) / count_pairs(lists).clamp(min=1)

    def counts(self, lists: Lists) -> Tensor:
        """The lists with a pair."""
        return lists.graded


@dataclass(kw_only=True, eq=False)
class ADRMSE(TeacherLoss):
    """`L = 1/n sum over i of (r_i - 1 - sum over j != i of sigma(gamma (s_j - s_i)))^2 / log2(1 + r_i)`.

    r are the teacher's ranks. The approximate discounted rank mean squared error of Schlatt et al., Rank-DistiLLM, ECIR
    2025: how far the smooth rank of each document is from the one that the teacher gives it, less for those that it
    ranks low. `gamma` is 1 over their temperature. Documents that the teacher scores alike have the mean of their
    ranks. Every list of two documents counts.
    """

    def distances(self, lists: Lists, teacher: Tensor) -> Tensor:
        """The distance of each list from the teacher's ranks, `[lists]`."""
        ranks = smooth_ranks(self.gamma * lists.scores, lists.mask)
        taught = _mean_ranks(teacher, lists.mask)
        return lists.per_item((taught - ranks).square() / torch.log2(1 + taught))

    def counts(self, lists: Lists) -> Tensor:
        """The lists of two documents or more."""
        return lists.lengths > 1


def _mean_ranks(scores: Tensor, mask: Tensor) -> Tensor:
    """Ranks from 1 by falling score, `[lists, length]`, the mean of them where scores are equal; 1 in the padding."""
    keys = (-scores).masked_fill(~mask, torch.inf)
    rising = keys.sort(dim=1).values
    above, upto = torch.searchsorted(rising, keys), torch.searchsorted(rising, keys, right=True)
    return ((above + upto + 1) / 2).to(scores.dtype).where(mask, 1)
