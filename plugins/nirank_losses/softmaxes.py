"""Relatives of the softmax cross-entropy: each document against fewer others, or with a further term."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nirank.errors import BadInput
from nirank_losses.gain import gains
from nirank_losses.lists import ListLoss, Lists, beside, softplus
from nirank_losses.listwise import SoftmaxCrossEntropy, log_shares


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
        lowest = torch.finfo(scores.dtype).min / 4
        running = torch.logcumsumexp(scores.where(lists.mask, lowest), dim=1)  # padding comes last
        keys = lists.labels.masked_fill(~lists.mask, torch.inf)
        lower = torch.searchsorted(keys, keys)  # how many have a lower label
        before = torch.cat([torch.full_like(running[:, :1], lowest), running], dim=1).gather(1, lower)
        costs = torch.logaddexp(scores, before) - scores
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
        worth = gains(lists) if self.target == "gains" else lists.labels.clamp(min=0)
        target = worth / worth.sum(1, keepdim=True).where(worth.sum(1, keepdim=True) > 0, 1)
        return super().costs(lists) + self.epsilon * (1 - (target * shares).sum(1))


@dataclass(kw_only=True, eq=False)
class GuidedSoftmax(ListLoss):
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

    def __call__(
        self,
        scores: Tensor,
        labels: Tensor,
        mask: Tensor,
        documents: Tensor | None = None,
        teacher: Tensor | None = None,
    ) -> Tensor:
        """The loss of `scores`, `labels`, `mask`, `documents` and the guide's scores `teacher`, all `[lists, length]`.

        Raises `BadInput` without a guide.
        """
        if teacher is None:
            raise BadInput('"gist" needs the scores of a guide: train with teacher = a scoring, such as "minilm".')
        lists = Lists.of(scores, labels, mask, documents)
        kept = lists.mask & (lists.relevant | ~self._doubtful(lists, beside(lists, teacher, "teacher")))
        guided = Lists.of(lists.scores, lists.labels, kept)
        logs = log_shares(self.gamma * guided.scores, guided.mask)
        worth = guided.labels.clamp(min=0)
        total = worth.sum(1, keepdim=True)
        return self.reduce(-(worth / total.where(total > 0, 1) * logs).sum(1), self.counts(lists))

    def counts(self, lists: Lists) -> Tensor:
        """The lists with a relevant document and another."""
        return lists.relevant.any(1) & (lists.mask & ~lists.relevant).any(1)

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
    lowest = torch.finfo(scores.dtype).min / 4
    running = torch.logcumsumexp((-scores).where(mask, lowest), dim=1)
    keys = (-labels).masked_fill(~mask, torch.inf)
    above = torch.searchsorted(keys, keys)
    before = torch.cat([torch.full_like(running[:, :1], lowest), running], dim=1).gather(1, above)
    pairs = torch.where(mask & (above > 0), scores + before, lowest)
    return softplus(pairs.logsumexp(1))
