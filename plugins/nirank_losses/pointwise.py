"""Losses of single documents: each has a target of its own, whatever else is in its list."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.errors import BadInput
from nirank_losses.lists import ListLoss, Lists, Reduced, Reduction


@dataclass(kw_only=True, eq=False)
class PointwiseLoss(ListLoss):
    """A cost of each document by itself.

    A list costs the mean over its documents, so that long lists do not dominate (`weigh="lists"`); with
    `weigh="documents"` lists are weighted by their lengths, so that the mean over lists is one over documents.
    Every list with a document counts, also one without a relevant document: that is a target as well.
    """

    gamma: float = 1.0
    weigh: Literal["lists", "documents"] = "lists"

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        costs = lists.per_item(self.each(lists))
        if self.weigh == "lists":
            return costs
        lengths = lists.lengths.to(costs.dtype)
        return costs * lengths * ((lengths > 0).sum() / lengths.sum().clamp(min=1))

    def counts(self, lists: Lists) -> Tensor:
        """All lists but empty ones."""
        return lists.lengths > 0

    def each(self, lists: Lists) -> Tensor:
        """The cost of each document, `[lists, length]`."""
        raise NotImplementedError


@dataclass(kw_only=True, eq=False)
class CrossEntropy(PointwiseLoss):
    """`L = -log softmax(gamma s(q,d,.))[y]`: one score for each relevance class.

    Scores are `[lists, length, classes]`, labels the classes 0, 1, ..., as many as there are scores; with `classes`
    set, scores of another number are refused. `BadInput` is raised for labels that are no class. The cross-entropy
    of a multinomial logistic model; monoBERT (Nogueira and Cho, Passage Re-ranking with BERT, 2019) is trained by
    it with two classes.
    """

    classes: int | None = None

    def each(self, lists: Lists) -> Tensor:
        """The cost of each document, `[lists, length]`."""
        shape = tuple(lists.scores.shape)
        if len(shape) != 3 or self.classes not in (None, shape[2]):
            wanted = f"[lists, length, {self.classes or 'classes'}]"
            raise BadInput(f"scores have the shape {shape}; one score for each class is expected, {wanted}.")
        _expect_labels(lists.labels, lists.scores.shape[2] - 1, whole=True)
        logs = torch.log_softmax(self.gamma * lists.scores, dim=2)
        return -logs.gather(2, lists.labels.long()[..., None])[..., 0]


def tiny_cross_entropy() -> CrossEntropy:
    """The cross-entropy over four classes."""
    return CrossEntropy(classes=4)


@dataclass(kw_only=True, eq=False)
class BinaryCrossEntropy(PointwiseLoss):
    """`L = -[w y log sigma(gamma s) + (1 - y) log(1 - sigma(gamma s))]`, from scores (logits), not probabilities.

    Labels are probabilities of relevance from 0 to 1; `BadInput` is raised for others, as grades would be.
    `positive_weight` is w. The negative log-likelihood of logistic regression.
    """

    positive_weight: float = 1.0
    largest_label = 1

    def each(self, lists: Lists) -> Tensor:
        """The cost of each document, `[lists, length]`."""
        _expect_labels(lists.labels, 1)
        weight = lists.scores.new_tensor(self.positive_weight)
        scores = self.gamma * lists.scores
        return F.binary_cross_entropy_with_logits(scores, lists.labels, pos_weight=weight, reduction="none")


@dataclass(kw_only=True, eq=False)
class MeanSquaredError(PointwiseLoss):
    """`L = (gamma s - y)^2`: the score is to be the label (subset regression, Cossock and Zhang, COLT 2006)."""

    def each(self, lists: Lists) -> Tensor:
        """The cost of each document, `[lists, length]`."""
        return (self.gamma * lists.scores - lists.labels).square()


class Ordinal(Reduced, nn.Module):
    """Graded labels by one threshold between neighbouring grades:

        L = sum over c = 1..grades-1 of log(1 + exp(-z_c (gamma s - theta_c))),   z_c = +1 if y >= c, else -1

    The all-threshold logistic loss of Rennie and Srebro, Loss Functions for Preference Levels, IJCAI 2005. Labels
    are grades 0 .. `grades` - 1, others are `BadInput`. The thresholds rise, from 1/2 by 1 to begin with (so that a
    score near the grade is right), and are learned unless `learned` is False. A list costs the mean over its
    documents, and every list with a document counts.
    """

    def __init__(
        self, *, grades: int = 5, gamma: float = 1.0, learned: bool = True, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        if grades < 2:
            raise BadInput(f"Ordinal: grades = {grades}: a number from 2 is expected.")
        self.grades, self.gamma, self.reduction = grades, gamma, reduction
        self.lowest = nn.Parameter(torch.tensor(0.5), requires_grad=learned)
        self.log_gaps = nn.Parameter(torch.zeros(grades - 2), requires_grad=learned)

    @property
    def largest_label(self) -> int:
        """The best grade."""
        return self.grades - 1

    @property
    def thresholds(self) -> Tensor:
        """The thresholds between grades, rising, `[grades - 1]`."""
        return self.lowest + F.pad(self.log_gaps.exp().cumsum(0), (1, 0))

    def forward(self, scores: Tensor, labels: Tensor, mask: Tensor, documents: Tensor | None = None) -> Tensor:
        """The loss of `scores`, `labels`, `mask`, `[lists, length]`; `documents` are ids, repeated ones count once."""
        lists = Lists.of(scores, labels, mask, documents)
        _expect_labels(lists.labels, self.grades - 1, whole=True)
        above = self.gamma * lists.scores[..., None] - self.thresholds.to(lists.scores.dtype)
        reached = lists.labels[..., None] >= torch.arange(1, self.grades, device=above.device)
        costs = F.binary_cross_entropy_with_logits(above, reached.to(above.dtype), reduction="none").sum(2)
        return self.reduce(lists.per_item(costs), lists.lengths > 0)

    def extra_repr(self) -> str:
        """The settings."""
        return f"grades={self.grades}, gamma={self.gamma}, reduction={self.reduction!r}"


def _expect_labels(labels: Tensor, largest: int, whole: bool = False) -> None:
    wrong = (labels < 0) | (labels > largest) | ((labels != labels.round()) if whole else False)
    if bool(wrong.any()):
        example = labels[wrong][0].item()
        raise BadInput(f"a label is {example:g}; {'whole ' if whole else ''}numbers from 0 to {largest} are expected.")
