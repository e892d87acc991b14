"""The base of all losses: lists of scores behind a mask, and one number from the costs of lists."""

# Settings are checked against these annotations where they are inherited: no postponed evaluation here.
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from nirank.errors import BadInput
from nirank.kit import fits

Reduction = Literal["mean", "sum", "none"]


@dataclass(frozen=True)
class Lists:
    """A batch of lists, safe to calculate with: scores and labels are 0 where the mask is False.

    `scores` `[lists, length]` (or `[lists, length, classes]`), `labels` `[lists, length]` of the same type, `mask`
    `[lists, length]`, False for padding and for repeated documents. What stood in the padding reaches neither value
    nor gradient, be it infinite or no number. `full` says that there is known to be none.
    """

    scores: Tensor
    labels: Tensor
    mask: Tensor
    full: bool = False

    @classmethod
    def of(cls, scores: Tensor, labels: Tensor, mask: Tensor, documents: Tensor | None = None) -> Self:
        """Check the shapes and clear the padding.

        With `documents`, ids `[lists, length]` or `[length]` (whole numbers), of several entries of a list with one
        id only that of the highest label counts, the first of them where labels are equal. Scores of half precision
        are calculated with in float32. Raises `BadInput` for shapes that differ and for scores that are no floats.
        """
        if not scores.is_floating_point():
            raise BadInput(f"scores are of the type {scores.dtype}; a loss needs floating-point scores: convert them.")
        for name, tensor in (("labels", labels), ("mask", mask)):
            if tensor.shape != scores.shape[:2]:
                raise BadInput(
                    f"the shape of {name} is {tuple(tensor.shape)}, that of scores {tuple(scores.shape)}; one number "
                    "for each score is expected."
                )
        scores, mask = _full_precision(scores), mask.bool()
        if documents is not None:
            mask = mask & ~repeated(documents, labels, mask)
        labels = labels.to(scores.dtype)
        if mask.device.type == "cpu" and mask.all():  # a GPU would be waited for
            return cls(scores, labels, mask, full=True)
        return cls(cleared(scores, mask), cleared(labels, mask), mask)

    @property
    def lengths(self) -> Tensor:
        """The number of documents of each list, `[lists]`."""
        return self.mask.sum(1)

    @property
    def relevant(self) -> Tensor:
        """True for documents with a label above 0, `[lists, length]`."""
        return self.labels > 0

    @property
    def graded(self) -> Tensor:
        """True for lists with documents of different labels, `[lists]`: the others do not say how to rank."""
        if not self.mask.shape[1]:
            return self.mask.any(1)
        return self.filled(self.labels, -torch.inf).amax(1) > self.filled(self.labels, torch.inf).amin(1)

    @property
    def rankable(self) -> Tensor:
        """True for lists with a relevant document and others of another label, `[lists]`."""
        if not self.mask.shape[1]:
            return self.mask.any(1)
        most = self.labels.amax(1)  # above 0 only where it is no padding
        return (most > 0) & (most > self.filled(self.labels, torch.inf).amin(1))

    @property
    def contrasted(self) -> Tensor:
        """True for lists with a relevant document and another, `[lists]`."""
        return self.relevant.any(1) & (self.mask & ~self.relevant).any(1)

    def filled(self, values: Tensor, number: float) -> Tensor:
        """The values, `[lists, length]`, with `number` in the padding; no gradient goes there."""
        return values if self.full else values.where(self.mask, number)

    def per_item(self, costs: Tensor) -> Tensor:
        """The mean of `[lists, length]` costs over the documents of each list; 0 for an empty one."""
        return cleared(costs, self.mask).sum(1) / self.lengths.clamp(min=1)

    def taken(self, order: Tensor) -> "Lists":
        """The same lists with their documents in another order, `[lists, length]`."""
        scores, labels, mask = (column.gather(1, order) for column in (self.scores, self.labels, self.mask))
        return Lists(scores, labels, mask)


class Reduced:
    """Turns the costs of lists into the value of the loss, as `reduction` says.

    "mean" is the mean over the lists that count, "sum" their sum, "none" one cost a list. A list that does not
    count costs 0 and is no part of the mean; `skipped` is the number of these in the last call.
    """

    reduction: Reduction
    _skipped: Tensor | int = 0

    @property
    def skipped(self) -> int:
        """The number of lists of the last call that did not count."""
        return int(self._skipped)

    def reduce(self, costs: Tensor, counts: Tensor) -> Tensor:
        """The value of the loss from costs `[lists]`, for the lists where `counts`, `[lists]`, is True."""
        self._skipped = (~counts).sum()
        costs = costs.where(counts, 0)
        if self.reduction == "none":
            return costs
        total = costs.sum()
        return total / counts.sum().clamp(min=1) if self.reduction == "mean" else total


@dataclass(kw_only=True, eq=False)
class ListLoss(Reduced):
    """A loss of lists, with its settings as attributes. Raises `BadInput` for a setting of the wrong type."""

    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not fits(value, field.type):
                readable = str(field.type).removeprefix("typing.")
                raise BadInput(f"{type(self).__name__}: {field.name} = {value!r}; {readable} is expected.")

    def __call__(self, scores: Tensor, labels: Tensor, mask: Tensor, documents: Tensor | None = None) -> Tensor:
        """The loss of `scores`, `labels`, `mask`, all `[lists, length]`; a scalar, or `[lists]` unreduced.

        `documents` `[lists, length]` are ids; a document that is several times in a list counts once.
        """
        lists = Lists.of(scores, labels, mask, documents)
        return self.reduce(self.costs(lists), self.counts(lists))

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`; never NaN, also for lists that do not count."""
        raise NotImplementedError

    def counts(self, lists: Lists) -> Tensor:
        """True for lists that count, `[lists]`: here those that can be ranked well and badly."""
        return lists.rankable


def cleared(values: Tensor, mask: Tensor) -> Tensor:
    """The values with 0 where the mask is False; no gradient goes there."""
    return values.where(mask if values.ndim == mask.ndim else mask[..., None], 0)


def softplus(values: Tensor) -> Tensor:
    """`log(1 + exp(values))`, exact at any value: torch's own is linear above a threshold, or overflows without."""
    return -F.logsigmoid(-values)


def beside(lists: Lists, values: Tensor, name: str) -> Tensor:
    """A further column `[lists, length]`, checked and cleared like the scores; no gradient goes into it."""
    if values.shape != lists.mask.shape:
        raise BadInput(
            f"{name} has the shape {tuple(values.shape)}, the lists {tuple(lists.mask.shape)}; these must be equal."
        )
    return cleared(values.detach().to(lists.scores.dtype), lists.mask)


def repeated(documents: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """True for entries, `[lists, length]`, whose document stands elsewhere in the list, and counts there."""
    ids = documents.expand_as(mask)
    by_label = labels.masked_fill(~mask, -torch.inf if labels.is_floating_point() else torch.iinfo(labels.dtype).min)
    order = by_label.argsort(dim=1, descending=True, stable=True)
    order = order.gather(1, ids.gather(1, order).argsort(dim=1, stable=True))
    ordered = ids.gather(1, order)
    again = torch.zeros_like(mask)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return torch.zeros_like(mask).scatter(1, order, again) & mask


def _full_precision(scores: Tensor) -> Tensor:
    return scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores


def complete(given: Sequence[Tensor | None], needed: str) -> list[Tensor]:
    """The columns that were given to a loss; raises `BadInput` where one is None. `needed` says what it needs."""
    tensors = [tensor for tensor in given if tensor is not None]
    if len(tensors) < len(given):
        raise BadInput(f"{needed}: pass them all.")
    return tensors
