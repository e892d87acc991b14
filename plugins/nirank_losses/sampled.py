"""Losses over the documents of a list and a sample of all others.

A list holds the relevant document or documents of a query (label above 0) and the sampled ones. The named argument
`log_expected_count` `[lists, length]` says for every one of them, the relevant ones too, how often the sample was
expected to hold it: `log_expected_count` of this module, or what a sampler reports. `documents` `[lists, length]`
are ids, needed where accidental hits (samples that are a relevant document) are dropped.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from nirank.errors import BadInput
from nirank_losses.lists import ListLoss, Lists, Reduced, Reduction, beside, softplus
from nirank_losses.listwise import log_shares


@dataclass(kw_only=True, eq=False)
class SampledSoftmax(ListLoss):
    """Softmax cross-entropy over a sample, corrected so that the optimum is that over all documents:

        L = -log( exp(o(d+)) / sum over d in list of exp(o(d)) ),   o(d) = gamma s(q,d) - c(d)

    After Bengio and Senecal, Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language
    Model, 2008; Jean et al., On Using Very Large Target Vocabulary, ACL 2015. The correction c depends on the sample
    (q is the distribution that it is drawn from, k its size), and so does what is done with accidental hits:

        "all"        c(d) = log(k q(d)) for every document; drawn with replacement, hits kept
        "inclusion"  c(d) = log(1 - (1 - q(d))^k) for every document; a set of distinct documents, hits dropped
        "negatives"  c(d) = log(k q(d)) for the sampled ones, 0 for the relevant; hits dropped. Near to the full
                     gradient of one example, but its optimum is *not* the softmax over all documents
        "none"       c(d) = 0; the optimum is p/q: popular documents are pushed down

    At the optimum exp(gamma s) is p(d|q) up to a factor: exactly for "all", nearly for "inclusion". `drop_hits`
    overrides what is done with hits; dropping needs `documents`. Several relevant documents share the target.
    Lists without a relevant document, or without another, do not count.
    """

    gamma: float = 1.0
    logq_mode: Literal["all", "inclusion", "negatives", "none"] = "all"
    drop_hits: bool | None = None

    def __call__(
        self,
        scores: Tensor,
        labels: Tensor,
        mask: Tensor,
        documents: Tensor | None = None,
        log_expected_count: Tensor | None = None,
    ) -> Tensor:
        """The loss of `scores`, `labels`, `mask`; a scalar, or `[lists]` unreduced.

        `documents` and `log_expected_count` are as the head of this module says; all are `[lists, length]`.
        Raises `BadInput` where one is missing that the settings need.
        """
        dropping = self.logq_mode in ("inclusion", "negatives") if self.drop_hits is None else self.drop_hits
        lists = Lists.of(scores, labels, mask, documents if self.logq_mode == "inclusion" else None)
        if dropping:
            lists = without_hits(lists, documents)
        corrected = self.gamma * lists.scores - self._correction(lists, log_expected_count)
        target = lists.relevant / lists.relevant.sum(1, keepdim=True).clamp(min=1)
        return self.reduce(-(target * log_shares(corrected, lists.mask)).sum(1), _sampled(lists))

    def example_extras(self, labels: Tensor) -> dict[str, Tensor]:
        """Expected counts to check the loss with, for lists of these labels."""
        return _example_extras(labels)

    def _correction(self, lists: Lists, log_expected_count: Tensor | None) -> Tensor:
        if self.logq_mode == "none":
            return torch.zeros_like(lists.scores)
        correction = beside(lists, _needed(log_expected_count, self.logq_mode), "log_expected_count")
        return correction.where(~lists.relevant, 0) if self.logq_mode == "negatives" else correction


@dataclass(kw_only=True, eq=False)
class NegativeSampling(ListLoss):
    """`L = -[ log sigma(gamma s(q,d+)) + sum over i = 1..k of log sigma(-gamma s(q,d-_i)) ]`.

    Mikolov et al., Distributed Representations of Words and Phrases and their Compositionality, NIPS 2013. Nothing
    is corrected for the sample: the optimum is log(p/q) - log k (Levy and Goldberg, NIPS 2014), so popular documents
    are pushed down. A document drawn twice counts twice, and accidental hits are kept unless `drop_hits`, which
    needs `documents`. Lists without a relevant document do not count.
    """

    gamma: float = 1.0
    drop_hits: bool = False

    def __call__(self, scores: Tensor, labels: Tensor, mask: Tensor, documents: Tensor | None = None) -> Tensor:
        """The loss of `scores`, `labels`, `mask`, `documents`, all `[lists, length]`."""
        lists = Lists.of(scores, labels, mask)
        if self.drop_hits:
            lists = without_hits(lists, documents)
        return self.reduce(_separated(self.gamma * lists.scores, lists), lists.relevant.any(1))


class NCE(Reduced, nn.Module):
    """Noise-contrastive estimation: is a document relevant, or drawn from the noise q~?

        L = -[ log sigma(delta(d+)) + sum over i = 1..k of log sigma(-delta(d-_i)) ]
        delta(d) = gamma s(q,d) - log Z - log(k q~(d)),   so that sigma(delta) = p / (p + k q~), p = exp(gamma s) / Z

    Gutmann and Hyvaerinen, Noise-contrastive estimation, AISTATS 2010; Mnih and Teh, A Fast and Simple Algorithm for
    Training Neural Probabilistic Language Models, ICML 2012. `log_z` is the normaliser, fixed
    (by default at Z = 1), or its first value if it is `learned`; the attribute `log_z` is its value now. The optimum is
    gamma s = log p + log Z; with accidental hits dropped (`drop_hits`, which needs `documents`) it is
    log(p / (1 - p)) + log Z. A document drawn twice counts twice. Lists without a relevant document do not count.
    """

    def __init__(
        self,
        *,
        gamma: float = 1.0,
        log_z: float = 0.0,
        learned: bool = False,
        drop_hits: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.gamma, self.drop_hits, self.reduction = gamma, drop_hits, reduction
        self.log_z = nn.Parameter(torch.tensor(float(log_z)), requires_grad=learned)

    def forward(
        self,
        scores: Tensor,
        labels: Tensor,
        mask: Tensor,
        documents: Tensor | None = None,
        log_expected_count: Tensor | None = None,
    ) -> Tensor:
        """The loss of `scores`, `labels`, `mask`, all `[lists, length]`; a scalar, or `[lists]` unreduced.

        `log_expected_count` is `log(k q~)` of every document, `documents` ids, both `[lists, length]`.
        """
        lists = Lists.of(scores, labels, mask)
        if self.drop_hits:
            lists = without_hits(lists, documents)
        noise = beside(lists, _needed(log_expected_count, "nce"), "log_expected_count")
        odds = self.gamma * lists.scores - self.log_z.to(lists.scores.dtype) - noise
        return self.reduce(_separated(odds, lists), lists.relevant.any(1))

    def example_extras(self, labels: Tensor) -> dict[str, Tensor]:
        """Expected counts to check the loss with, for lists of these labels."""
        return _example_extras(labels)

    def extra_repr(self) -> str:
        """The settings."""
        learned = self.log_z.requires_grad
        return f"gamma={self.gamma}, log_z={self.log_z.item():g}, learned={learned}, drop_hits={self.drop_hits}"


def log_expected_count(log_q: Tensor, k: int, unique: bool = False) -> Tensor:
    """The logarithm of how often `k` draws from q are expected to hold a document, of the shape of `log_q`.

    With replacement `log(k q)`; for `unique`, the set of the distinct documents among the draws,
    `log(1 - (1 - q)^k)`.
    """
    if k < 1:
        raise BadInput(f"k = {k}; a sample of at least 1 document is expected.")
    if not unique:
        return log_q + torch.log(log_q.new_tensor(k))
    return torch.log(-torch.expm1(k * torch.log1p(-log_q.exp())))


def without_hits(lists: Lists, documents: Tensor | None) -> Lists:
    """The lists without sampled documents that are a relevant one of their own list.

    `documents` are ids, `[lists, length]` or `[length]`; raises `BadInput` where they are missing.
    """
    if documents is None:
        raise BadInput(
            "to drop accidental hits the loss needs the documents: pass documents=[lists, length], or set "
            "drop_hits=False."
        )
    hits = ~lists.relevant & _shared(documents.expand_as(lists.mask), lists.relevant)
    return Lists.of(lists.scores, lists.labels, lists.mask & ~hits)


def _shared(ids: Tensor, relevant: Tensor) -> Tensor:
    """True for ids, `[lists, length]`, that are among those of the relevant entries of the same list."""
    unused = ids.amin() - 1 if ids.numel() else 0
    known = ids.where(relevant, unused).sort(dim=1).values
    place = torch.searchsorted(known, ids.contiguous()).clamp(max=max(ids.shape[1] - 1, 0))
    return known.gather(1, place) == ids


def _separated(odds: Tensor, lists: Lists) -> Tensor:
    """The binary cross-entropy of relevant against sampled documents, summed over each list, `[lists]`."""
    costs = softplus(torch.where(lists.relevant, -odds, odds))
    return costs.where(lists.mask, 0).sum(1)


def _sampled(lists: Lists) -> Tensor:
    return lists.contrasted


def _needed(log_expected_count: Tensor | None, who: str) -> Tensor:
    if log_expected_count is None:
        raise BadInput(f"{who!r} corrects for how documents are sampled: pass log_expected_count=[lists, length].")
    return log_expected_count


def _example_extras(labels: Tensor) -> dict[str, Tensor]:
    return {"log_expected_count": -0.5 - 0.2 * labels}
