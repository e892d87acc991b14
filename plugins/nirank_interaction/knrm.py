"""KNRM: kernels softly count the words of a document at each level of similarity to each word of the query."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from nirank.data import Explanation, to_numpy
from nirank.errors import BadInput
from nirank_interaction.lists import WordLists
from nirank_interaction.ranker import Embedding, Ranker, Reading, ready

_EMBEDDING, _READING = Embedding(), Reading()


class Kernels(nn.Module):
    """Gaussian kernels over [-1, 1]: one at 1 for exact matches, of the width `exact`, and others evenly spaced.

        K_k(s) = exp(-(s - mu_k)^2 / (2 sigma_k^2))

    Of eleven kernels the centres are 1, .9, .7, ..., -.9.
    """

    centres: Tensor
    factors: Tensor

    def __init__(self, count: int, width: float = 0.1, exact: float = 1e-3) -> None:
        super().__init__()
        if count < 2 or width <= 0:
            raise BadInput(
                f"kernels = {count}, width = {width}: at least 2 kernels, and a width above 0, are expected."
            )
        step = 2 / (count - 1)
        centres = torch.cat([torch.ones(1), 1 - step / 2 - step * torch.arange(count - 1)])
        widths = torch.cat([torch.tensor([exact]), torch.full((count - 1,), width)])
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("factors", -0.5 / widths**2, persistent=False)

    def forward(self, similarities: Tensor) -> Tensor:
        """Their values, with one more axis."""
        return (similarities.unsqueeze(-1) - self.centres).square().mul(self.factors).exp()


class KNRM(Ranker):
    """Scores by the logarithms of soft counts, of which a linear layer is learned:

        f(q, d) = tanh(w . phi + b),   phi_k = sum over i of log sum over j of K_k(M_ij),   M_ij = cos(q_i, d_j)

    Xiong et al., End-to-End Neural Ad-hoc Ranking with Kernel Pooling, SIGIR 2017, equations (2) to (8). As in the
    authors' program, sums are at least 1e-10 and logarithms are multiplied by 0.01. With `idf` the logarithms of each
    query word are weighted by its idf (1 on average over a query), which the paper does not do.

    There is no padding: each document's words are added up as they are, in memory that grows with its distinct words.
    """

    name = "knrm"

    def __init__(
        self,
        kernels: int = 11,
        width: float = 0.1,
        idf: bool = False,
        *,
        embedding: Embedding = _EMBEDDING,
        reading: Reading = _READING,
    ) -> None:
        Kernels(kernels, width)  # refuses now what makes no sense
        self.count, self.width, self.idf = kernels, width, idf
        super().__init__(reading, **vars(embedding), kernels=kernels, width=width, idf=idf)

    def layers(self, dim: int) -> None:  # noqa: ARG002 (it has no word vectors)
        """Kernels and the linear layer."""
        self.kernels = Kernels(self.count, self.width)
        self.linear = nn.Linear(self.count, 1)

    def forward(self, lists: WordLists) -> Tensor:
        """The scores, `[P]`."""
        return torch.tanh(self.linear(self._features(lists)).squeeze(1))

    def parts_of(self, lists: WordLists, words: Sequence[str]) -> Sequence[Explanation]:  # noqa: ARG002 (of kernels)
        """A part for each kernel, and the bias: what they add before tanh, each times the share that tanh leaves."""
        centres = self.kernels.centres.tolist()
        names = ["exact matches", *(f"cosines about {centre:.1f}" for centre in centres[1:])]
        return gated(self.linear, self._features(lists)[0], names)

    def _features(self, lists: WordLists) -> Tensor:
        """The logarithms of soft counts, `[P, K]`."""
        sums = (part.sums(self.kernels(self.cosines(part))) for part in lists.parts(self.count))
        counts = functools.reduce(torch.add, sums)
        logs = counts.clamp_min(1e-10).log() * 0.01  # [P, Q, K]
        weights = weights_of(lists) if self.idf else lists.is_word.float()
        return (logs * weights[lists.owners, :, None]).sum(1)


def gated(linear: nn.Linear, features: Tensor, names: Sequence[str]) -> list[Explanation]:
    """The parts of `tanh(w . features + b)`: each feature times its weight, and b, scaled so that they add up to it."""
    worth = to_numpy(features * linear.weight[0]).astype(np.float64)
    bias = float(to_numpy(linear.bias)[0])
    total = float(worth.sum()) + bias
    share = float(np.tanh(total)) / total if total else 1.0
    note = f"before tanh, which leaves {share:.4g} of it"
    parts = [(name, float(each)) for name, each in zip(names, worth, strict=True)]
    return [Explanation(name, share * each, note=f"{each:.4g} {note}") for name, each in [*parts, ("bias", bias)]]


def weights_of(lists: WordLists) -> Tensor:
    """The idf of each query word, divided by the mean of its query; 0 in the padding. `[B, Q]`."""
    means = lists.idf.sum(1, keepdim=True) / lists.is_word.sum(1, keepdim=True).clamp_min(1)
    return lists.idf / means.clamp_min(1e-6)


def tiny() -> Ranker:
    """Eleven kernels over vectors of a few words."""
    return ready(KNRM(embedding=Embedding(train_vectors=True), reading=Reading(device="cpu")))
