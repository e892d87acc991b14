"""AnglE: the order of pairs by the angle of their vectors as complex numbers."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from nirank_losses.lists import Lists, complete
from nirank_losses.softmaxes import CoSENT

_NEEDED = (
    "angle needs documents=[lists, length], query_vectors=[lists, dim], distinct_documents=[distinct] and "
    "document_vectors=[distinct, dim], which nirank.fit gives it for an encoder"
)


@dataclass(kw_only=True, eq=False)
class AnglE(CoSENT):
    """`L = log(1 + sum over y_i > y_j of exp(gamma (a_j - a_i)))` with the angles a of pairs instead of their scores.

    Li and Li, AnglE-optimized Text Embeddings, 2023. The first half of a unit vector is the real part of a complex
    vector, the second half the imaginary part, and `a = |sum of Re z + sum of Im z|` for z = q conj(d), as
    sentence-transformers has it: 1 where both are equal, and not flat there as a cosine is. `over` and what counts
    are as in `CoSENT`. In the paper it is one of three terms: `cosent + angle + softmax_cross_entropy`. A dimension of
    0 is added to vectors of odd length.
    """

    def __call__(
        self,
        scores: Tensor,
        labels: Tensor,
        mask: Tensor,
        documents: Tensor | None = None,
        query_vectors: Tensor | None = None,
        distinct_documents: Tensor | None = None,
        document_vectors: Tensor | None = None,
    ) -> Tensor:
        """The loss of lists of `documents`, ordinals `[lists, length]`, with `labels` and `mask`; not of the scores.

        `query_vectors` are `[lists, dim]`, `document_vectors` `[distinct, dim]` those of `distinct_documents`, rising
        ordinals. Raises `BadInput` where one is missing.
        """
        given = documents, query_vectors, distinct_documents, document_vectors
        asked, wanted, shown, read = complete(given, _NEEDED)
        places = torch.searchsorted(shown, asked.expand_as(mask).contiguous()).clamp(max=max(len(shown) - 1, 0))
        found = angles(wanted, read).gather(1, places) if len(shown) else scores * 0
        lists = Lists.of(found, labels, mask, documents)
        return self.reduce(self.costs(lists), self.counts(lists))


def angles(left: Tensor, right: Tensor) -> Tensor:
    """The angles of all pairs of two rows, `[n, m]` from `[n, dim]` and `[m, dim]`."""
    left, right = (_even(F.normalize(vectors, dim=1)) for vectors in (left, right))
    real, imaginary = left.chunk(2, dim=1)
    # Re z + Im z of all dimensions in one product: (q + i-turned q) . d
    return ((left + torch.cat([imaginary, -real], 1)) @ right.T).abs()


def _even(vectors: Tensor) -> Tensor:
    return F.pad(vectors, (0, 1)) if vectors.shape[1] % 2 else vectors
