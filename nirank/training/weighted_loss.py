"""Any loss by the weights of judgments: inverse propensities make it an unbiased estimate from clicks."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from nirank.component import Component
from nirank.errors import BadInput
from nirank.training.parts import built_loss
from nirank.training.summed_losses import Composed, SummedLoss, arguments

#: Columns of a batch that have a row for each distinct document, and not for each list.
_OF_DOCUMENTS = {"distinct_documents", "document_vectors"}


class Weighted(Composed):
    """`L = mean over lists of sum over relevant d of w_d y_d l(s, d)`: another loss l, with d alone relevant.

    Each relevant document is held against all others of its list by itself, so that its cost does not depend on which
    others are judged relevant. Where labels y are clicks and weights w inverse propensities, L is an estimate without
    bias, whatever l is, of what it would be with the attractions of documents as labels (Joachims, Swaminathan and
    Schnabel, Unbiased Learning-to-Rank with Biased Feedback, WSDM 2017, equation 5). Equal weights in a list are the
    weight of the list.

    With the softmax cross-entropy as l it is equation 9 of Ai et al., Unbiased Learning to Rank with Unbiased
    Propensity Estimation, SIGIR 2018. `loss` is l: a name, `weighted(ranknet(gamma=2.0))`, or a table with its
    settings. A document that stands twice in a list counts once. Lists without a relevant document cost 0 and count,
    or chance would decide what a click is worth.

    Raises `BadInput` for a loss without `reduction`, one over classes, one that learns from the collection before
    training (`begin`), and one that heeds weights by itself.
    """

    def __init__(self, loss: str | dict[str, Any] = "ranknet") -> None:
        super().__init__()
        self.loss = built_loss(loss)
        _check(self.loss)
        self._each = copy.copy(self.loss.target)
        self._each.reduction = "none"
        self._named = arguments(self._each)
        self._empty = 0

    def __repr__(self) -> str:
        return f"Weighted({self.loss.target!r})"

    @property
    def named(self) -> set[str]:
        """The columns that the loss names, and `weights`."""
        return {*self._named, "weights"}

    @property
    def skipped(self) -> int:
        """The number of lists of the last call without any document."""
        return self._empty

    @property
    def composition(self) -> str:
        """The fingerprint of the loss, which a training notes, so that only the very same one goes on."""
        return self.loss.fingerprint

    def example_extras(self, labels: Tensor) -> dict[str, Tensor]:
        """Weights to check the loss with, for lists of these labels, and what the other loss needs."""
        extras: dict[str, Tensor] = getattr(self._each, "example_extras", lambda _: {})(labels)
        return {**extras, "weights": 1 + labels}

    def forward(
        self,
        scores: Tensor,
        labels: Tensor,
        mask: Tensor,
        weights: Tensor | None = None,
        documents: Tensor | None = None,
        **columns: Tensor,
    ) -> Tensor:
        """The loss of `scores`, `labels`, `mask`, `weights`, all `[lists, length]`, and of columns that l names.

        Raises `BadInput` without weights: clicks as they are would be taken for relevance.
        """
        if weights is None:
            raise BadInput("`weighted` needs the weights of judgments: train on a collection with `weights`.")
        if documents is not None:
            mask = mask & ~_repeated(documents, labels, mask)
            columns |= {"documents": documents} if "documents" in self._named else {}
        worth = (labels.clamp(min=0) * weights).where(mask, 0)
        lists, places = worth.nonzero(as_tuple=True)
        alone = torch.zeros_like(scores[lists]).scatter(1, places[:, None], 1.0)
        more = {name: column if name in _OF_DOCUMENTS else column[lists] for name, column in columns.items()}
        costs = self._each(scores[lists], alone, mask[lists], **more)
        self._empty = int((~mask.any(1)).sum())
        return (costs * worth[lists, places].to(costs.dtype)).sum() / max(len(scores) - self._empty, 1)


def _check(loss: Component) -> None:
    name = loss.spec
    if isinstance(loss.target, SummedLoss) or not hasattr(loss.target, "reduction"):
        raise BadInput(f"{name} has no `reduction`, and so no cost of each list to weigh; weigh the parts of a sum.")
    if loss.traits.reduction != "mean":
        raise BadInput(f"{name}: reduction = {loss.traits.reduction!r} in a weighted loss; 'mean' is expected.")
    if loss.traits.classes != 0:
        raise BadInput(f"{name} needs a score for each class; `weighted` takes losses of one score a document.")
    if loss.method("begin"):
        raise BadInput(f"{name} learns from the judgments of the collection themselves, and not from their weights.")
    if "weights" in arguments(loss.target):
        raise BadInput(f"{name} heeds the weights of judgments by itself: train with it as it is.")


def _repeated(documents: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """True for entries, `[lists, length]`, whose document stands elsewhere with a higher label, or before."""
    same = (documents[:, :, None] == documents[:, None, :]) & mask[:, None, :]
    higher = labels[:, None, :] > labels[:, :, None]
    before = torch.ones_like(same[0]).tril(-1) & (labels[:, None, :] == labels[:, :, None])
    return (same & (higher | before)).any(2)
