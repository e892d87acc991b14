"""Losses of a batch in which every query meets every document, as images meet captions.

Scores are cosines, `[queries, documents]`; labels say which pairs belong together (above 0), for the usual batch
the unit matrix. The scale of the cosines is learned.
"""

import math

import torch
from torch import Tensor, nn

from nirank_losses.lists import Lists, Reduced, Reduction, softplus
from nirank_losses.listwise import SoftmaxCrossEntropy


class CLIPLoss(Reduced, nn.Module):
    """`L = 1/2 (CE(gamma S, Y) + CE(gamma S^T, Y^T))`: each query finds its documents, each document its queries.

    Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021. `gamma =
    exp(log_scale)` is learned (unless `learned` is False: then it is the symmetric InfoNCE of a fixed temperature),
    begins at `scale` and stays within [1, `largest`]. CE is the softmax cross-entropy
    over a row; rows (and columns) without a relevant entry, or with nothing else, do not count, and the reduction
    is over rows and over columns. `skipped` counts rows.
    """

    known_as = "nirank_losses.contrastive_pairs:CLIP"  # its name when checkpoints were first made with it

    def __init__(
        self,
        *,
        scale: float = 1 / 0.07,
        largest: float = 100.0,
        learned: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.largest, self.reduction = largest, reduction
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learned)

    @property
    def gamma(self) -> Tensor:
        """The scale of the scores, within its bounds."""
        # Moved, not clamped in the graph: beyond a bound the gradient would be zero, and it would never come back.
        with torch.no_grad():
            self.log_scale.clamp_(0, math.log(self.largest))
        return self.log_scale.exp()

    def forward(
        self,
        scores: Tensor,
        labels: Tensor,
        mask: Tensor,
        documents: Tensor | None = None,
        queries: Tensor | None = None,
    ) -> Tensor:
        """The loss of `scores`, `labels`, `mask`, all `[queries, documents]`.

        `documents` (ids `[documents]` or as the scores) and `queries` (`[queries]`) keep a document or query that
        comes several times from being its own negative. Unreduced it is `[queries + documents]`, halved: rows,
        then columns.
        """
        rows = Lists.of(scores, labels, mask, documents)
        columns = Lists.of(rows.scores.T, rows.labels.T, rows.mask.T, queries)
        sides = [
            Lists(self.gamma.to(side.scores.dtype) * side.scores, side.labels, side.mask) for side in (rows, columns)
        ]
        costs = [self.reduce(_ONE_WAY.costs(side), side.rankable) for side in sides]
        self._skipped = (~rows.rankable).sum()
        return torch.cat(costs) / 2 if self.reduction == "none" else (costs[0] + costs[1]) / 2


class SigLIPLoss(Reduced, nn.Module):
    """`L = -sum over documents j of log sigma(z_ij (gamma s_ij + bias))`, z = 1 where they belong together, else -1.

    Zhai et al., Sigmoid Loss for Language Image Pre-Training, ICCV 2023. `gamma = exp(log_scale)`, from `scale`, and
    `bias`, which begins so low because nearly all pairs are negative, are learned. The mean is over queries (as in
    the paper); every query with a document counts.
    """

    known_as = "nirank_losses.contrastive_pairs:SigLIP"  # its name when checkpoints were first made with it

    def __init__(self, *, scale: float = 10.0, bias: float = -10.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = reduction
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    @property
    def gamma(self) -> Tensor:
        """The scale of the scores."""
        return self.log_scale.exp()

    def forward(self, scores: Tensor, labels: Tensor, mask: Tensor, documents: Tensor | None = None) -> Tensor:
        """The loss of `scores`, `labels`, `mask`, all `[queries, documents]`.

        Of documents with one id (`documents`, `[documents]` or as the scores) one counts for each query.
        """
        lists = Lists.of(scores, labels, mask, documents)
        logits = self.gamma.to(lists.scores.dtype) * lists.scores + self.bias.to(lists.scores.dtype)
        costs = softplus(torch.where(lists.relevant, -logits, logits))
        return self.reduce(costs.where(lists.mask, 0).sum(1), lists.lengths > 0)


_ONE_WAY = SoftmaxCrossEntropy()
