"""Relatives of the softmax cross-entropy: each document against fewer others, or with a further term."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nirank.errors import BadInput
from nirank_losses.distillation import TeacherLoss
from nirank_losses.gain import gains
from nirank_losses.lists import ListLoss, Lists
from nirank_losses.listwise import SoftmaxCrossEntropy, log_one_plus_total, log_shares, log_sum_before


@dataclass(kw_only=True, eq=False)
class UniqueSoftmax(ListLoss):
    """`L = -sum over i of (2^y_i - 1) log( exp(gamma s_i) / (exp(gamma s_i) + sum over y_j < y_i of exp(gamma s_j)) )`.

    Zhu et al., Listwise Learning to Rank by Exploring Unique Ratings, WSDM 2020, as TF-Ranking's unique softmax has it:
    a document meets only those of lower labels, so that documents of equal labels do not push each other down. Lists
    without a relevant document, or of equal labels, do not count.
    """

    gamma: float = 1.0

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        lists = lists.taken(lists.labels.masked_fill(~lists.mask, torch.inf).argsort(dim=1, stable=True))
        scores = self.gamma * lists.scores
        keys = lists.labels.masked_fill(~lists.mask, torch.inf)  # padding comes last
        costs = torch.logaddexp(scores, log_sum_before(scores, keys, lists.mask)) - scores
        return (gains(lists) * costs).where(lists.mask, 0).sum(1)


@dataclass(kw_only=True, eq=False)
class PolyOne(SoftmaxCrossEntropy):
    """`L = CE + epsilon (1 - sum over d of t(d) P(d))`, P the softmax of scores and t its target.

    Leng et al., PolyLoss, ICLR 2022: the first term of the series of the cross-entropy, with another coefficient. With
    `epsilon` 0 it is `softmax_cross_entropy`; `target` is as there, but for "any". Lists without a relevant document,
    or of equal labels, do not count.
    """

    epsilon: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target == "any":
            raise BadInput("PolyOne: target = 'any' has no distribution; 'normalised' or 'gains' is expected.")

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        shares = log_shares(self.gamma * lists.scores, lists.mask).exp()
        return super().costs(lists) + self.epsilon * (1 - (self.targets(lists) * shares).sum(1))


@dataclass(kw_only=True, eq=False)
class GuidedSoftmax(TeacherLoss):
    """The softmax cross-entropy without the documents that a guide finds nearer than the relevant one.

    GISTEmbed (Solatorio, 2024): `L = -log( exp(gamma s+) / (exp(gamma s+) + sum of exp(gamma s(d))) )`, over the others
    whose score by the guide is at most its best score of a relevant document less `margin`, or with `relative` at most
    (1 - `margin`) times it. The guide's scores are the argument `teacher`, `[lists, length]`. Several
    relevant documents share the target by their labels, and none of them is left out. sentence-transformers compares
    queries with queries, and documents with documents, too; here are pairs of a query and a document alone. Lists
    without a relevant document and another do not count; one whose others are all left out costs 0.
    """

    gamma: float = 100.0
    margin: float = 0.0
    relative: bool = False

    def untaught(self, lists: Lists) -> Tensor:  # noqa: ARG002 - the signature of its base
        """Refuse: without a guide nothing is known. Raises `BadInput`."""
        raise BadInput('"gist" needs the scores of a guide: train with teacher = a scoring, such as "minilm".')

    def distances(self, lists: Lists, teacher: Tensor) -> Tensor:
        """The cost of each list without what the guide `teacher` finds too near, `[lists]`."""
        kept = lists.mask & (lists.relevant | ~self._doubtful(lists, teacher))
        guided = Lists.of(lists.scores, lists.labels, kept)
        return SoftmaxCrossEntropy(gamma=self.gamma).costs(guided)

    def counts(self, lists: Lists) -> Tensor:
        """The lists with a relevant document and another."""
        return lists.contrasted

    def example_extras(self, labels: Tensor) -> dict[str, Tensor]:
        """Scores of a guide to check the loss with, for lists of these labels."""
        return {"teacher": 0.5 * labels}

    def _doubtful(self, lists: Lists, guide: Tensor) -> Tensor:
        """True where the guide finds a document so near that it may be relevant, `[lists, length]`."""
        if not guide.shape[1]:
            return lists.mask
        best = guide.masked_fill(~lists.relevant, -torch.inf).amax(1, keepdim=True)
        limit = best * (1 - self.margin) if self.relative else best - self.margin
        return guide > limit


@dataclass(kw_only=True, eq=False)
class CoSENT(ListLoss):
    """`L = log(1 + sum over y_i > y_j of exp(gamma (s_j - s_i)))`, over the pairs of a list or of the whole batch.

    Su, CoSENT, 2022 (kexue.fm/archives/8847); with `over="batch"` as in sentence-transformers, where each list is a
    pair of texts with a label, and scores of different queries are compared. Then all lists with a document count
    together as their number, and `reduction` "none" has the same number for each. With `over="list"` lists without two
    labels do not count.
    """

    gamma: float = 20.0
    over: Literal["list", "batch"] = "list"

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        if self.over == "list":
            return _ordered(self.gamma * lists.scores, lists.labels, lists.mask)
        whole = (part.reshape(1, -1) for part in (self.gamma * lists.scores, lists.labels, lists.mask))
        return _ordered(*whole).expand(len(lists.scores))

    def counts(self, lists: Lists) -> Tensor:
        """The lists of two labels; for the whole batch those with a document."""
        return lists.graded if self.over == "list" else lists.lengths > 0


def _ordered(scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """`log(1 + sum over y_i > y_j of exp(s_j - s_i))` of each list, `[lists]`.

    By falling label: what stands before the run of a document's own label is above it.
    """
    if not scores.shape[1]:
        return scores.sum(1)
    order = labels.masked_fill(~mask, -torch.inf).argsort(dim=1, descending=True, stable=True)
    scores, labels, mask = (values.gather(1, order) for values in (scores, labels, mask))
    keys = (-labels).masked_fill(~mask, torch.inf)
    pairs = scores + log_sum_before(-scores, keys, mask)
    return log_one_plus_total(pairs, mask)
